"""Decoding: from the broker's entries to records, the broken ones set aside.

Only what routes an event is looked at here. Whether the rest of it keeps the rules is seen when somebody
wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.duplicates import digest_of, shortened
from fanwire_edge.core.record import Record
from fanwire_edge.core.route import Route, body_of, route_of, route_to
from fanwire_edge.core.stream import Entry, Stream
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.event import ID_FIELD, MAX_HEAD_BYTES, decode_event
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
    records, broker, before_id = found.records, before.broker, before.id
    for entry_id, data in entries:
        try:
            route, digest = _routed(stream.topic, data)
        except InvalidData as problem:
            found.invalid.append((entry_id, str(problem)))
        else:
            order = order_of(entry_id)
            if is_repeated(stream, digest, *order):
                found.repeated += 1
            elif not route.keys:
                found.unroutable += 1
            else:
                records.append(Record(stream, entry_id, order, broker, before_id, route, data or b""))
        before_id = entry_id
    return found


def remember_entries(stream: Stream, entries: Iterable[Entry], is_repeated: IsRepeated) -> None:
    """Let *is_repeated* know the events of *entries*, as if they had been decoded."""
    for entry_id, data in entries:
        try:
            _, digest = _routed(stream.topic, data)
        except InvalidData:
            continue
        is_repeated(stream, digest, *order_of(entry_id))


def _routed(topic: str, data: bytes | None) -> tuple[Route, bytes]:
    """Return where an event goes, and what stands for it among the duplicates; raises InvalidData."""
    if data is None:
        raise InvalidData("has no field `e`", "entry")
    at = data.find(ID_FIELD)
    # What is long is no head, and not to be remembered.
    route = route_of(topic, data[:at]) if 0 < at <= MAX_HEAD_BYTES else None
    if route is not None:
        body = body_of(data, at, route.behind)
        if body is not None:
            start, end, _ = body
            return route, shortened(route.tenant_bytes + data[start:end])
    event = decode_event(data)
    return route_to(topic, event), digest_of(event.tenant, event.id)
