"""Gauges: how an edge is at this moment."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Gauges"]


@dataclass(frozen=True, slots=True)
class Gauges:
    """Readings of one moment; sizes in bytes, times in seconds."""

    connections_active: int
    connections_behind: int
    subscriptions: int
    channels_active: int
    log_bytes: int
    log_records: int
    history_bytes: int
    history_reads: int
    tail_reading: bool
    tail_lag_seconds: float
