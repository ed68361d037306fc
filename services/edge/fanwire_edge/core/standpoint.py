"""Standpoints: where all live connections of a partition stand at one moment.

Connections are many and moments few: most stand where the one before stood. What is said of a moment (its
positions as frames show them, a heartbeat's frame) is therefore made once, and what a connection keeps of
the moment at which it joined is shared with all that joined then, and small.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from fanwire_edge.core.stream import CONTROL, Stream
from fanwire_protocol.keys import DIRECT_TOPIC, partition_of
from fanwire_protocol.position import Position

__all__ = ["NOWHERE", "Kept", "Standpoint", "Standpoints", "compact"]

Places: TypeAlias = Mapping[Stream, Position]
_ID = struct.Struct("!QQ")


class Kept(Mapping[Stream, Position]):
    """Positions in 16 bytes each. A dictionary of 35 takes 1.2 KB, and its positions up to 4 KB more.

    *streams* numbers the streams and is shared by all that keep the same ones; so is *broker*.
    """

    __slots__ = ("_broker", "_ids", "streams")

    def __init__(self, streams: Mapping[Stream, int], broker: str, ids: bytes) -> None:
        self.streams = streams
        self._broker = broker
        self._ids = ids

    def __getitem__(self, stream: Stream) -> Position:
        time_ms, sequence = _ID.unpack_from(self._ids, self.streams[stream] * _ID.size)
        return Position(f"{time_ms}-{sequence}", self._broker)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self.streams)

    def __len__(self) -> int:
        return len(self.streams)

    def moved(self, places: Places) -> Places:
        """Return the same, but for the streams of *places*, which are there."""
        if any(stream not in self.streams or at.broker != self._broker for stream, at in places.items()):
            return {**self, **places}
        ids = bytearray(self._ids)
        for stream, at in places.items():
            _ID.pack_into(ids, self.streams[stream] * _ID.size, *at.key)
        return Kept(self.streams, self._broker, bytes(ids))


class Standpoint:
    """One moment of one partition."""

    __slots__ = ("_kept", "_shown", "places")

    def __init__(self, places: Places) -> None:
        self.places = places
        self._shown: Mapping[str, str] | None = None
        self._kept: Places | None = None

    @property
    def shown(self) -> Mapping[str, str]:
        """The positions by topic, as frames show them."""
        if self._shown is None:
            self._shown = {stream.topic: str(place) for stream, place in self.places.items()}
        return self._shown

    def kept(self, before: Places | None) -> Places:
        """Return the positions to be kept for long; what was kept *before* may share its streams."""
        if self._kept is None:
            self._kept = compact(self.places, before)
        return self._kept


# Where connections stand that nothing is delivered to.
NOWHERE = Standpoint({})


class Standpoints:
    """The standpoints of the present moment."""

    def __init__(self) -> None:
        self._places: Places = {}
        self._by_partition: dict[int, Standpoint] = {}
        self._kept: dict[int, Places] = {}

    def of(self, places: Places, tenant: str, partitions: int) -> Standpoint:
        """Return where connections of *tenant* stand when everything up to *places* was written.

        *places* is another mapping whenever one of them has changed.
        """
        if places is not self._places:
            self._places = places
            self._by_partition = {}
        partition = partition_of(DIRECT_TOPIC, tenant, partitions)
        found = self._by_partition.get(partition)
        if found is None:
            fed = {
                stream: place
                for stream, place in places.items()
                if stream != CONTROL and stream.feeds(tenant, partitions)
            }
            self._by_partition[partition] = found = Standpoint(fed)
        return found

    def kept(self, places: Places, tenant: str, partitions: int) -> Places:
        """Return what a connection of *tenant* that stands at *places* keeps of that while it lives."""
        partition = partition_of(DIRECT_TOPIC, tenant, partitions)
        self._kept[partition] = kept = self.of(places, tenant, partitions).kept(self._kept.get(partition))
        return kept


def compact(places: Places, before: Places | None) -> Places:
    """Return *places* in little room, sharing the streams with *before* where they are the same."""
    brokers = {place.broker for place in places.values()}
    if len(brokers) != 1:
        return places
    [broker] = brokers
    shared = before.streams if isinstance(before, Kept) else {}
    streams = shared if shared.keys() == places.keys() else {stream: n for n, stream in enumerate(places)}
    return Kept(streams, broker, b"".join(_ID.pack(*places[stream].key) for stream in streams))
