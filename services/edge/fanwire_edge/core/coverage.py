"""Coverage: from where on a connection was given each of its channels.

An event comes once for each connection and published channel (PROTOCOL §6), also where a channel is
resumed that the connection is on already, under its own name or by a pattern: a replay leaves out what
was given before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from types import MappingProxyType
from typing import TypeAlias

from fanwire_edge.core.record import Record, Slot, is_resource_key
from fanwire_edge.core.standpoint import Kept
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

__all__ = ["Coverage", "Given", "is_given"]

Places: TypeAlias = Mapping[Stream, Position]
# For channels and patterns the places after which everything was given.
Given: TypeAlias = Mapping[str, Places]

_NOTHING: Mapping[str, Places] = MappingProxyType({})


class Coverage:
    """The coverage of one connection, which the server put on its channels at *joined_at*."""

    __slots__ = ("_begun", "_joined_at")

    def __init__(self, joined_at: Places) -> None:
        self._joined_at = joined_at
        # The channels that it asked for later than that, and those that were resumed.
        self._begun: Mapping[str, Places] = _NOTHING

    def begin(self, keys: Iterable[str], places: Places) -> None:
        """Note that *keys*, which the connection was not on, are given after *places*."""
        if places is not self._joined_at:
            self._begun = {**self._begun, **dict.fromkeys(keys, places)}

    def end(self, keys: Collection[str]) -> None:
        """Note that the connection is on *keys* no more."""
        if not self._begun.keys().isdisjoint(keys):
            left = {key: places for key, places in self._begun.items() if key not in keys}
            self._begun = left or _NOTHING

    def resume(self, keys: Iterable[str], starts: Places) -> None:
        """Note that *keys* are given after *starts* too."""
        extended = _once_each(lambda places: _extended(places, starts))
        resumed = {key: extended(self._begun.get(key, self._joined_at)) for key in keys}
        self._begun = {**self._begun, **resumed}

    def lose(self, stream: Stream, end: Position) -> None:
        """Note that events of *stream* up to *end* were told of as missing: they were not given."""
        behind = _once_each(lambda places: _behind_gaps(places, {stream: end}))
        begun = {key: behind(places) for key, places in self._begun.items()}
        self._joined_at = behind(self._joined_at)
        self._begun = begun or _NOTHING

    def given(self, on: Collection[str], asked: Set[str], new: Set[str], gaps: Places) -> Given:
        """Return what a connection *on* these keys may have been given of *asked*, of which some are *new*.

        Frames of a resource channel may have come by a pattern, and the other way round. *gaps* are the
        ends of the last ones that everybody was told of.
        """
        relevant = (asked | set(filter(is_resource_key, on))) - new
        # A dictionary, because it is asked about every record of a replay.
        behind = _once_each(lambda places: _behind_gaps(dict(places), gaps))
        return {key: behind(self._begun.get(key, self._joined_at)) for key in relevant}


def is_given(given: Given, record: Record, slot: Slot) -> bool:
    """Tell whether a connection that was *given* so much has the frame already."""
    return any(_is_behind(given[key], record) for key in slot.keys if key in given)


def _is_behind(places: Places, record: Record) -> bool:
    place = places.get(record.stream)
    # A stream that was found later was given from its first entry on, one of another broker is told of.
    if place is None or place.broker != record.position.broker:
        return True
    return record.position.key > place.key


def _once_each(change: Callable[[Places], Places]) -> Callable[[Places], Places]:
    """Return *change*, which is made once for all channels that were given from the same places on."""
    made: dict[int, Places] = {}

    def changed(places: Places) -> Places:
        found = made.get(id(places))
        if found is None:
            made[id(places)] = found = change(places)
        return found

    return changed


def _extended(places: Places, starts: Places) -> Places:
    further = _further_back(starts, places)
    if not further:
        return places
    return places.moved(further) if isinstance(places, Kept) else {**places, **further}


def _behind_gaps(places: Places, gaps: Places) -> Places:
    lost = {
        stream: end
        for stream, end in gaps.items()
        if stream in places and (places[stream].broker != end.broker or places[stream].key < end.key)
    }
    return {**places, **lost} if lost else places


def _further_back(starts: Places, places: Places) -> Places:
    return {stream: start for stream, start in starts.items() if _is_further(start, places.get(stream))}


def _is_further(start: Position, place: Position | None) -> bool:
    return place is None or place.broker != start.broker or start.key < place.key
