"""What comes in as WebSocket frames, rightly and wrongly (PROTOCOL §4, §5; RFC 6455)."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.edge.running import RunningEdge
from tests.edge.wire import ABORTED, BINARY, CLOSE, PING, PONG, TEXT, Wire, frame_bytes, types
from tests.kit.wait import eventually

CONTINUATION = 0x0


def padded(size: int) -> str:
    """Return a ping of exactly *size* bytes."""
    bare = json.dumps({"type": "ping", "id": 1, "x": ""})
    return json.dumps({"type": "ping", "id": 1, "x": "x" * (size - len(bare))})


@pytest.mark.parametrize("size", [125, 126, 127, 4095, 4096])
async def test_a_command_of_up_to_4096_bytes_is_taken(edge: RunningEdge, size: int) -> None:
    """The limit is part of what is allowed."""
    async with edge.client() as client:
        assert len(padded(size)) == size
        assert (await client.call(padded(size), "pong"))["replyTo"] == 1


TOO_BIG: list[tuple[str, Sequence[bytes]]] = [
    ("whole", [frame_bytes(padded(4097))]),
    ("its header alone", [frame_bytes(padded(4097))[:4]]),
    ("of 64-bit length", [b"\x81\xff" + (2**62).to_bytes(8, "big")]),
    ("of a length beyond what a length may be", [b"\x81\xff" + b"\xff" * 8]),
    (
        "in fragments",
        [frame_bytes(b"x" * 2048, fin=False), frame_bytes(b"x" * 2049, CONTINUATION)],
    ),
    (
        "in fragments without an end",
        [frame_bytes(b"x" * 4096, fin=False), frame_bytes(b"x", CONTINUATION, fin=False)],
    ),
    ("binary", [frame_bytes(b"x" * 4097, BINARY)]),
]


@pytest.mark.parametrize(("_", "frames"), TOO_BIG, ids=[row[0] for row in TOO_BIG])
async def test_a_command_of_more_closes_with_1009(edge: RunningEdge, _: str, frames: Sequence[bytes]) -> None:
    """As soon as it is known to be too big; the client is told not to come back."""
    async with edge.client() as client:
        client.writer.write(b"".join(frames))
        end = await client.closing()

        assert end.code == 1009
        assert (end.farewell["code"], end.farewell["reconnect"]) == (1009, False)


BROKEN: list[tuple[str, bytes, int]] = [
    ("binary", frame_bytes(b"\x81\xa4type\xa4ping", BINARY), 1003),
    ("empty binary", frame_bytes(b"", BINARY), 1003),
    ("not UTF-8", frame_bytes(b'{"type":"ping\xff"}'), 1007),
    ("an overlong form", frame_bytes(b"\xc0\xaf"), 1007),
    ("a surrogate in UTF-8", frame_bytes(b"\xed\xa0\x80"), 1007),
    (
        "not UTF-8, split",
        frame_bytes(b"\xc3", fin=False) + frame_bytes(b"\x28", CONTINUATION),
        1007,
    ),
    ("reserved bit 1", frame_bytes("{}", reserved=0b100), 1002),
    ("reserved bit 2", frame_bytes("{}", reserved=0b010), 1002),
    ("reserved bit 3", frame_bytes("{}", reserved=0b001), 1002),
    *((f"opcode {opcode}", frame_bytes("{}", opcode), 1002) for opcode in (3, 7, 0xB, 0xF)),
    ("a PING of 126 bytes", frame_bytes(b"x" * 126, PING), 1002),
    ("a CLOSE of 126 bytes", frame_bytes(b"\x03\xe8" + b"x" * 124, CLOSE), 1002),
    ("a PING in fragments", frame_bytes(b"x", PING, fin=False), 1002),
    ("a continuation of nothing", frame_bytes("{}", CONTINUATION), 1002),
    ("a text within a text", frame_bytes("{", fin=False) + frame_bytes("}", TEXT), 1002),
    ("a CLOSE of one byte", frame_bytes(b"\x03", CLOSE), 1002),
    ("a CLOSE with code 1005", frame_bytes((1005).to_bytes(2, "big"), CLOSE), 1002),
    ("a CLOSE with code 999", frame_bytes((999).to_bytes(2, "big"), CLOSE), 1002),
    ("a CLOSE whose reason is not UTF-8", frame_bytes(b"\x03\xe8\xff", CLOSE), 1007),
]


@pytest.mark.parametrize(("_", "data", "code"), BROKEN, ids=[row[0] for row in BROKEN])
async def test_what_breaks_the_rules_of_frames_is_closed_with_its_code(
    edge: RunningEdge, _: str, data: bytes, code: int
) -> None:
    """What came before is still answered, what comes behind is not."""
    async with edge.client() as client:
        client.writer.write(frame_bytes('{"type":"ping","id":1}') + data + frame_bytes('{"type":"ping"}'))
        end = await client.closing()

        assert end.code == code
        assert types(end.messages) == ["pong", "disconnect"]
        assert end.farewell["code"] == code
        assert end.reason == end.farewell["reason"] != ""


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_bytes_may_come_in_any_pieces(edge: RunningEdge, size: int) -> None:
    """The border between two reads is none between two frames."""
    data = frame_bytes('{"type":"ping","id":1}') + frame_bytes(b"hi", PING) + frame_bytes(padded(200))
    async with edge.client() as client:
        for start in range(0, len(data), size):
            client.writer.write(data[start : start + size])
            await client.writer.drain()
        assert (await client.message("pong"))["replyTo"] == 1
        assert await client.frame() == (PONG, b"hi")
        await client.message("pong")


async def test_a_command_may_come_in_fragments_with_pings_between(edge: RunningEdge) -> None:
    """A character may be cut in two, and control frames may stand between (RFC 6455 section 5.4)."""
    text = '{"type":"ping","id":"ä"}'.encode()
    at = text.index("ä".encode()) + 1
    async with edge.client() as client:
        client.send_frame(text[:3], fin=False)
        client.send_frame(b"between", PING)
        client.send_frame(text[3:at], CONTINUATION, fin=False)
        client.send_frame(b"", CONTINUATION, fin=False)
        client.send_frame(text[at:], CONTINUATION)

        assert await client.frame() == (PONG, b"between")
        assert (await client.message("pong"))["replyTo"] == "ä"


BAD_COMMANDS = ["{", "[]", '{"type":"nonsense"}', '{"type":"subscribe","channel":"nonsense"}']


async def test_ten_mistakes_in_a_row_close_with_4506(edge: RunningEdge, tenant: str) -> None:
    """Of whatever kind; each is answered, and the last frame says why and not to come back."""
    async with edge.client(tenant) as client:
        client.send(*(BAD_COMMANDS * 3)[:10], {"type": "ping"})
        end = await client.closing()

        assert end.code == 4506
        assert types(end.messages) == ["error"] * 10 + ["disconnect"]
        assert (end.farewell["code"], end.farewell["reconnect"]) == (4506, False)
        await client.answer_close(4506)


async def test_forty_mistakes_in_one_segment_close_in_order_as_well(edge: RunningEdge, tenant: str) -> None:
    """More than may wait: what is left over when it closes is dropped."""
    async with edge.client(tenant) as client:
        client.send(*BAD_COMMANDS * 10)
        end = await client.closing()

        assert (end.code, len(end.messages)) == (4506, 11)
        await client.answer_close(4506)


INTERRUPTIONS = [
    {"type": "ping"},
    {"type": "pong"},
    {"type": "subscribe", "channel": "system:all"},
    {"type": "subscribe", "channel": "tenant:other:all"},
    {"type": "unsubscribe", "channel": "tenant:other:resource:orders:1"},
    {"type": "subscribe", "channels": ["nonsense", "system:all"]},
    {"type": "presence", "channel": "system:all"},
]


@pytest.mark.parametrize("good", INTERRUPTIONS, ids=json.dumps)
async def test_anything_else_ends_the_row_of_mistakes(
    edge: RunningEdge, tenant: str, good: dict[str, str]
) -> None:
    """Nine mistakes and one of these, over and over: the connection stays."""
    async with edge.client(tenant) as client:
        for _ in range(3):
            client.send(*["{"] * 9, good)
        client.send({"type": "ping", "id": "still here"})
        while (await client.message()).get("replyTo") != "still here":
            pass


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
async def test_a_client_s_close_is_echoed_and_the_socket_closed(edge: RunningEdge, code: int | None) -> None:
    """The closing handshake of RFC 6455 section 5.5.1; without a code the answer is 1000."""
    payload = b"" if code is None else code.to_bytes(2, "big") + b"bye"
    async with edge.client() as client:
        client.send({"type": "ping"})
        client.send_frame(payload, CLOSE)
        client.send({"type": "ping"})
        end = await client.closing()

        assert (end.code, types(end.messages)) == (code or 1000, ["pong"])
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("how", "reason"),
    [("close", "normal"), ("eof", "lost"), ("abort", "lost"), ("odd code", "other")],
)
async def test_who_leaves_is_forgotten_and_counted(
    edge: RunningEdge, tenant: str, how: str, reason: str
) -> None:
    """However it leaves; nothing of the connection is left in the gauges."""
    before = await edge.metric("connections_closed_total", reason=reason)

    async def is_forgotten() -> bool:
        closed = await edge.metric("connections_closed_total", reason=reason)
        return closed == before + 1 and await edge.metric("connections_active") == 0

    await eventually(lambda: _is_zero(edge, "connections_active"))
    async with edge.client(tenant) as client:
        assert await edge.metric("connections_active") == 1
        assert await edge.metric("subscriptions") == 5
        await _leave(client, how)
        await eventually(is_forgotten)
    assert await edge.metric("subscriptions") == 0
    assert await edge.metric("channels_active") == 0


async def _is_zero(edge: RunningEdge, name: str) -> bool:
    return await edge.metric(name) == 0


async def _leave(client: Wire, how: str) -> None:
    match how:
        case "close" | "odd code":
            client.send_frame((1000 if how == "close" else 3333).to_bytes(2, "big"), CLOSE)
            assert (await client.closing()).code != ABORTED
        case "eof":
            client.writer.write_eof()
        case "abort":
            client.writer.transport.abort()
