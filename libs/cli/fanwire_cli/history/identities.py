"""The order of places across the lives of a broker.

Theory of operation. Ids order the entries of one broker identity. Identities are ordered by when anybody
first spoke of them, all on one monotonic clock. An event may be known under several: it is published under
one and replayed under a later one, and a publisher may stamp the identity of up to a second ago. `align`
keeps such a late stamp from moving an event before others of the same log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from fanwire_cli.history.records import EventRecord
from fanwire_protocol.position import Position

__all__ = ["Identities", "Key", "align"]

# Rank of the identity, milliseconds, sequence.
Key: TypeAlias = tuple[int, int, int]

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
        return (self._ranks.get(position.broker, -1), *position.key)

    def keys_of(self, event: EventRecord) -> list[Key]:
        """Return every place that an event is known to have, the first one first; empty where none is."""
        known = [place for place in event.places() if place.broker != _UNKNOWN]
        if known or event.published is None:
            return sorted(map(self.key, known))
        # Only the publisher knows of it, and not under which identity: that of its time.
        moment = 2 * (event.acked or 0)
        brokers = [broker for broker in self._ranks if self._first[broker] <= moment]
        rank = self._ranks[brokers[-1]] if brokers else 0
        return [(rank, *event.published.key)]


def align(places: Mapping[int, list[Key]], ranks: Iterable[int]) -> dict[int, Key]:
    """Return one key for each event of a log, from all of its places (sorted).

    Where an event stands in the log of an identity, so does all that has a lower id and was not lost
    before: its key may not be older than theirs.
    """
    keys = {event: found[0] for event, found in places.items()}
    for rank in ranks:
        within = sorted(
            (key[1:], event) for event, found in places.items() for key in found if key[0] == rank
        )
        oldest = -1
        for id_, event in within:
            if keys[event][0] < oldest:
                keys[event] = (oldest, *id_)
            oldest = max(oldest, keys[event][0])
    return keys
