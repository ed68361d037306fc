"""Clients of every dialect on one edge: JSON, msgpack, and both of them compressed (PROTOCOL §2)."""

from __future__ import annotations

import asyncio
import json
import socket
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgpack
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.edge.running import ORDERS, RunningEdge, running_edge
from tests.edge.wire import BINARY, PING, PONG, TEXT, frame_bytes, upgrade_request
from tests.kit.redis_server import RedisServer, SharedRedis

CONTINUATION = 0x0
EXTENSIONS = "Sec-WebSocket-Extensions: "
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
JSON, MSGPACK = "fanwire.v1.json", "fanwire.v1.msgpack"
# Subprotocol and compression.
DIALECTS = [(JSON, False), (MSGPACK, False), (JSON, True), (MSGPACK, True)]
DEADLINE_SECONDS = 20.0


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def packing_edge(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """An edge that compresses, and lets everybody catch up."""
    redis = SharedRedis(session_redis, f"packing-{loop_name}")
    async with running_edge(
        redis,
        EDGE__LOOP=loop_name,
        DELIVERY__COMPRESSION="deflate",
        DELIVERY__COMPRESS_FROM_BYTES="400",
        DELIVERY__POLICY="catch_up",
    ) as running:
        yield running


class Speaker:
    """A client of another make, of one dialect."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._is_packed = socket.subprotocol == MSGPACK

    async def send(self, **command: Any) -> None:
        """Send a command."""
        await self.socket.send(msgpack.packb(command) if self._is_packed else json.dumps(command))

    async def message(self) -> dict[str, Any]:
        """Return the next frame, which says how it is encoded."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            data = await self.socket.recv()
        assert isinstance(data, bytes) is self._is_packed
        frame: dict[str, Any] = msgpack.unpackb(data) if isinstance(data, bytes) else json.loads(data)
        assert frame.pop("encoding") == ("msgpack" if self._is_packed else "json")
        return frame

    async def subscribe(self, channel: str, since: str | None = None) -> dict[str, Any]:
        """Subscribe, and return the confirmation."""
        await self.send(type="subscribe", channel=channel, since=since)
        answer = await self.message()
        assert answer["type"] == "subscribed", answer
        return answer

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Return the next frames, all of them events."""
        found = [await self.message() for _ in range(count)]
        assert {frame["type"] for frame in found} == {"order.updated"}
        return found


@asynccontextmanager
async def speaking(
    edge: RunningEdge, tenant: str, subprotocol: str, is_deflated: bool
) -> AsyncIterator[Speaker]:
    """Connect in one dialect, and read the greeting."""
    async with connect(
        f"ws://127.0.0.1:{edge.port}/ws",
        subprotocols=[Subprotocol(each) for each in (subprotocol, "bearer", edge.token(tenant))],
        compression="deflate" if is_deflated else None,
        ping_interval=None,
        max_size=None,
        proxy=None,
    ) as socket:
        assert socket.subprotocol == subprotocol
        assert socket.response is not None
        assert socket.response.headers.get("Sec-WebSocket-Extensions") == (AGREED if is_deflated else None)
        speaker = Speaker(socket)
        assert (await speaker.message())["type"] == "connected"
        yield speaker


async def publish(edge: RunningEdge, tenant: str, pads: Sequence[int]) -> list[Any]:
    """Publish orders whose payloads hold so many characters more, and return the payloads."""
    payloads: list[Any] = [
        {"number": n, "big": 2**53 + n, "pad": "äb" * (pad // 2)} for n, pad in enumerate(pads)
    ]
    async with edge.publisher() as publisher:
        for number, payload in enumerate(payloads):
            resource = ("orders", str(number % 3))
            await publisher.publish(ORDERS, "order.updated", payload, tenant=tenant, resource=resource)
    return payloads


async def test_clients_of_every_dialect_see_the_same(packing_edge: RunningEdge, tenant: str) -> None:
    """Live and when they come back in another dialect: the same frames, in the same order."""
    pattern = f"tenant:{tenant}:resource:orders:*"
    pads = [0, 3000, 300, 20_000, 1] * 8
    async with AsyncExitStack() as stack:
        speakers = [
            await stack.enter_async_context(speaking(packing_edge, tenant, *dialect)) for dialect in DIALECTS
        ]
        for speaker in speakers:
            await speaker.subscribe(pattern)
        payloads = await publish(packing_edge, tenant, pads)
        live = [await speaker.events(len(pads)) for speaker in speakers]

        assert [frame["payload"] for frame in live[0]] == payloads
        assert live[1:] == live[:1] * 3

        since = live[0][11]["offset"]
        for dialect in DIALECTS:
            returned = await stack.enter_async_context(speaking(packing_edge, tenant, *dialect))
            assert (await returned.subscribe(pattern, since))["payload"]["recovered"] is True
            assert await returned.events(len(pads) - 12) == live[0][12:]


async def test_who_reads_slowly_in_any_dialect_catches_up(packing_edge: RunningEdge, tenant: str) -> None:
    """From the log, when its socket drains, with nothing missing and nothing twice."""
    pattern = f"tenant:{tenant}:resource:orders:*"
    async with AsyncExitStack() as stack:
        speakers = [
            await stack.enter_async_context(speaking(packing_edge, tenant, *dialect)) for dialect in DIALECTS
        ]
        for speaker in speakers:
            await speaker.subscribe(pattern)
            speaker.socket.transport.pause_reading()
        payloads = await publish(packing_edge, tenant, [60_000] * 60)
        for speaker in speakers:
            speaker.socket.transport.resume_reading()
            assert [frame["payload"] for frame in await speaker.events(60)] == payloads


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
async def test_what_is_long_is_compressed_and_understood(
    packing_edge: RunningEdge, tenant: str, subprotocol: str
) -> None:
    """One message in one frame with RSV1, a block that ends with a flush; the short ones are as ever."""
    opcode, encoded = (TEXT, json.dumps) if subprotocol == JSON else (BINARY, msgpack.packb)
    async with await packing_edge.dial() as wire:
        offer = f"Sec-WebSocket-Protocol: {subprotocol}, bearer, {packing_edge.token(tenant)}"
        request = upgrade_request(offer, f"{EXTENSIONS}permessage-deflate; client_max_window_bits")
        answer = await wire.ask(request)
        assert (answer.status, answer.headers["sec-websocket-extensions"]) == (101, AGREED)
        command = encoded({"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"})
        wire.send_frame(command, opcode)
        heads, numbers = [], []
        for pads in ([], [], [3000, 1]):
            await publish(packing_edge, tenant, pads)
            for _ in pads or [0]:
                first, second = await wire.reader.readexactly(2)
                size = second if second < 126 else int.from_bytes(await wire.reader.readexactly(2), "big")
                payload = await wire.reader.readexactly(size)
                heads.append(first)
                if first & 0x40:
                    assert len(payload) < 400
                    payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
                frame = json.loads(payload) if opcode == TEXT else msgpack.unpackb(payload)
                numbers.append(frame["payload"].get("number"))

        assert heads == [0x80 | opcode, 0x80 | opcode, 0xC0 | opcode, 0x80 | opcode]
        assert numbers == [None, None, 0, 1]


OFFERS: list[tuple[str, str | None]] = [
    ("permessage-deflate; client_max_window_bits", AGREED),
    ("permessage-deflate; server_max_window_bits=10; client_max_window_bits", None),
    ("permessage-deflate; server_max_window_bits=10, permessage-deflate", AGREED),
    ("permessage-deflate; unheard_of=1", None),
    ("permessage-bzip2", None),
]


@pytest.mark.parametrize(("offer", "agreed"), OFFERS, ids=[row[0] for row in OFFERS])
async def test_what_cannot_be_agreed_on_is_left_out(
    packing_edge: RunningEdge, offer: str, agreed: str | None
) -> None:
    """The connection opens all the same."""
    async with await packing_edge.dial() as wire:
        token = packing_edge.token()
        answer = await wire.ask(upgrade_request(f"Authorization: Bearer {token}", f"{EXTENSIONS}{offer}"))

        assert (answer.status, answer.headers.get("sec-websocket-extensions")) == (101, agreed)


async def test_nothing_is_compressed_unless_it_is_asked_for(edge: RunningEdge, tenant: str) -> None:
    """By default an edge does not know the extension; what is sent compressed breaks RFC 6455."""
    async with await edge.dial() as wire:
        token = edge.token(tenant)
        answer = await wire.ask(
            upgrade_request(f"Authorization: Bearer {token}", f"{EXTENSIONS}permessage-deflate")
        )
        assert "sec-websocket-extensions" not in answer.headers
        await wire.message("connected")
        wire.send_frame(deflated(b'{"type":"ping"}'), reserved=0b100)
        assert (await wire.closing()).code == 1002


def deflated(data: bytes) -> bytes:
    """Compress one message, as a client does."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def ping(size: int) -> bytes:
    """A command of exactly *size* bytes, which shrinks well."""
    return b'{"type":"ping","id":1,"x":"' + b"x" * (size - 29) + b'"}'


@asynccontextmanager
async def packed_wire(edge: RunningEdge, tenant: str) -> AsyncIterator[Any]:
    """Connect byte by byte, with compression agreed on."""
    async with await edge.dial() as wire:
        lines = (f"Authorization: Bearer {edge.token(tenant)}", f"{EXTENSIONS}permessage-deflate")
        yield await wire.open(*lines)


@pytest.mark.parametrize("size", [40, 4096])
async def test_a_command_may_come_compressed(packing_edge: RunningEdge, tenant: str, size: int) -> None:
    """Whole, in fragments with a PING between them, or not compressed at all, in any order."""
    packed = deflated(ping(size))
    async with packed_wire(packing_edge, tenant) as wire:
        for _ in range(3):
            wire.send_frame(packed, reserved=0b100)
            wire.send_frame(ping(size))
            wire.send_frame(packed[:5], reserved=0b100, fin=False)
            wire.send_frame(b"between", PING)
            wire.send_frame(packed[5:], CONTINUATION)
            pongs = [(await wire.message("pong"))["replyTo"] for _ in range(2)]
            assert await wire.frame() == (PONG, b"between")
            assert [*pongs, (await wire.message("pong"))["replyTo"]] == [1, 1, 1]


BROKEN: list[tuple[str, bytes, int]] = [
    ("one byte too long", frame_bytes(deflated(ping(4097)), reserved=0b100), 1009),
    ("a bomb", frame_bytes(deflated(bytes(3_000_000)), reserved=0b100), 1009),
    (
        "too long even compressed",
        frame_bytes(b"x" * 4000, reserved=0b100, fin=False) + frame_bytes(b"x" * 97, CONTINUATION),
        1009,
    ),
    ("no DEFLATE", frame_bytes(b"\xff\xff\xff", reserved=0b100), 1002),
    ("not UTF-8", frame_bytes(deflated(b"\xff"), reserved=0b100), 1007),
    ("binary", frame_bytes(deflated(b"{}"), BINARY, reserved=0b100), 1003),
    (
        "compressed from the second fragment on",
        frame_bytes(b"{", fin=False) + frame_bytes(deflated(b"}"), CONTINUATION, reserved=0b100),
        1002,
    ),
    ("another reserved bit", frame_bytes("{}", reserved=0b110), 1002),
    ("a message within one", frame_bytes(b"x", reserved=0b100, fin=False) + frame_bytes("{}"), 1002),
    ("without a mask", frame_bytes(deflated(b"{}"), reserved=0b100, masked=False), 1002),
]


@pytest.mark.parametrize(("_", "data", "code"), BROKEN, ids=[row[0] for row in BROKEN])
async def test_what_is_wrong_in_compressed_messages_closes(
    packing_edge: RunningEdge, tenant: str, _: str, data: bytes, code: int
) -> None:
    """With the code of the same mistake uncompressed; a bomb is not inflated beyond the limit."""
    async with packed_wire(packing_edge, tenant) as wire:
        wire.writer.write(data)
        end = await wire.closing()

        assert (end.code, end.farewell["code"]) == (code, code)


async def test_text_on_a_connection_of_msgpack_closes_with_1003(edge: RunningEdge, tenant: str) -> None:
    """As binary does on one of JSON; the farewell comes in msgpack."""
    async with speaking(edge, tenant, MSGPACK, False) as speaker:
        await speaker.socket.send('{"type":"ping"}')

        assert (await speaker.message())["payload"]["code"] == 1003
        with pytest.raises(ConnectionClosed):
            await speaker.socket.recv()
        assert speaker.socket.close_code == 1003


COMMANDS: list[tuple[bytes, Mapping[str, Any]]] = [
    (msgpack.packb({"type": "ping", "id": "p"}), {"type": "pong", "replyTo": "p"}),
    (b"\xc1", {"type": "error", "code": "invalid_json"}),
    (b"", {"type": "error", "code": "invalid_json"}),
    (b'{"type":"ping"}', {"type": "error", "code": "invalid_json"}),
    (msgpack.packb({"type": "dance", "id": 3}), {"type": "error", "code": "unknown_type", "replyTo": 3}),
    (msgpack.packb([1]), {"type": "error", "code": "invalid_message"}),
]


async def test_commands_in_msgpack_are_answered_like_others(edge: RunningEdge, tenant: str) -> None:
    """What does not decode is `invalid_json` here too, and the connection stays; ten are too many."""
    async with speaking(edge, tenant, MSGPACK, False) as speaker:
        for data, expected in COMMANDS:
            await speaker.socket.send(data)
            frame = await speaker.message()
            told = {
                "type": frame["type"],
                "replyTo": frame.get("replyTo"),
                "code": frame["payload"].get("code"),
            }
            assert {name: value for name, value in told.items() if value is not None} == expected
        for _ in range(6):
            await speaker.socket.send(b"\xc1")
        codes = [(await speaker.message())["payload"].get("code") for _ in range(6)]
        # Five of them came before in a row, since a `pong` ends the row.
        assert codes == ["invalid_json"] * 5 + [4506]


async def test_a_ping_overtakes_in_msgpack_too(packing_edge: RunningEdge, tenant: str) -> None:
    """A replay holds up all other commands, not that."""
    pattern = f"tenant:{tenant}:resource:orders:*"
    async with (
        speaking(packing_edge, tenant, JSON, True) as first,
        speaking(packing_edge, tenant, MSGPACK, True) as speaker,
    ):
        since = (await first.subscribe(pattern))["payload"]["positions"]
        await publish(packing_edge, tenant, [30_000] * 40)
        await first.events(40)
        # In one segment, for what was compressed so well may be replayed before the next one comes.
        wire = speaker.socket.transport.get_extra_info("socket")
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        await speaker.send(type="subscribe", channel=pattern, since=since)
        await speaker.send(type="unsubscribe", channel=pattern, id=1)
        await speaker.send(type="ping", id=2)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        found = [await speaker.message() for _ in range(43)]

        assert [frame["replyTo"] for frame in found if "replyTo" in frame] == [2, 1]
        assert sum(frame["type"] == "order.updated" for frame in found) == 40
