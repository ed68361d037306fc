"""What a client counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """A client's counters since it was opened, and what it holds now.

    `skipped_frames` could not be read. `conflated` are events that the server left out because later ones
    stand for them. `buffered_events` are the events and gaps that no iterator has read yet.
    """

    is_connected: bool
    connections: int
    skipped_frames: int
    conflated: int
    duplicates: int
    subscriptions: int
    buffered_events: int
