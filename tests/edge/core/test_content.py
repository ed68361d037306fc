"""What frames say of an event is what the whole record says, however much of it was looked at before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.content import content_of
from fanwire_edge.core.route import Route, route_of, route_to
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.event import ID_FIELD, Event, decode_event, encode_event
from fanwire_protocol.frames import Content
from tests.edge.core.pieces import event
from tests.edge.core.test_route import events

TIME = 1772143200000


def routed(data: bytes) -> Route:
    """Return the route of a record by its head."""
    route = route_of("orders", data[: data.find(ID_FIELD)])
    assert route is not None
    return route


def whole(data: bytes) -> Content:
    """Return what the record says when it is decoded as a whole."""
    found = decode_event(data)
    return Content(found.type, found.id, found.time, found.payload, found.correlation_id)


@given(events)
def test_the_content_is_that_of_the_whole_record(happened: Event) -> None:
    """By its head, and where no head is known."""
    data = encode_event(happened)

    assert content_of(routed(data), data) == whole(data)
    assert content_of(route_to("orders", happened), data) == whole(data)


@given(events, st.integers(0, 300), st.binary(min_size=1, max_size=2))
def test_what_breaks_a_rule_is_refused_as_in_the_whole_record(happened: Event, at: int, junk: bytes) -> None:
    """Any change behind the head is seen by both or by neither."""
    data = encode_event(happened)
    start = data.find(ID_FIELD) + at
    broken = data[:start] + junk + data[start + len(junk) :]

    def outcome(decode: Any) -> Content | None:
        try:
            found: Content = decode()
        except InvalidData:
            return None
        return found

    assert outcome(lambda: content_of(routed(data), broken)) == outcome(lambda: whole(broken))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xa3e-1", b"\xa3e\xff1"),
        (b"\xa3e-1", b"\xa0"),
        (b"\xcf\x00", b"\xcf\xff"),
        (b"\xa4time", b"\xa4tyme"),
        (b"\xa7payload", b"\xa7paylord"),
        (b"\xa1n\x01", b"\xa1n\xc1"),
        (b"\xa1m\x02", b"\xa1m\x02\x01"),
        (b"\x82\xa1n\x01\xa1m", b"\x82\xa1n\x01\xa1n"),
    ],
    ids=["no UTF-8", "no id", "no time", "no `time`", "no `payload`", "no msgpack", "more", "a key twice"],
)
def test_a_fault_behind_the_head_is_told(before: bytes, after: bytes) -> None:
    """Whichever of the fields it is in."""
    data = encode_event(event(1, time=TIME, resource=("orders", "1"), payload={"n": 1, "m": 2}))
    broken = data.replace(before, after, 1)
    assert broken != data

    with pytest.raises(InvalidData):
        content_of(routed(data), broken)
