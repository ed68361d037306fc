"""Routes: where an event goes, as the head of its record says (PROTOCOL §7).

Theory of operation. A publisher writes what routes an event first, so records of one resource begin with
the same bytes. What those bytes mean is found out once and remembered; of an event that nobody here wants
nothing else is ever decoded. Where there are more resources than can be remembered, what their records
have in common up to the resource's id is. A record in another order is decoded as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from fanwire_edge.core.mapper import channels_of
from fanwire_protocol.channels import MAX_NAME_BYTES, is_segment, matching_patterns
from fanwire_protocol.event import ID_FIELD, Event, decode_head

__all__ = ["TIME_BYTES", "Address", "Route", "body_of", "route_of", "route_on", "route_to"]

# So many take about 15 MB.
_MAX_ROUTES = 16_384
_MAX_FAMILIES = 4096

# The fields of a head that vary most, as msgpack: a pair of texts, and a text.
_RESOURCE, _KEY = b"\xa8resource\x92", b"\xa3key"
# A text that stands for any other.
_ANY = b"\xa1-"
# What stands behind the id: `time` with its header, and `payload`; between them these, with their texts.
_TIME, TIME_BYTES, _PAYLOAD = b"\xa4time\xcf", 14, b"\xa7payload"
_OPTIONAL = ((b"\xaecorrelation_id", 1), (b"\xabtraceparent", 1), (b"\xa9aggregate\x92", 2))
_TEXT_8, _SHORT, _SHORT_END = 0xD9, 0xA0, 0xC0

# A channel, and the names under which a connection can be subscribed to it, its own first.
Address: TypeAlias = tuple[str, tuple[str, ...]]


# Not frozen, which would cost more than the rest of making one.
@dataclass(slots=True)
class Route:
    """Where events go: their channels, and all keys of these.

    `tenant_bytes` begin the name under which duplicates of such an event are known; `key` is what events
    are conflated by; `behind` is how many fields a record has behind its head, 0 where it has none; `type`
    is the events' own.
    """

    addresses: tuple[Address, ...]
    keys: tuple[str, ...]
    tenant_bytes: bytes = b"\0"
    key: str | None = None
    behind: int = 0
    type: str = ""


class _Varying(NamedTuple):
    """A head taken apart: what it has in common with others, the resource's id, and the key."""

    family: bytes
    id: str
    key: str | None


@lru_cache(_MAX_ROUTES)
def route_of(topic: str, head: bytes) -> Route | None:
    """Return the route of the events of *topic* whose records begin with *head*.

    None where that is no head. Raises InvalidEvent for events that may not stand there.
    """
    varying = _taken_apart(head)
    if varying is not None:
        family = _family(topic, varying.family)
        if family is not None:
            route = _member(family, varying)
            if route is not None:
                return route
    return _decoded(topic, head)


def route_to(topic: str, event: Event) -> Route:
    """Return the route of *event*; raises InvalidEvent where it may not stand in *topic*."""
    return route_on(channels_of(topic, event), event)


def route_on(channels: Iterable[str], event: Event) -> Route:
    """Return the route of *event*, which goes to *channels*."""
    addresses = tuple((channel, (channel, *matching_patterns(channel))) for channel in channels)
    keys = tuple(dict.fromkeys(key for _, keys in addresses for key in keys))
    return Route(addresses, keys, f"{event.tenant or ''}\0".encode(), event.key, 0, event.type)


def body_of(data: bytes, at: int, behind: int) -> tuple[int, int, int] | None:
    """Return where, in a record that has *behind* fields from *at* on, the id begins and ends, and where the
    payload's value begins.

    None unless these are `id`, `time`, perhaps some that do not route, and `payload`: then there is nothing
    to route by that was not seen.
    """
    start, end = _text_at(data, at + len(ID_FIELD))
    if behind < 3 or not start or not data.startswith(_TIME, end):
        return None
    place = end + TIME_BYTES
    for _ in range(behind - 3):
        place = _behind_text(data, place)
    return (start, end, place + len(_PAYLOAD)) if data.startswith(_PAYLOAD, place) else None


def _text_at(data: bytes, at: int) -> tuple[int, int]:
    """Return where the msgpack text at *at* begins and ends; (0, 0) where none of up to 255 bytes stands."""
    header = data[at] if at < len(data) else 0
    if header == _TEXT_8 and at + 1 < len(data):
        return at + 2, at + 2 + data[at + 1]
    if _SHORT <= header < _SHORT_END:
        return at + 1, at + 1 + header - _SHORT
    return 0, 0


def _behind_text(data: bytes, at: int) -> int:
    """Return the place behind a field that does not route, or behind everything."""
    for name, texts in _OPTIONAL:
        if data.startswith(name, at):
            at += len(name)
            for _ in range(texts):
                _, at = _text_at(data, at)
            return at or len(data)
    return len(data)


def _taken_apart(head: bytes) -> _Varying | None:
    """Take a head apart that ends with a resource, and perhaps a key."""
    at = head.find(_RESOURCE)
    if at < 0:
        return None
    _, common = _text_at(head, at + len(_RESOURCE))
    start, end = _text_at(head, common)
    key_start, key_end = _text_at(head, end + len(_KEY)) if head.startswith(_KEY, end) else (0, 0)
    if not common or not start or (key_end or end) != len(head):
        return None
    try:
        key = head[key_start:key_end].decode() if key_end else None
        return _Varying(
            head[:common] + _ANY + (_KEY + _ANY if key_end else b""), head[start:end].decode(), key
        )
    except UnicodeDecodeError:
        return None


@lru_cache(_MAX_FAMILIES)
def _family(topic: str, head: bytes) -> Route | None:
    """Return the route of a head in which the resource's id and the key stand for any other."""
    route = _decoded(topic, head)
    # Only a resource's channel has patterns; where the first one is another, the id is no part of it.
    return route if route is not None and route.addresses and len(route.addresses[0][1]) > 1 else None


def _decoded(topic: str, head: bytes) -> Route | None:
    found = decode_head(head)
    return None if found is None else replace(route_to(topic, found[0]), behind=found[1])


def _member(family: Route, varying: _Varying) -> Route | None:
    """Return the route of one of a family, None where it breaks a rule."""
    (like, patterns), *others = family.addresses
    channel = like[:-1] + varying.id
    if not is_segment(varying.id) or len(channel) > MAX_NAME_BYTES:
        return None
    if varying.key is not None and not 1 <= len(varying.key) <= 128:
        return None
    own = (channel, *patterns[1:])
    keys = (*own, *family.keys[len(own) :])
    # A key that stands before the resource is what the whole family has.
    key = family.key if varying.key is None else varying.key
    addresses = ((channel, own), *others)
    return Route(addresses, keys, family.tenant_bytes, key, family.behind, family.type)
