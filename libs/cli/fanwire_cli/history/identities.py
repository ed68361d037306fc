"""The order of places across the lives of a broker.

Theory of operation. Ids order the entries of one broker identity. Identities are ordered by when anybody
first spoke of them, all on one monotonic clock. An event may be known under several: it is published under
one and replayed, or read at the end, under a later one, and a publisher may stamp the identity of up to a
second ago. `align` finds the one that orders it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TypeAlias

from fanwire_cli.history.records import EventRecord
from fanwire_protocol.position import Position

__all__ = ["Identities", "Key", "align"]

# Rank of the identity, milliseconds, sequence, and 1 for the entry that follows there.
Key: TypeAlias = tuple[int, int, int, int]

# What a publisher says that could not ask (PROTOCOL §6 knows no such identity).
_UNKNOWN = "00000000"


class Identities:
    """When each identity was first heard of."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._ranks: dict[str, int] = {}

    def hear(self, position: Position, time: int, order: int = 0) -> None:
        """Note that somebody spoke of a position; *order* tells apart several in one line."""
        moment = 2 * time + order
        first = self._first.get(position.broker)
        if first is None or moment < first:
            self._first[position.broker] = moment

    def settle(self) -> None:
        """Fix the order, when everything was heard."""
        self._first.pop(_UNKNOWN, None)
        ordered = sorted(self._first, key=self._first.__getitem__)
        self._ranks = {broker: rank for rank, broker in enumerate(ordered)}

    @property
    def count(self) -> int:
        """How many identities there were."""
        return len(self._ranks)

    def key(self, position: Position) -> Key:
        """Return what orders *position* among others; an identity that is not known comes first."""
        return (self._ranks.get(position.broker, -1), *position.key, 0)

    def keys_of(self, event: EventRecord) -> list[Key]:
        """Return every place that an event is known to have, the first one first; empty where none is."""
        known = [self.key(place) for place in event.places() if place.broker != _UNKNOWN]
        if event.is_on_several and event.seen_at:
            # Of several attempts to publish it, this is the one that was delivered.
            known.append((*max(map(self.key, event.seen_at))[:3], 1))
        if known or event.published is None:
            return sorted(known)
        # Only the publisher knows of it, and not under which identity: that of its time.
        moment = 2 * (event.acked or 0)
        brokers = [broker for broker in self._ranks if self._first[broker] <= moment]
        rank = self._ranks[brokers[-1]] if brokers else 0
        return [(rank, *event.published.key, 0)]


def align(places: Mapping[int, Sequence[Key]], dated: Container[int], brokers: int) -> dict[int, Key]:
    """Return one key for each event of a log, from all of its *places* (sorted).

    The entries of one identity are in the order of their ids, so their identities of origin may not go
    back. What was only read, later, is as old as what stands after it; what a publisher *dated* with an
    identity is not older than what stands before it.
    """
    keys = {event: found[0] for event, found in places.items()}
    logs: list[list[tuple[Key, int]]] = [[] for _ in range(brokers)]
    for event, found in places.items():
        for key in found:
            if key[0] >= 0:
                logs[key[0]].append((key, event))
    for log in logs:
        log.sort()
        oldest = brokers
        for key, event in reversed(log):
            oldest = min(oldest, keys[event][0])
            if event not in dated and keys[event][0] > oldest:
                keys[event] = (oldest, *key[1:])
    for log in logs:
        newest = -1
        for key, event in log:
            newest = max(newest, keys[event][0])
            if keys[event][0] < newest:
                keys[event] = (newest, *key[1:])
    return keys
