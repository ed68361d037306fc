"""The gaps that a client was told of, and which of them were for nothing."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from fanwire_cli.history.operations import GapSeen
from fanwire_cli.history.truth import Truth
from fanwire_protocol.channels import covers
from fanwire_protocol.codes import GapReason

__all__ = ["Gap", "Gaps"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap and the line that tells of it."""

    told: GapSeen
    line: int


class Gaps:
    """The gaps of one client so far."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._by_topic: dict[str, list[Gap]] = {}

    def add(self, told: GapSeen, line: int) -> None:
        """Take a gap."""
        self._by_topic.setdefault(told.topic, []).append(Gap(told, line))

    def cover(self, pair: int) -> bool:
        """Tell whether a gap so far covers *pair*."""
        gaps = self._by_topic.get(self._truth.event(pair).topic, ())
        return any(self._covers(gap.told, pair) for gap in reversed(gaps))

    def _covers(self, told: GapSeen, pair: int) -> bool:
        if told.channel is not None and not covers(told.channel, self._truth.channel(pair)):
            return False
        return self._truth.is_between(pair, told.start, told.to)

    def false(self, got: Container[int]) -> Iterator[Gap]:
        """Yield the gaps in whose range nothing can be missing: all events there reached the client.

        A change of the broker's identity is never for nothing, since entries may be gone without a trace.
        """
        for gaps in self._by_topic.values():
            for gap in gaps:
                told = gap.told
                if told.reason == GapReason.FAILOVER or self._truth.has_unplaced(told.topic):
                    continue
                missing = (pair not in got for pair in self._truth.of_topic(told.topic, told.start, told.to))
                if not any(missing):
                    yield gap
