"""What an entrypoint stands for (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fanwire_protocol.codec import JsonValue

__all__ = ["PLAIN", "Room"]


@dataclass(frozen=True, slots=True)
class Room:
    """The channels that an entrypoint stands for, and what the greeting tells of it.

    `decided_at` is when it was asked whether they are permitted, by the monotonic clock.
    """

    channels: tuple[str, ...] = ()
    fields: Mapping[str, JsonValue] = field(default_factory=dict)
    decided_at: float = 0.0


# That of whoever came through none.
PLAIN = Room()
