"""How an event is written for each system, and the wire it goes over: `sink(KIND, ADDRESS)`.

Every system gets frames of the same size on the socket of its clients, its own envelope included.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

import msgpack

from fanwire_protocol import Event, encode_event
from fanwire_protocol.keys import ENTRY_FIELD, stream_key, topics_key
from tests.bench.events import TOPIC, EventShape, header_bytes, plain_text
from tests.bench.order import Order
from tests.bench.wires import HttpWire, NatsWire, RedisWire, Wire

__all__ = ["NATS_TOKEN", "SINKS", "Sink", "nats_subject", "sink"]

# nats-server of the benchmark listens on loopback only.
NATS_TOKEN = "fanwire-bench"
_STORM_TOPIC = "storm"
_REDIS_STREAM_LINES, _REDIS_COUNT_LINES = 2, 1
_STREAM_LENGTH = b"1000000"

Message = Callable[[int, int, Order], bytes]


@dataclass(frozen=True, slots=True)
class Sink:
    """`message(number, due_ns, order)` is an event ready to be sent by `wire`."""

    wire: Wire
    message: Message


def sink(kind: str, address: str) -> Sink:
    """Return the sink of a system; *address* is what it takes: a URL of Redis, else HOST:PORT."""
    return SINKS[kind](address)


def nats_subject(place: str) -> str:
    """Return the subject of a place (`b:1`)."""
    return place.replace(":", ".")


def _command(*parts: bytes) -> bytes:
    """Return a command as Redis reads it."""
    body = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n%b" % (len(parts), body)


def _place(number: int, order: Order) -> str:
    resource = order.resource(number)
    return "all" if resource is None else ":".join(resource)


def _xadd(stream: str, event: Event) -> bytes:
    return _command(b"XADD", stream.encode(), b"*", ENTRY_FIELD, encode_event(event))


def _announced(url: str, prefix: str, topic: str) -> RedisWire:
    with closing(RedisWire(url, _REDIS_COUNT_LINES)) as wire:
        wire.send([_command(b"SADD", topics_key(prefix).encode(), topic.encode())])
    return RedisWire(url, _REDIS_STREAM_LINES)


def _fanwire(address: str) -> Sink:
    """Entries as PROTOCOL §7 says; *address* is the URL, a space and the prefix."""
    url, prefix = address.split()
    stream = stream_key(prefix, TOPIC, 0)

    def message(number: int, due_ns: int, order: Order) -> bytes:
        return _xadd(stream, EventShape(order.frame_bytes).event(number, due_ns, order.resource(number)))

    return Sink(_announced(url, prefix, TOPIC), message)


def _storm(address: str) -> Sink:
    """What `storm.c` counts: `n` of each group runs from 1 without a hole."""
    url, prefix = address.split()
    stream, counts = stream_key(prefix, _STORM_TOPIC, 0), defaultdict[str, int](int)

    def message(number: int, due_ns: int, order: Order) -> bytes:
        group = str(number % order.resources)
        counts[group] += 1
        payload: dict[str, int | str] = {"n": counts[group], "t": due_ns}
        event = Event(
            id=f"storm-{number}",
            type="u",
            tenant="acme",
            time=time.time_ns() // 1_000_000,
            payload=payload,
            resource=("storm", group),
            to=None,
        )
        return _xadd(stream, event)

    return Sink(_announced(url, prefix, _STORM_TOPIC), message)


def _text(number: int, due_ns: int, order: Order, envelope_bytes: int = 0) -> bytes:
    length = order.frame_bytes - header_bytes(order.frame_bytes) - envelope_bytes
    return plain_text(number, due_ns, length)


def _pubsub(url: str) -> Sink:
    """A text for each client of a room, published on the room's channel."""

    def message(number: int, due_ns: int, order: Order) -> bytes:
        channel = f"bench:{_place(number, order)}".encode()
        return _command(b"PUBLISH", channel, _text(number, due_ns, order))

    return Sink(RedisWire(url, _REDIS_COUNT_LINES), message)


