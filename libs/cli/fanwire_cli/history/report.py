"""The report: what was found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fanwire_protocol.codec import JsonValue

__all__ = ["Anomaly", "Findings", "Kind", "Report"]


class Kind(StrEnum):
    """What can be wrong with a history; `docs/guides/history.md` has the definitions."""

    LOST = "lost"
    SKIPPED = "skipped"
    ORDER = "order"
    DUPLICATE = "duplicate"
    PHANTOM = "phantom"
    LEAKED = "leaked"
    FALSE_GAP = "false gap"

    @property
    def is_error(self) -> bool:
        """Whether it breaks a promise; a false gap only costs."""
        return self is not Kind.FALSE_GAP


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One finding; `positions` and `lines` (file:line) are those concerned, the telling one first."""

    kind: Kind
    text: str
    client: str
    connection: str | None
    topic: str
    channel: str | None
    event_id: str | None
    positions: tuple[str, ...]
    lines: tuple[str, ...]

    def fields(self) -> Mapping[str, JsonValue]:
        """Return it as an object of JSON; what it does not have is left out."""
        found: dict[str, JsonValue] = {
            "kind": self.kind.value,
            "text": self.text,
            "client": self.client,
            "connection": self.connection,
            "topic": self.topic,
            "channel": self.channel,
            "eventId": self.event_id,
            "positions": self.positions,
            "lines": self.lines,
        }
        return {name: value for name, value in found.items() if value is not None}

    def __str__(self) -> str:
        named = (
            f"client {self.client}",
            f"connection {self.connection}" if self.connection else "",
            f"topic {self.topic}",
            f"channel {self.channel}" if self.channel else "",
            f"event {self.event_id}" if self.event_id else "",
            f"position {', '.join(self.positions)}" if self.positions else "",
        )
        head = f"{self.kind.value}: {self.text}"
        return "\n".join((head, "  " + ", ".join(filter(None, named)), *(f"  at {at}" for at in self.lines)))


@dataclass(slots=True)
class Findings:
    """Anomalies as they are found: all are counted, the first *limit* of each kind are kept."""

    limit: int
    counts: Counter[Kind] = field(default_factory=Counter)
    kept: list[Anomaly] = field(default_factory=list)

    def has_room(self, kind: Kind) -> bool:
        """Count one anomaly and tell whether its details are wanted."""
        self.counts[kind] += 1
        return self.counts[kind] <= self.limit


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a history. `counts` has every kind, `statistics` what the history consisted of."""

    statistics: Mapping[str, int]
    counts: Mapping[Kind, int]
    anomalies: Sequence[Anomaly]

    def is_clean(self, *, strict: bool = False) -> bool:
        """Tell whether nothing is wrong; *strict* counts false gaps too."""
        return not any(count for kind, count in self.counts.items() if strict or kind.is_error)

    def fields(self) -> Mapping[str, JsonValue]:
        """Return it as an object of JSON."""
        return {
            "isClean": self.is_clean(),
            "statistics": dict(self.statistics),
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "anomalies": [anomaly.fields() for anomaly in self.anomalies],
        }

    def __str__(self) -> str:
        history = ", ".join(f"{count} {what}" for what, count in self.statistics.items())
        counts = ", ".join(f"{count} {kind.value}" for kind, count in self.counts.items() if count)
        shown = [str(anomaly) for anomaly in self.anomalies]
        left_out = sum(self.counts.values()) - len(shown)
        more = [f"and {left_out} more"] if left_out else []
        return "\n".join((history, *shown, *more, f"found: {counts or 'nothing'}"))
