"""What is known of events on their way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fanwire_protocol import Position
from fanwire_publisher._errors import PublishFailed, PublishRefused
from fanwire_publisher._record import Record

__all__ = ["Job"]


@dataclass(slots=True)
class Job:
    """Records on their way, and what is known of each, by its index."""

    records: Sequence[Record]
    positions: dict[int, Position] = field(default_factory=dict)
    uncertain: set[int] = field(default_factory=set)
    reason: str = "its turn did not come in time behind others"

    def pending(self) -> list[int]:
        """Return the indices of records without a position."""
        return [index for index in range(len(self.records)) if index not in self.positions]

    def error(self) -> PublishFailed:
        """Return the error that says what became of the pending records."""
        pending = self.pending()
        kind = PublishRefused if self.uncertain.isdisjoint(pending) else PublishFailed
        ids = [self.records[index].event_id for index in pending]
        return kind(ids[0], self.reason, ids)