def _channels(url: str) -> Sink:
    """A message to a group, as channels_redis writes it; `text` is what its consumers send."""

    def message(number: int, due_ns: int, order: Order) -> bytes:
        group = _place(number, order).replace(":", ".")
        text = _text(number, due_ns, order).decode()
        packed = msgpack.packb({"type": "bench.event", "text": text})
        assert isinstance(packed, bytes)
        return _command(b"PUBLISH", f"asgi__group__{group}".encode(), packed)

    return Sink(RedisWire(url, _REDIS_COUNT_LINES), message)


_SOCKET_IO = '42["u",]'


def _socket_io_data(number: int, due_ns: int, order: Order) -> dict[str, object]:
    """Return an object that makes a packet of the size asked for."""
    bare = len(json.dumps({"t": due_ns, "id": ""}, separators=(",", ":")))
    room = order.frame_bytes - header_bytes(order.frame_bytes) - len(_SOCKET_IO) - bare
    if room < 1:
        raise ValueError(f"a frame of {order.frame_bytes} bytes is {1 - room} too short for an event")
    return {"t": due_ns, "id": str(number).zfill(room)}


def _socket_io_stream(url: str) -> Sink:
    """A broadcast as the redis-streams adapter of another node adds it."""

    def message(number: int, due_ns: int, order: Order) -> bytes:
        event = ["u", _socket_io_data(number, due_ns, order)]
        data = {
            "opts": {"rooms": [_place(number, order)], "except": [], "flags": {}},
            "packet": {"type": 2, "data": event, "nsp": "/"},
        }
        fields = {"uid": "bench", "nsp": "/", "type": "3", "data": json.dumps(data, separators=(",", ":"))}
        pairs = [part.encode() for pair in fields.items() for part in pair]
        return _command(b"XADD", b"socket.io", b"MAXLEN", b"~", _STREAM_LENGTH, b"*", *pairs)

    return Sink(RedisWire(url, _REDIS_STREAM_LINES), message)


def _socket_io_pubsub(url: str) -> Sink:
    """An emit as python-socketio's Redis manager of another host publishes it."""

    def message(number: int, due_ns: int, order: Order) -> bytes:
        data = {
            "method": "emit",
            "event": "u",
            "data": [_socket_io_data(number, due_ns, order)],
            "binary": False,
            "namespace": "/",
            "room": _place(number, order),
            "skip_sid": None,
            "callback": None,
            "host_id": "bench",
        }
        return _command(b"PUBLISH", b"socketio", json.dumps(data).encode())

    return Sink(RedisWire(url, _REDIS_COUNT_LINES), message)


def _nats(address: str) -> Sink:
    """A message of NATS; its head counts as part of the frame."""

    def message(number: int, due_ns: int, order: Order) -> bytes:
        subject = nats_subject(_place(number, order))
        envelope = f"MSG {subject} 1 123\r\n\r\n"
        text = _text(number, due_ns, order, len(envelope))
        return b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(text), text)

    return Sink(NatsWire(address, NATS_TOKEN), message)


def _nchan(address: str) -> Sink:
    """A POST to the publisher's location."""

    def message(number: int, due_ns: int, order: Order) -> bytes:
        text = _text(number, due_ns, order)
        head = f"POST /pub?id={_place(number, order)} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(text)}"
        return head.encode() + b"\r\n\r\n" + text

    return Sink(HttpWire(address), message)


SINKS: Mapping[str, Callable[[str], Sink]] = {
    "fanwire": _fanwire,
    "storm": _storm,
    "pubsub": _pubsub,
    "channels": _channels,
    "socketio-stream": _socket_io_stream,
    "socketio-pubsub": _socket_io_pubsub,
    "nats": _nats,
    "nchan": _nchan,
}
