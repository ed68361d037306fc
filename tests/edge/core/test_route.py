"""Routes: what the first bytes of a record say is what the whole record says."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.mapper import channels_of
from fanwire_edge.core.route import body_of, route_of, route_on, route_to
from fanwire_protocol.event import ID_FIELD, Event, InvalidEvent, decode_event, encode_event
from tests.edge.core.pieces import ALL, A, B, event

UUID = "0190b5e0-5b6e-7c3a-9d1e-2f4a6b8c0d1e"
segments = st.text("abcXYZ019_.@+|~=-", min_size=1, max_size=40)
texts = st.text(min_size=1, max_size=128).filter(lambda text: text.isprintable())
targets = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["user", "role", "connection"]), segments),
    st.just(("all",)),
)
events = st.builds(
    Event,
    id=st.one_of(st.just(UUID), texts),
    type=segments.filter(lambda text: set(text) <= set("abcXYZ019_.-")),
    tenant=segments,
    time=st.integers(2**32, 253_402_300_799_999),
    payload=st.dictionaries(st.sampled_from(["id", "to", "resource", "payload"]), texts, max_size=2),
    resource=st.one_of(st.none(), st.tuples(segments, segments)),
    to=targets,
    key=st.one_of(st.none(), texts),
    correlation_id=st.one_of(st.none(), texts),
    traceparent=st.one_of(st.none(), texts),
    aggregate=st.one_of(st.none(), st.tuples(texts, texts)),
)


def id_of(data: bytes, at: int, behind: int) -> bytes | None:
    """Return the id that `body_of` finds; with it comes the place of the payload's value."""
    found = body_of(data, at, behind)
    if found is None:
        return None
    start, end, payload_at = found
    assert data[:payload_at].endswith(b"\xa7payload")
    return data[start:end]


def split(data: bytes) -> tuple[bytes, int]:
    """Return the head of a record, and where it ends."""
    at = data.find(ID_FIELD)
    return data[:at], at


@given(events)
def test_a_head_routes_as_the_whole_record_does(happened: Event) -> None:
    """To the same channels, under the same key, and with the same id; nothing else is looked at."""
    data = encode_event(happened)
    head, at = split(data)

    route = route_of("orders", head)

    assert route is not None
    assert [channel for channel, _ in route.addresses] == list(channels_of("orders", happened))
    assert (route.addresses, route.keys) == (
        route_to("orders", happened).addresses,
        route_to("orders", happened).keys,
    )
    assert (route.key, route.tenant_bytes) == (happened.key, f"{happened.tenant}\0".encode())
    found = id_of(data, at, route.behind)
    assert found == happened.id.encode() or len(happened.id.encode()) > 255 or _has_long_text(happened)


def _has_long_text(happened: Event) -> bool:
    optional = (happened.correlation_id, happened.traceparent, *(happened.aggregate or ()))
    return any(len((text or "").encode()) > 255 for text in optional)


def packed(fields: dict[str, Any]) -> bytes:
    """Return a record of another make."""
    data: bytes = msgpack.packb(fields)
    return data


FIELDS = {"v": 1, "type": "changed", "tenant": "acme", "resource": ["orders", "1"]}
REST = {"id": UUID, "time": 1772143200000, "payload": {"to": 1}}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({**REST, **FIELDS}, id="nothing stands before the id"),
        pytest.param({**FIELDS, "time": 1772143200000, "id": UUID, "payload": 1}, id="a time before the id"),
        pytest.param({**FIELDS, "extra": 1, **REST}, id="an unknown field before the id"),
        pytest.param({"type": "changed", "tenant": "acme", **REST}, id="no version"),
        pytest.param({"v": 2, "type": "changed", "tenant": "acme", **REST}, id="another version"),
        pytest.param({"v": 1, "type": "changed", **REST, "tenant": "acme"}, id="a tenant behind the id"),
        pytest.param({"v": 1, "tenant": "acme", **REST, "type": "changed"}, id="a type behind the id"),
        pytest.param({**FIELDS, "v": True, **REST}, id="a version that is no number"),
    ],
)
def test_a_record_in_another_order_has_no_head(fields: dict[str, Any]) -> None:
    """It is decoded as a whole then."""
    data = packed(fields)
    head, at = split(data)

    assert at <= 1 or route_of("orders", head) is None


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param({**REST, "to": ["all"]}, id="an addressee behind the payload"),
        pytest.param({"id": UUID, "to": ["all"], "time": 1772143200000, "payload": 1}, id="before the time"),
        pytest.param({"id": UUID, "time": 1772143200000, "to": ["all"], "payload": 1}, id="behind the time"),
        pytest.param({"id": UUID, "time": 5, "payload": 1}, id="a time of another width"),
        pytest.param({"id": UUID, "time": 1772143200000}, id="no payload"),
        pytest.param({"id": 17, "time": 1772143200000, "payload": 1}, id="an id that is no text"),
        pytest.param({"id": UUID, "time": 1772143200000, "aggregate": 1, "payload": 1}, id="no aggregate"),
        pytest.param({"id": UUID}, id="nothing behind it"),
    ],
)
def test_an_id_counts_only_where_nothing_behind_it_routes(rest: dict[str, Any]) -> None:
    """Else the event would miss a channel."""
    data = packed({**FIELDS, **rest})
    head, at = split(data)
    route = route_of("orders", head)

    assert route is not None
    assert id_of(data, at, route.behind) is None


