"""From the broker's entries to records, the broken ones set aside (PROTOCOL §6 and §7)."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.decoding import Decoded, decode_entries, remember_entries
from fanwire_edge.core.duplicates import Duplicates, digest_of
from fanwire_edge.core.route import Route, route_of, route_to
from fanwire_edge.core.stream import Entry, Stream
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.event import decode_event, encode_event
from tests.edge.core.pieces import ALL, ORDERS, A, entry_id, event, place

ON_A: dict[str, Any] = {"resource": ("orders", "1")}


def entry(number: int, happened: int | None = None, **fields: Any) -> Entry:
    """Return the entry *number*, in which the event *happened* stands, its own where none is named."""
    return Entry(entry_id(number), encode_event(event(happened or number, **fields)))


def decoded(*entries: Entry) -> Decoded:
    return decode_entries(ORDERS, place(0), entries, Duplicates(120, 100).is_repeated)


def test_entries_become_records_in_their_order() -> None:
    """Each on its channels, with the bytes of the broker and the place before it where it has several."""
    first, second = entry(1, **ON_A), entry(2, **ON_A, to=("all",))

    found = decoded(first, second)

    assert [(made.position, made.offset, made.raw) for made in found.records] == [
        (place(1), f"orders@{place(1)}", first.data),
        (place(2), f"orders@{place(1)}", second.data),
    ]
    assert [[slot.channel for slot in made.slots] for made in found.records] == [[A], [A, ALL]]
    assert [made.stream for made in found.records] == [ORDERS, ORDERS]
    assert (found.invalid, found.unroutable, found.repeated) == ([], 0, 0)


def test_nothing_becomes_of_nothing() -> None:
    """A read that found no entries is no trouble."""
    assert decoded() == Decoded()


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (None, "entry"),
        (b"", "$"),
        (b"{", "$"),
        (b"[]", "$"),
        (encode_event(event(2, tenant=None, to=("all",))), "tenant"),
    ],
    ids=["no field", "empty", "no JSON", "no object", "of no tenant, outside of `system`"],
)
def test_a_broken_entry_stops_nothing(data: bytes | None, path: str) -> None:
    """It is listed with its id and the place of the mistake; the next one is behind it all the same."""
    found = decoded(entry(1, **ON_A), Entry(entry_id(2), data), entry(3, **ON_A, to=("all",)))

    [(broken, reason)] = found.invalid
    assert (broken, reason.partition(": ")[0]) == (entry_id(2), path)
    assert [made.position for made in found.records] == [place(1), place(3)]
    assert found.records[1].offset == f"orders@{place(2)}"


def test_what_is_on_no_channel_is_counted_only() -> None:
    """There is nobody to whom it could be given."""
    found = decoded(entry(1), entry(2, **ON_A))

    assert (found.unroutable, [made.position for made in found.records]) == (1, [place(2)])


def test_a_copy_is_counted_only() -> None:
    """Also one of an event that was on no channel; the same id is another event for another tenant."""
    found = decoded(
        entry(1, **ON_A),
        entry(2),
        entry(3, 1, **ON_A),
        entry(4, 2),
        entry(5, 1, **ON_A, tenant="globex"),
    )

    assert (found.repeated, found.unroutable) == (2, 1)
    assert [made.position for made in found.records] == [place(1), place(5)]


@pytest.mark.parametrize("long", [0, 300])
def test_of_a_record_whose_head_routes_it_nothing_else_is_decoded(long: int) -> None:
    """What breaks the rules behind it is seen by who wants it; where a field is too long to be passed over,
    the whole record is decoded."""
    fields: dict[str, Any] = {"correlation_id": "€" * (long // 3 or 1), **ON_A}
    data = encode_event(event(1, time=1772143200000, **fields, payload={"n": 1}))
    broken = data.replace(b"\xa1n\x01", b"\xa1n\xc1")

    assert len(decoded(Entry(entry_id(1), data)).records) == 1
    assert len(decoded(Entry(entry_id(1), broken)).invalid) == (long > 0)


def test_what_was_remembered_is_not_delivered_again() -> None:
    """The broken ones of the time before are passed over."""
    is_repeated = Duplicates(120, 100).is_repeated
    remember_entries(ORDERS, [entry(1, **ON_A), Entry(entry_id(2), None), entry(3, **ON_A)], is_repeated)

    found = decode_entries(
        ORDERS, place(3), [entry(4, 1, **ON_A), entry(5, 3, **ON_A), entry(6, **ON_A)], is_repeated
    )

    assert (found.repeated, [made.position for made in found.records]) == (2, [place(6)])


def test_what_stands_behind_a_payload_is_not_remembered() -> None:
    """A record of another make may end with its id; all that is before it is not kept for the next one."""
    before = route_of.cache_info().currsize
    fields = {"v": 1, "type": "c", "tenant": "acme", "resource": ["orders", "1"], "payload": "x" * 5000}
    data = msgpack.packb({**fields, "id": "e-1", "time": 1000})

    found = decoded(Entry(entry_id(1), data))

    assert [record.keys[0] for record in found.records] == [A]
    assert route_of.cache_info().currsize == before


# What is also the name of a field, part of a channel, or has the bytes of the field `id` in it.
words = st.sampled_from(
    ["id", "resource", "key", "acme", "u-1", "-", "to", "¢id", "¢id\u0640" + "x" * 130, "x" * 33]
)
values = {
    "v": st.just(1),
    "type": words,
    "tenant": words,
    "to": st.tuples(st.sampled_from(["user", "role"]), words),
    "resource": st.tuples(words, words),
    "key": words,
    "id": words,
    "time": st.integers(2**32, 2**40),
    "aggregate": st.tuples(words, words),
    "correlation_id": words,
    "traceparent": words,
    "payload": st.one_of(words, st.just({"id": "x", "to": ["all"]})),
}
needed = ("v", "type", "tenant", "id", "time", "payload")


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Draw a record of any make: fields moved, one perhaps twice or of another type, bytes changed."""
    names = [name for name in values if name in needed or draw(st.booleans())]
    for _ in range(draw(st.integers(0, 3))):
        names.insert(draw(st.integers(0, len(names))), names.pop(draw(st.integers(0, len(names) - 1))))
    if draw(st.integers(0, 9)) == 0:
        names.append(draw(st.sampled_from(names)))
    wrong = draw(st.sampled_from([*[None] * 9, *names]))
    odd = st.sampled_from([None, True, 1.0, b"id", ["id"], 5])
    pairs = [(name, draw(odd if name == wrong else values[name])) for name in names]
    head: bytes = msgpack.Packer(autoreset=True).pack_map_header(len(pairs))
    data = head + b"".join(msgpack.packb(part) for pair in pairs for part in pair)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + 1 :]
    return data


@given(st.sampled_from(["orders", "direct", "system"]), records())
def test_what_keeps_the_rules_goes_where_the_whole_record_says(topic: str, data: bytes) -> None:
    """Whoever wrote it: to the same channels, under the same keys, and known by the same name later."""
    names: list[bytes] = []

    def is_repeated(stream: Stream, digest: bytes, time_ms: int, sequence: int) -> bool:
        names.append(digest)
        return False

    try:
        happened = decode_event(data)
        route = route_to(topic, happened)
    except InvalidData:
        return
    found = decode_entries(Stream(topic, 0), place(0), [Entry(entry_id(1), data)], is_repeated)

    assert found.invalid == []
    assert names == [digest_of(happened.tenant, happened.id)]
    assert [_said(record.route) for record in found.records] == ([_said(route)] if route.keys else [])


def _said(route: Route) -> tuple[Any, ...]:
    return route.addresses, route.keys, route.tenant_bytes, route.key
