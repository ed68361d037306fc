"""Orders of the control stream: their rules, and their form in an entry (PROTOCOL §7 "Control")."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from fanwire_protocol.codec import InvalidData
from fanwire_protocol.orders import (
    MAX_CHANNELS,
    MAX_ORDER_BYTES,
    Announcement,
    InvalidOrder,
    Operation,
    Order,
    check_order,
    decode_order,
    encode_order,
)
from tests.protocol.vectors import ROOT

REVOKE = Order(Operation.REVOKE, "o-1", 1_772_143_200_000, tenant="acme")
CHANNEL = "tenant:acme:resource:orders:42"
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/schemas/order.schema.json").read_text()))


def entry(**fields: Any) -> bytes:
    """Return an entry that revokes the tenant `acme`, changed by *fields*; None leaves one out."""
    values = {"v": 1, "op": "revoke", "id": "o-1", "at": 1, "tenant": "acme", **fields}
    packed: bytes = msgpack.packb({name: value for name, value in values.items() if value is not None})
    return packed


ORDERS = [
    REVOKE,
    replace(REVOKE, operation=Operation.DISCONNECT),
    replace(REVOKE, until=REVOKE.at, user="u-1", role="a role: any text", token="t", client="c-1"),
    replace(REVOKE, channels=(CHANNEL, "tenant:acme:resource:*")),
    replace(REVOKE, tenant=None, channels=(CHANNEL,)),
]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    """What a publisher writes is what an edge reads."""
    assert decode_order(encode_order(order)) == order
    SCHEMA.validate(msgpack.unpackb(encode_order(order)))


def test_nil_is_absent_and_what_is_unknown_is_ignored() -> None:
    """As in the records of events."""
    data = msgpack.packb(
        {"v": 1, "op": "revoke", "id": "o-1", "at": 1, "tenant": "acme", "user": None, "more": [1]}
    )
    assert decode_order(data) == Order(Operation.REVOKE, "o-1", 1, tenant="acme")


def test_other_operations_are_passed_over() -> None:
    """`ask` is for others, and so is what later versions bring; a new topic is announced in any form."""
    assert decode_order(entry(op="ask")) is None
    assert decode_order(entry(op="dance", v=2)) is None
    assert decode_order(msgpack.packb({"op": "topic", "topic": "orders"})) == Announcement("orders")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"op": None}, "op"),
        ({"op": 1}, "op"),
        ({"v": None}, "v"),
        ({"v": 2}, "v"),
        ({"id": None}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"at": None}, "at"),
        ({"at": 1.5}, "at"),
        ({"at": -1}, "at"),
        ({"at": 253_402_300_800_000}, "at"),
        ({"at": True}, "at"),
        ({"until": "later"}, "until"),
        ({"at": 2, "until": 1}, "until"),
        ({"tenant": "a:b"}, "tenant"),
        ({"tenant": 1}, "tenant"),
        ({"user": ""}, "user"),
        ({"user": "u 1"}, "user"),
        ({"client": "*"}, "client"),
        ({"role": ""}, "role"),
        ({"token": "t" * 129}, "token"),
        ({"tenant": None}, "entry"),
        ({"channels": CHANNEL}, "channels"),
        ({"channels": []}, "channels"),
        ({"channels": [CHANNEL] * (MAX_CHANNELS + 1)}, "channels"),
        ({"channels": [CHANNEL, "orders"]}, "channels[1]"),
        ({"channels": [1]}, "channels[0]"),
        ({"channels": ["tenant:acme:user:u-1"]}, "channels[0]"),
        ({"channels": ["system:all"]}, "channels[0]"),
        ({"channels": ["tenant:other:resource:orders:1"]}, "channels[0]"),
        ({"op": "disconnect", "channels": [CHANNEL]}, "channels"),
    ],
    ids=str,
)
def test_what_breaks_a_rule_is_refused_and_named(fields: dict[str, Any], path: str) -> None:
    """Nothing is guessed: an order that is understood by halves would do something else."""
    with pytest.raises(InvalidOrder) as refused:
        decode_order(entry(**fields))
    assert refused.value.path == path
    # Two rules are beyond a schema.
    is_beyond = fields in ({"at": 2, "until": 1}, {"channels": ["tenant:other:resource:orders:1"]})
    assert SCHEMA.is_valid(msgpack.unpackb(entry(**fields))) is is_beyond


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgpack.packb([1]), b"x" * (MAX_ORDER_BYTES + 1)],
    ids=["empty", "bad", "list", "long"],
)
def test_what_is_no_map_is_refused(data: bytes) -> None:
    """Before anything of it is looked at."""
    with pytest.raises(InvalidData):
        decode_order(data)


def test_a_publisher_is_told_before_anything_is_written() -> None:
    """The rules are the same on both ends."""
    with pytest.raises(InvalidOrder, match="names nobody"):
        encode_order(replace(REVOKE, tenant=None))
    with pytest.raises(InvalidOrder, match="surrogate"):
        check_order(replace(REVOKE, role="\ud800"))


@given(st.binary(max_size=64))
def test_any_bytes_are_an_order_or_refused(data: bytes) -> None:
    """Whatever stands in the stream."""
    try:
        decode_order(data)
    except InvalidData:
        pass
