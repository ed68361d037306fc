"""The limits of delivery to one connection, and to all of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DeliveryLimits"]


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """When a connection is behind (bytes in its transport), and when it is cut (bytes due, seconds).

    `max_behind_entries` is by how many entries it may be behind before the oldest are dropped,
    `max_buffered_bytes` what all transports together may hold.
    """

    high_water_bytes: int
    max_behind_bytes: int
    stall_seconds: float
    close_seconds: float = 2.0
    resume_seconds: float = 10.0
    catch_up_seconds: float = 180.0
    max_behind_entries: int = 1000
    max_buffered_bytes: int = 256 * 1024 * 1024
