"""Where a search begins: inputs that lead deep into each parser, and words that it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fanwire_edge.core.deflate import deflated
from fanwire_protocol.event import Event, encode_event
from fanwire_protocol.orders import Operation, Order, encode_order
from tests.edge.wire import BINARY, CLOSE, PING, PONG, TEXT, frame_bytes

__all__ = ["SEEDS", "WORDS"]

POSITION = b"1732096800123-0~5f0c2a91"
COMMANDS = [
    b'{"type":"ping","id":1}',
    b'{"type":"subscribe","channels":["system:all","tenant:a:resource:b:*"],"since":{"orders":"%b"}}'
    % POSITION,
    b'{"type":"subscribe","channel":"tenant:acme:resource:orders:42","since":"orders@%b","id":"x"}'
    % POSITION,
    b'{"type":"authenticate","token":"a.b.c"}',
    b'{"type":"request.state","channel":null}',
    b'{"type":"presence","channel":"\\ud83d\\ude00","x":[1e3,-0.5,true,{"a":null}]}',
    b"\x83\xa4type\xa9subscribe\xa7channel\xaasystem:all\xa2id\x2a",
    b"\x81\xa4type\xa4ping",
]


def _masked(part: bytes) -> bytes:
    """Return short frames masked, always alike, so that a search can be repeated."""
    key = b"\x5a\xc3\x17\x88"
    return (
        bytes((part[0], part[1] | 0x80)) + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(part[2:]))
    )


def _frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, reserved: int = 0) -> bytes:
    return _masked(frame_bytes(payload, opcode, fin=fin, reserved=reserved, masked=False))


FRAMES = [_frame(text) for text in COMMANDS if len(text) < 126] + [
    _frame(b"hi", PING),
    _frame(b"hi", PONG),
    _frame(b"\x03\xe8bye", CLOSE),
    _frame(b"\x81\xa4type\xa4ping", BINARY),
    _frame(b'{"type":', fin=False) + _frame(b"", PING) + _frame(b'"ping"}', 0),
    _frame(deflated(COMMANDS[0]), reserved=0b100),
    _frame(deflated(COMMANDS[0])[:9], fin=False, reserved=0b100) + _frame(deflated(COMMANDS[0])[9:], 0),
    b"\x81\xfe\x00\x82\x00\x00\x00\x00" + b"x" * 130,
    frame_bytes(b"unmasked", masked=False),
]
EVENT = Event("id-1", "order.updated", "acme", 1, {"a": [1, None]}, resource=("orders", "1"), key="k")
RECORD = encode_event(EVENT)
ORDER = Order(Operation.REVOKE, "o-1", 1, 2, "acme", "u-1", "r", "t", "c", ("tenant:acme:resource:*",))
HEADERS = [
    b"bearer, a.b.c, fanwire.v1.json",
    b"fanwire.v1.json\nBearer\nx.y.z, bearer, other",
    b"Bearer a.b.c",
    b"permessage-deflate; client_max_window_bits; server_no_context_takeover",
    b'permessage-deflate; server_max_window_bits="10", permessage-deflate',
]
CHANNELS = [
    b"tenant:acme:resource:orders:42",
    b"tenant:acme:resource:*",
    b"tenant:acme:role:admin",
    b"system:all",
    b"tenant:" + b"a" * 128 + b":all",
]

SEEDS: Mapping[str, Sequence[bytes]] = {
    "channels": CHANNELS,
    "codecs": [*COMMANDS, RECORD],
    "commands": COMMANDS,
    "deflate": [deflated(text) for text in COMMANDS] + [deflated(b"x" * 5000)],
    "events": [RECORD],
    "frames": [
        b'{"type":"x","timestamp":"2026-02-26T22:00:00.000Z","eventId":"e","encoding":"json","payload":{}}'
    ],
    "handshakes": HEADERS,
    "visitors": [
        b"192.0.2.1, 198.51.100.1:443\n[2001:db8::1]:443, 10.0.0.2\n::ffff:10.0.0.3",
        b"session=a.b.c; theme=dark\nBearer a.b.c\nBearer a\rX: b",
        b"https://app.example.com:8443\nnull\ns-1\n*\n..\nacme",
    ],
    "inbound": [bytes((3, 0, 200, 9)) + data for data in (*FRAMES, b"".join(FRAMES[:3]))],
    "orders": [encode_order(ORDER)],
    "positions": [POSITION, b"orders@" + POSITION],
}
# What chance would seldom write.
WORDS = [
    *(b"type", b"subscribe", b"unsubscribe", b"ping", b"channel", b"channels", b"since", b"id", b"token"),
    *(b"tenant:", b"resource:", b"system:all", b"bearer", b"fanwire.v1.json", b"NaN", b"1e999", b"\\ud800"),
    *(b"\x81\x80", b"\x89\xfe", b"\x01\xff", b"\x88\x82", b"\x00\x00\xff\xff", b"permessage-deflate", b"~"),
]
