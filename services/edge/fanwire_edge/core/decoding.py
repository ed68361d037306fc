"""Decoding: from the broker's entries to records, the broken ones set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.duplicates import digest_of
from fanwire_edge.core.mapper import channels_of
from fanwire_edge.core.record import Record, event_record
from fanwire_edge.core.stream import Entry, Stream
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.event import Event, decode_event
from fanwire_protocol.position import Position

__all__ = ["Decoded", "IsRepeated", "decode_entries", "remember_entries"]

# A stream, an event's digest and its entry's time in milliseconds and sequence: does a copy stand before it?
IsRepeated: TypeAlias = Callable[[Stream, bytes, int, int], bool]


@dataclass(slots=True)
class Decoded:
    """The records of some entries, in order, and what became of the other entries."""

    records: list[Record] = field(default_factory=list)
    invalid: list[tuple[str, str]] = field(default_factory=list)
    unroutable: int = 0
    repeated: int = 0


def decode_entries(
    stream: Stream, before: Position, entries: Sequence[Entry], is_repeated: IsRepeated
) -> Decoded:
    """Decode *entries*, which follow the position *before* in *stream*.

    An entry that breaks the contract is listed with its id and the reason, and stops nothing.
    """
    found = Decoded()
    for entry in entries:
        position = Position(entry.id, before.broker)
        try:
            event, channels = _event(stream, entry.data)
        except InvalidData as problem:
            found.invalid.append((entry.id, str(problem)))
        else:
            if is_repeated(stream, digest_of(event.tenant, event.id), *position.key):
                found.repeated += 1
            elif not channels:
                found.unroutable += 1
            else:
                raw = entry.data or b""
                found.records.append(event_record(stream, position, before, channels, event, raw))
        before = position
    return found


def remember_entries(stream: Stream, entries: Iterable[Entry], is_repeated: IsRepeated) -> None:
    """Let *is_repeated* know the events of *entries*, as if they had been decoded."""
    for entry in entries:
        try:
            event, _ = _event(stream, entry.data)
        except InvalidData:
            continue
        is_repeated(stream, digest_of(event.tenant, event.id), *order_of(entry.id))


def _event(stream: Stream, data: bytes | None) -> tuple[Event, tuple[str, ...]]:
    if data is None:
        raise InvalidData("has no field `e`", "entry")
    event = decode_event(data)
    return event, channels_of(stream.topic, event)
