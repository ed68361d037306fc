"""Topics: which streams an edge is to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_edge.core.tally import Tally
from fanwire_protocol.keys import RESERVED_TOPICS, SYSTEM_TOPIC, is_topic

__all__ = ["Topics"]

_MAX_REFUSED = 1000


class Topics:
    """Finds topics until their number is reached; the reserved ones are always there."""

    def __init__(self, selected: Iterable[str], max_topics: int, tally: Tally) -> None:
        self._selected = frozenset(selected)
        self._max_topics = max_topics
        self._tally = tally
        self._partitions = 0
        self._known: dict[str, None] = {}
        self._refused: set[str] = set()
        self._streams: list[Stream] = []

    def open(self, partitions: int) -> None:
        """Begin, once the number of partitions is known."""
        self._partitions = partitions
        self._streams.append(CONTROL)
        self._add(RESERVED_TOPICS)

    def found(self, names: Iterable[str]) -> frozenset[str]:
        """Take the topics that are registered; returns those that are refused for the first time.

        A topic that is not selected, or no topic at all, is passed over.
        """
        wanted = [name for name in sorted(set(names)) if self._is_wanted(name)]
        room = self._max_topics + len(RESERVED_TOPICS) - len(self._known)
        self._add(wanted[:room])
        refused = [name for name in wanted[room:] if name not in self._refused]
        # What is remembered of the refused is bounded too; beyond that nobody is told of more.
        refused = refused[: _MAX_REFUSED - len(self._refused)]
        self._refused.update(refused)
        self._tally.topics_refused += len(refused)
        return frozenset(refused)

    @property
    def streams(self) -> Sequence[Stream]:
        """The streams to read, those found first first; it only ever grows."""
        return self._streams

    def _is_wanted(self, name: str) -> bool:
        is_selected = "*" in self._selected or name in self._selected
        return is_selected and is_topic(name) and name not in self._known

    def _add(self, names: Iterable[str]) -> None:
        for name in names:
            self._known[name] = None
            count = 1 if name == SYSTEM_TOPIC else self._partitions
            self._streams.extend(Stream(name, partition) for partition in range(count))
