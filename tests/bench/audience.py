"""Who listens in a scenario: how many clients, and on which channels."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Audience"]


@dataclass(frozen=True, slots=True)
class Audience:
    """Clients of one server. A channel is a kind and an id (`b:1`), `%d` the client's number modulo *groups*.

    *sample* of them measure latency; *in_flight* are opened at a time.
    """

    count: int
    channels: tuple[str, ...]
    groups: int = 0
    sample: int = 100
    in_flight: int = 64
    deadline_seconds: int = 120
