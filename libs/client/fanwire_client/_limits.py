"""Every bound of a client in one place."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one client.

    A subscription that holds `buffer_events` or `buffer_bytes` unread stops the reading from the socket
    until it is read; nothing is dropped. `frame_bytes` is the longest frame that is accepted,
    `dedupe_events` how many event ids are remembered, `connect_seconds` the time from the dial to the
    server's first frame, `close_seconds` the time that a closing handshake may take.
    """

    buffer_events: int = 1024
    buffer_bytes: int = 1024 * 1024
    frame_bytes: int = 4 * 1024 * 1024
    dedupe_events: int = 4096
    connect_seconds: float = 10.0
    close_seconds: float = 2.0
