"""The truth: which events there are, on which channels, in which order of the log.

Theory of operation. A stream is a topic of one tenant, for which alone an order is promised (PROTOCOL §6).
Every event on one of its channels is a *pair*. Pairs are numbered anew so that within a stream a lower
number comes before a higher one; a subscription is then a sorted list of numbers, and what a client still
has to get is an index into it. Events whose place nobody knows have the highest numbers, from `placed` on.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fanwire_cli.history.identities import Key, align
from fanwire_cli.history.journal import Journal
from fanwire_cli.history.records import EventRecord
from fanwire_protocol.channels import matching_patterns
from fanwire_protocol.position import Position

__all__ = ["Part", "Truth"]


@dataclass(frozen=True, slots=True)
class Part:
    """What a name (a channel or pattern) takes from one stream, as ascending numbers."""

    stream: int
    topic: str
    pairs: Sequence[int]


class Truth:
    """All pairs in order."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._identities = journal.identities
        self._identities.settle()
        self._events = journal.events
        self._keys: list[Key] = []
        self._by_id: dict[tuple[str, str], list[int]] = {}
        self.offsets = journal.offsets
        self.connections = journal.connections
        self.revokes = journal.revokes
        self._number()
        self._index()
        self._index_keys()

    # Numbers

    def _number(self) -> None:
        journal = self._journal
        for number, event in enumerate(journal.events):
            self._by_id.setdefault((event.topic, event.event_id), []).append(number)
            for channel in event.channels or ():
                journal.pair(number, channel)
        keys = self._place_events()
        self._unplaced = {
            event.topic for number, event in enumerate(self._events) if event.exists and number not in keys
        }
        streams: dict[tuple[str, str | None], int] = {}
        order = []
        for old, (number, channel) in enumerate(journal.pairs):
            event = journal.events[number]
            key = keys.get(number)
            if key is not None and channel in (event.channels or ()):
                stream = streams.setdefault((event.topic, event.tenant), len(streams))
                order.append((stream, key, number, (event.channels or ()).index(channel), old))
        order.sort()
        self.placed = len(order)
        self._streams = array("l", (stream for stream, *_ in order))
        self._keys = [key for _, key, *_ in order]
        self._olds = array("l", (old for *_, old in order))
        self._news = array("l", [-1]) * len(journal.pairs)
        for new, old in enumerate(self._olds):
            self._news[old] = new
        for old, placed in enumerate(self._news):
            if placed < 0:
                self._news[old] = len(self._olds)
                self._olds.append(old)

    def _place_events(self) -> dict[int, Key]:
        by_stream: dict[tuple[str, str | None], dict[int, list[Key]]] = {}
        for number, event in enumerate(self._events):
            found = self._identities.keys_of(event) if event.exists else []
            if found:
                by_stream.setdefault((event.topic, event.tenant), {})[number] = found
        dated = {number for number, event in enumerate(self._events) if event.published is not None}
        placed: dict[int, Key] = {}
        for places in by_stream.values():
            placed.update(align(places, dated, self._identities.count))
        return placed

    def _index(self) -> None:
        parts: dict[str, dict[int, array[int]]] = {}
        self._concrete: dict[str, dict[str, None]] = {}
        self._topics: dict[str, list[tuple[Key, int]]] = {}
        for pair in range(self.placed):
            channel = self.channel(pair)
            for name in (channel, *matching_patterns(channel)):
                self._concrete.setdefault(name, {})[channel] = None
                lists = parts.setdefault(name, {})
                lists.setdefault(self._streams[pair], array("l")).append(pair)
            self._topics.setdefault(self.event(pair).topic, []).append((self._keys[pair], pair))
        for numbers in self._topics.values():
            numbers.sort()
        self._parts = {
            name: [Part(stream, self.event(pairs[0]).topic, pairs) for stream, pairs in lists.items()]
            for name, lists in parts.items()
        }

    def _index_keys(self) -> None:
        self._conflated: dict[tuple[str, str | None, str, str], list[int]] = {}
        # Where somebody is in doubt an event may have been in the log, and stand for others.
        for pair in range(len(self._olds)):
            event = self.event(pair)
            if event.key is not None and event.exists:
                place = event.topic, event.tenant, self.channel(pair), event.key
                self._conflated.setdefault(place, []).append(pair)

    # What is asked about pairs

    def renumber(self, pair: int) -> int:
        """Return the number here of a pair of the journal."""
        return self._news[pair]

    def event(self, pair: int) -> EventRecord:
        """Return the event of a pair."""
        return self._events[self._journal.pairs[self._olds[pair]][0]]

    def channel(self, pair: int) -> str:
        """Return the channel of a pair."""
        return self._journal.pairs[self._olds[pair]][1]

    def stream(self, pair: int) -> int:
        """Return the stream of a placed pair."""
        return self._streams[pair]

    def successors(self, pair: int) -> Sequence[int]:
        """Return the pairs of the same stream and channel with the same `key` that are later, or may be."""
        event = self.event(pair)
        if event.key is None:
            return ()
        same = self._conflated.get((event.topic, event.tenant, self.channel(pair), event.key), [])
        return same[bisect_right(same, pair) :]

    def is_published(self, pair: int) -> bool:
        """Tell whether the event may be delivered on that channel."""
        if pair < self.placed:
            return True
        event = self.event(pair)
        # Entries of publishers that were not recorded need not say which channels they have.
        return event.exists and (event.channels is None or self.channel(pair) in event.channels)

    def elsewhere(self, pair: int) -> list[EventRecord]:
        """Return the events of the same topic and id that exist, whoever's they are."""
        event = self.event(pair)
        numbers = self._by_id[event.topic, event.event_id]
        return [self._events[number] for number in numbers if self._events[number].exists]

    # What is asked about names and places

    def parts(self, name: str) -> Sequence[Part]:
        """Return what a channel or pattern takes, from each stream."""
        return self._parts.get(name, ())

    def concrete(self, name: str) -> Sequence[str]:
        """Return the channels that a channel or pattern stands for."""
        return tuple(self._concrete.get(name, ()))

    def key(self, position: Position) -> Key:
        """Return what orders a position."""
        return self._identities.key(position)

    def first_after(self, pairs: Sequence[int], position: Position) -> int:
        """Return the index of the first of *pairs* after *position*."""
        index = bisect_right(pairs, self.key(position), key=self._keys.__getitem__)
        # A publisher's stamp may be a broker too old; where others met the event under this one, that counts.
        while index and self.event(pairs[index - 1]).is_behind(position):
            index -= 1
        return index

    def is_up_to(self, pair: int, position: Position) -> bool:
        """Tell whether the event lies at or before *position*, in doubt not."""
        if self._keys[pair] > self.key(position):
            return False
        return all(
            place.key <= position.key
            for place in self.event(pair).places()
            if place.broker == position.broker
        )

    def is_between(self, pair: int, start: Position | None, to: Position) -> bool:
        """Tell whether start < event ≤ to, in doubt so: a publisher's stamp may be a broker too old."""
        key, event = self._keys[pair], self.event(pair)
        if (start is None or self.key(start) < key) and key <= self.key(to):
            return True
        if start is not None and start.broker != to.broker and event.is_behind(start):
            return not event.is_behind(to)
        return any(
            (start is None or start.key < place.key) and place.key <= to.key for place in event.places()
        )

    def of_topic(self, topic: str, start: Position | None, to: Position) -> Iterator[int]:
        """Yield the pairs of a topic between two positions, whoever's they are."""
        pairs = self._topics.get(topic, [])
        low = 0 if start is None else bisect_right(pairs, (self.key(start), self.placed))
        for index in range(low, bisect_right(pairs, (self.key(to), self.placed))):
            yield pairs[index][1]

    def has_unplaced(self, topic: str) -> bool:
        """Tell whether an event of *topic* may have been anywhere."""
        return topic in self._unplaced
