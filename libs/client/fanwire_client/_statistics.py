"""What a client counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Statistics"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """A client's counters since it was made, and whether it is connected now."""

    is_connected: bool
    connections: int
    skipped_frames: int
    duplicates: int
    subscriptions: int
