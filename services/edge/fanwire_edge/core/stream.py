"""Streams: one partition of a topic's log, and what was read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fanwire_protocol.keys import partition_of

__all__ = ["CONTROL", "Entry", "Stream", "StreamInfo"]


class Stream(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int

    def feeds(self, tenant: str, partitions: int) -> bool:
        """Tell whether events of *tenant* can stand in this stream."""
        return self.partition == partition_of(self.topic, tenant, partitions)


# The stream by which edges are told what to do. No topic's name begins with `_`.
CONTROL = Stream("_control", 0)


class Entry(NamedTuple):
    """An entry as it was read: its id and the bytes of its record (None where the field is missing)."""

    id: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What the broker says of a stream: the parts of `XINFO STREAM` that prove continuity.

    `added` counts the entries ever added, None where the broker is too old to tell (before Redis 7.0).
    A stream that does not exist has the defaults.
    """

    length: int = 0
    added: int | None = 0
    first_id: str | None = None
    last_id: str = "0-0"

    @property
    def removed(self) -> int | None:
        """How many entries were ever removed, or None where that is not known."""
        return None if self.added is None else self.added - self.length
