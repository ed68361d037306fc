"""How a publisher behaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from fanwire_protocol.channels import is_segment

__all__ = ["OptionFields", "PublisherOptions"]

# Half of the window in which edges drop a repeated event id (PROTOCOL §6).
MAX_RETRY_SECONDS = 60.0
MAX_PARTITIONS = 1024


class OptionFields(TypedDict, total=False):
    """The fields of PublisherOptions as keyword arguments."""

    prefix: str
    partitions: int | None
    retention_seconds: int
    max_entries: int
    allow_system: bool
    retry_seconds: float
    max_connections: int


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """Options of a publisher; raises ValueError where one cannot be used.

    `partitions` None takes the number that the log has, or 1 where it has none yet. Entries are kept for
    `retention_seconds`, and roughly `max_entries` of a stream. `retry_seconds` bounds one call from its
    beginning to its return, retries and waiting for its turn among it.
    """

    prefix: str = "fanwire"
    partitions: int | None = None
    retention_seconds: int = 600
    max_entries: int = 1_000_000
    allow_system: bool = False
    retry_seconds: float = 10.0
    max_connections: int = 8

    def __post_init__(self) -> None:
        _require(all(map(is_segment, self.prefix.split(":"))), "prefix", self.prefix, "a name like fanwire")
        if self.partitions is not None:
            _require(1 <= self.partitions <= MAX_PARTITIONS, "partitions", self.partitions, "1 to 1024")
        _require(self.retention_seconds >= 1, "retention_seconds", self.retention_seconds, "at least 1")
        _require(self.max_entries >= 1, "max_entries", self.max_entries, "at least 1")
        _require(
            0 < self.retry_seconds <= MAX_RETRY_SECONDS,
            "retry_seconds",
            self.retry_seconds,
            "above 0 and at most 60, half of the window in which edges drop a repeated event",
        )
        _require(self.max_connections >= 1, "max_connections", self.max_connections, "at least 1")


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {expected}, not {value!r}")