def test_what_is_cut_off_has_no_id() -> None:
    """Every beginning of a record is no record, and none of them raises."""
    data = encode_event(event(1, resource=("orders", "1"), correlation_id="c", time=1772143200000))
    head, at = split(data)
    route = route_of("orders", head)

    assert route is not None
    for length in range(at, data.index(b"\xa7payload")):
        assert id_of(data[:length], at, route.behind) is None
    for length in range(at):
        assert route_of("orders", data[:length]) is None or data[length:].startswith((b"\xa8", b"\xa2"))


@pytest.mark.parametrize(
    ("topic", "fields"),
    [
        ("orders", {"resource": ("orders", "no segment")}),
        ("orders", {"resource": ("orders", "x" * 129)}),
        ("orders", {"resource": ("o" * 120, "x" * 120), "tenant": "t" * 40}),
        ("orders", {"resource": ("orders", "1"), "key": "x" * 129}),
        ("orders", {"tenant": None, "to": ("all",)}),
    ],
)
def test_a_head_that_breaks_a_rule_is_refused(topic: str, fields: dict[str, Any]) -> None:
    """As the whole record would be."""
    data = packed({"v": 1, "type": "changed", "tenant": "acme", **fields, **REST})

    with pytest.raises(InvalidEvent):
        route_of(topic, split(data)[0])
    with pytest.raises(InvalidEvent):
        route_to(topic, decode_event(data))


def test_a_text_that_is_no_utf_8_has_no_route() -> None:
    """The whole record is refused for it later."""
    data = packed({**FIELDS, **REST}).replace(b"\xa11", b"\xa1\xff")

    assert route_of("orders", split(data)[0]) is None


def test_resources_of_a_topic_that_feeds_none_are_not_routed_to() -> None:
    """On `direct` only the addressee counts, whatever resource the event names."""
    head, _ = split(encode_event(event(1, resource=("orders", "1"), to=("user", "u"))))

    route = route_of("direct", head)

    assert route is not None
    assert route.keys == ("tenant:acme:user:u",)


def test_a_tenant_may_be_called_as_a_part_of_a_channel() -> None:
    """The resource that such an event names beside its addressee changes nothing either."""
    happened = event(1, tenant="resource", resource=("orders", "42"), to=("user", "u-1"))

    route = route_of("direct", split(encode_event(happened))[0])

    assert route is not None
    assert route.keys == ("tenant:resource:user:u-1",)


def test_a_key_may_stand_before_the_resource() -> None:
    """It is that of each resource then."""
    heads = [
        split(
            packed({"v": 1, "type": "c", "tenant": "acme", "key": key, "resource": ["orders", id_], **REST})
        )[0]
        for key, id_ in (("k", "1"), ("k", "2"), ("l", "1"))
    ]

    found = [route for head in heads if (route := route_of("orders", head)) is not None]

    assert [(route.keys[0], route.key) for route in found] == [(A, "k"), (B, "k"), (A, "l")]


def test_a_field_that_stands_twice_is_no_head() -> None:
    """Which of the two would count is not for us to say; the whole record is refused."""
    twice = packed(FIELDS).replace(b"\x84", b"\x85", 1) + packed({"tenant": "globex"})[1:]

    assert route_of("orders", twice) is None


def test_a_key_is_under_each_name_once() -> None:
    """Also where channels share a pattern."""
    route = route_on((A, ALL, A), event(1, key="k"))

    assert len(route.keys) == len(set(route.keys))
    assert route.key == "k"
