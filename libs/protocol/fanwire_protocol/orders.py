"""Orders: what edges are told to do, and the entries of the control stream (PROTOCOL §7 "Control")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from fanwire_protocol.channels import InvalidChannel, is_segment, parse_channel
from fanwire_protocol.codec import InvalidData, decode_msgpack, encode_msgpack
from fanwire_protocol.event import MAX_TIME_MS

__all__ = [
    "Announcement",
    "InvalidOrder",
    "Operation",
    "Order",
    "check_order",
    "decode_order",
    "encode_order",
]

ORDER_VERSION = 1
MAX_CHANNELS = 256
# As many channels as an order may name, and the rest of it; no more of an entry is looked at.
MAX_ORDER_BYTES = 128 * 1024
_MAX_CHARACTERS = 128
_SEGMENTS = ("tenant", "user", "client")
_TEXTS = ("role", "token")


class InvalidOrder(InvalidData):
    """The order breaks a rule of PROTOCOL §7; *path* names the field."""


class Operation(StrEnum):
    """What edges can be told to do to connections."""

    REVOKE = "revoke"
    DISCONNECT = "disconnect"


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be done to all connections for which every condition that is given holds.

    `at` and `until` are in milliseconds since the epoch; without `until` an edge takes `at` and its longest
    lifetime of a token. `channels` limit a revocation to these channels and patterns.
    """

    operation: Operation
    id: str
    at: int
    until: int | None = None
    tenant: str | None = None
    user: str | None = None
    role: str | None = None
    token: str | None = None
    client: str | None = None
    channels: tuple[str, ...] | None = None

    @property
    def is_conditional(self) -> bool:
        """Whether any condition limits whom it concerns."""
        return any(getattr(self, name) is not None for name in (*_SEGMENTS, *_TEXTS))


@dataclass(frozen=True, slots=True)
class Announcement:
    """There is a topic that edges may not know yet; whether the name is one is for them to see."""

    topic: str


def encode_order(order: Order) -> bytes:
    """Encode the entry of an order; raises InvalidOrder, naming the field, where a rule is broken."""
    check_order(order)
    given = {field.name: getattr(order, field.name) for field in fields(order) if field.name != "operation"}
    present = {name: value for name, value in given.items() if value is not None}
    return encode_msgpack({"v": ORDER_VERSION, "op": order.operation.value, **present})


def decode_order(data: bytes) -> Order | Announcement | None:
    """Decode an entry of the control stream; None is an operation that is unknown here.

    Raises InvalidData, and InvalidOrder naming the field, for what breaks the rules.
    """
    if len(data) > MAX_ORDER_BYTES:
        raise InvalidOrder(f"is larger than {MAX_ORDER_BYTES} bytes", "entry")
    entry = decode_msgpack(data)
    if type(entry) is not dict:
        raise InvalidOrder("is no map", "entry")
    match entry.get("op"):
        case "topic":
            return Announcement(str(entry.get("topic")))
        case "revoke" | "disconnect" as operation:
            order = _order(Operation(operation), entry)
            check_order(order)
            return order
        case str():
            return None
    raise InvalidOrder("is no string", "op")


def _order(operation: Operation, entry: Mapping[str, Any]) -> Order:
    if entry.get("v") != ORDER_VERSION:
        raise InvalidOrder(f"is not {ORDER_VERSION}", "v")
    channels = entry.get("channels")
    if channels is not None and type(channels) is not list:
        raise InvalidOrder("is a list", "channels")
    names = ("id", "at", "until", *_SEGMENTS, *_TEXTS)
    given: dict[str, Any] = {name: entry.get(name) for name in names}
    return Order(operation, **given, channels=None if channels is None else tuple(channels))


def check_order(order: Order) -> None:
    """Raise InvalidOrder, naming the field, unless *order* keeps the rules."""
    _check_text(order.id, "id")
    _check_time(order.at, "at")
    if order.until is not None:
        _check_time(order.until, "until")
        if order.until < order.at:
            raise InvalidOrder("lies before `at`", "until")
    for name in (*_SEGMENTS, *_TEXTS):
        value = getattr(order, name)
        if value is not None:
            _check_text(value, name)
            if name in _SEGMENTS and not is_segment(value):
                raise InvalidOrder("is a channel segment", name)
    if order.channels is not None:
        _check_channels(order)
    elif not order.is_conditional:
        raise InvalidOrder("names nobody; give a tenant, user, role, token, client or channels", "entry")


def _check_channels(order: Order) -> None:
    channels = order.channels or ()
    if order.operation is Operation.DISCONNECT:
        raise InvalidOrder("belongs to `revoke`; a connection is disconnected as a whole", "channels")
    if not 1 <= len(channels) <= MAX_CHANNELS:
        raise InvalidOrder(f"are 1 to {MAX_CHANNELS} channels and patterns", "channels")
    for index, name in enumerate(channels):
        place = f"channels[{index}]"
        _check_channel(name, place)
        if order.tenant is not None and name.split(":")[1] != order.tenant:
            raise InvalidOrder("is of another tenant than the order", place)


def _check_channel(name: object, place: str) -> None:
    try:
        is_joined = type(name) is not str or parse_channel(name).is_server_joined
    except InvalidChannel as error:
        raise InvalidOrder(str(error), place) from error
    if is_joined:
        raise InvalidOrder("is a resource channel or pattern; the server joins the others by itself", place)


def _check_text(value: object, name: str) -> None:
    if type(value) is not str or not 1 <= len(value) <= _MAX_CHARACTERS:
        raise InvalidOrder(f"is a string of 1 to {_MAX_CHARACTERS} characters", name)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidOrder("a string has a lone surrogate", name) from error


def _check_time(value: object, name: str) -> None:
    if type(value) is not int or not 0 <= value <= MAX_TIME_MS:
        raise InvalidOrder("is milliseconds since the epoch, an integer", name)
