"""Decoding: from the broker's entries to records, the broken ones set aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fanwire_edge.core.mapper import channels_of
from fanwire_edge.core.record import Record, event_record
from fanwire_edge.core.stream import Entry, Stream
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.event import decode_event
from fanwire_protocol.position import Position

__all__ = ["Decoded", "IsRepeated", "decode_entries"]

# Topic, tenant, event id and the entry's time in milliseconds: does an earlier copy stand in the log?
IsRepeated: TypeAlias = Callable[[str, str | None, str, int], bool]


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
            record = _record(stream, before, position, entry.data, found, is_repeated)
        except InvalidData as problem:
            found.invalid.append((entry.id, str(problem)))
        else:
            if record is not None:
                found.records.append(record)
        before = position
    return found


def _record(
    stream: Stream,
    before: Position,
    position: Position,
    data: bytes | None,
    found: Decoded,
    is_repeated: IsRepeated,
) -> Record | None:
    if data is None:
        raise InvalidData("has no field `e`", "entry")
    event = decode_event(data)
    channels = channels_of(stream.topic, event)
    if is_repeated(stream.topic, event.tenant, event.id, position.time_ms):
        found.repeated += 1
        return None
    if not channels:
        found.unroutable += 1
        return None
    return event_record(stream, position, before, channels, event, data)
