"""Coverage: from where on a connection was given each of its channels.

An event comes once for each connection and published channel (PROTOCOL §6), also where a channel is
resumed that the connection is on already, under its own name or by a pattern: a replay leaves out what
was given before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import TypeAlias

from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

__all__ = ["Coverage", "Given", "is_given"]

Places: TypeAlias = Mapping[Stream, Position]
# For channels and patterns the places after which everything was given.
Given: TypeAlias = Mapping[str, Places]


class Coverage:
    """The coverage of one connection, which the server put on its channels at *joined_at*."""

    __slots__ = ("_begun", "_joined_at")

    def __init__(self, joined_at: Places) -> None:
        self._joined_at = joined_at
        # The channels that it asked for, and those that were resumed.
        self._begun: dict[str, Places] = {}

    def begin(self, keys: Iterable[str], places: Places) -> None:
        """Note that *keys*, which the connection was not on, are given after *places*."""
        self._begun.update(dict.fromkeys(keys, places))

    def end(self, keys: Iterable[str]) -> None:
        """Note that the connection is on *keys* no more."""
        for key in keys:
            self._begun.pop(key, None)

    def resume(self, keys: Iterable[str], starts: Places) -> None:
        """Note that *keys* are given after *starts* too."""
        for key in keys:
            places = self._begun.get(key, self._joined_at)
            self._begun[key] = {**places, **_further_back(starts, places)}

    def lose(self, stream: Stream, end: Position) -> None:
        """Note that events of *stream* up to *end* were told of as missing: they were not given."""
        ends = {stream: end}
        self._joined_at = _behind_gaps(self._joined_at, ends)
        self._begun = {key: _behind_gaps(places, ends) for key, places in self._begun.items()}

    def given(self, on: Set[str], asked: Set[str], new: Set[str], gaps: Places) -> Given:
        """Return what a connection *on* these keys may have been given of *asked*, of which some are *new*.

        Frames of a resource channel may have come by a pattern, and the other way round. *gaps* are the
        ends of the last ones that everybody was told of.
        """
        relevant = (asked | {key for key in on if key.split(":")[2:3] == ["resource"]}) - new
        return {key: _behind_gaps(self._begun.get(key, self._joined_at), gaps) for key in relevant}


def is_given(given: Given, record: Record, slot: Slot) -> bool:
    """Tell whether a connection that was *given* so much has the frame already."""
    return any(_is_behind(given[key], record) for key in slot.keys if key in given)


def _is_behind(places: Places, record: Record) -> bool:
    place = places.get(record.stream)
    # A stream that was found later was given from its first entry on, one of another broker is told of.
    if place is None or place.broker != record.position.broker:
        return True
    return record.position.key > place.key


def _behind_gaps(places: Places, gaps: Places) -> Places:
    lost = {
        stream: end
        for stream, end in gaps.items()
        if stream in places and (places[stream].broker != end.broker or places[stream].key < end.key)
    }
    return {**places, **lost} if lost else places


def _further_back(starts: Places, places: Places) -> Places:
    return {
        stream: start
        for stream, start in starts.items()
        if stream not in places or places[stream].broker != start.broker or start.key < places[stream].key
    }
