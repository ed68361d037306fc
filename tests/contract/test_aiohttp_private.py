"""What the takeover and the connections use of aiohttp that aiohttp does not promise (ADR 0001).

Where one of these fails after an upgrade of aiohttp, `takeover.py` or `connection.py` has to follow.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import struct
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.web_protocol import RequestHandler

from fanwire_edge.inbound import Inbound
from fanwire_edge.takeover import accept_key, take_over
from tests.edge.running import running_edge
from tests.edge.wire import BINARY, CLOSE, PING, PONG, Wire, frame_bytes, upgrade_request
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

CONTINUATION = 0x0
Scenario = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    """Runs a coroutine function on a new loop of each kind."""

    def run(scenario: Scenario) -> None:
        with asyncio.Runner(loop_factory=request.param, debug=True) as runner:
            runner.run(scenario())

    return run


class Taker(asyncio.Protocol):
    """A protocol that takes over, and writes down what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Server:
    """An aiohttp server whose handler waits until `go` is set, and then takes the transport over."""

    def __init__(self) -> None:
        application = web.Application()
        application.router.add_get("/ws", self.handle)
        self.runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        self.port = 0
        self.go = asyncio.Event()
        self.go.set()
        self.requests = 0
        self.failures: list[BaseException] = []
        self.takers: list[Taker] = []
        self.transports: list[asyncio.Transport] = []

    @classmethod
    @asynccontextmanager
    async def serve(cls) -> AsyncIterator[Server]:
        """Run one on a free port."""
        server = cls()
        await server.runner.setup()
        await web.TCPSite(server.runner, "127.0.0.1", 0).start()
        server.port = int(server.runner.addresses[0][1])
        try:
            yield server
        finally:
            for transport in server.transports:
                transport.abort()
            await server.runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one connection over."""
        self.requests += 1
        await self.go.wait()
        accept = accept_key(request)
        assert accept is not None
        try:
            response, transport, rest = await take_over(request, accept, None)
        except BaseException as failure:
            self.failures.append(failure)
            raise
        taker = Taker()
        transport.set_protocol(taker)
        taker.data_received(rest)
        self.takers.append(taker)
        self.transports.append(transport)
        return response

    @property
    def held(self) -> list[RequestHandler]:
        """The connections that aiohttp knows of."""
        assert self.runner.server is not None
        return self.runner.server.connections


def test_the_private_names_are_there() -> None:
    """The tail of a request is a slot of bytes, and the queue takes a message and its size."""
    assert "_message_tail" in RequestHandler.__slots__
    assert issubclass(Inbound, WebSocketDataQueue)


def test_the_takeover_leaves_nothing_of_aiohttp_alive(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    """No connection in its server, no task, no request handler; and nothing is logged."""

    async def scenario() -> None:
        async with Server.serve() as server:
            tasks, before = asyncio.all_tasks(), _handlers()
            async with await Wire.dial(server.port) as one, await Wire.dial(server.port) as two:
                for wire in (one, two):
                    assert (await wire.ask(upgrade_request())).status == 101
                await eventually(lambda: not server.held)
                await eventually(lambda: asyncio.all_tasks() == tasks)

                await eventually(lambda: _handlers() <= before)
                await _echo(server, one)
        lines = [each for each in caplog.records if each.name.startswith("aiohttp")]
        assert not [each for each in lines if each.levelno >= logging.WARNING]

    run(scenario)


def _handlers() -> set[int]:
    """Return which request handlers of aiohttp there are in the process."""
    gc.collect()
    return {id(each) for each in gc.get_objects() if type(each) is RequestHandler}


async def _echo(server: Server, wire: Wire) -> None:
    """The transport is the taker's in both directions."""
    taker, transport = server.takers[0], server.transports[0]
    wire.writer.write(b"to the taker")
    await eventually(lambda: taker.received == b"to the taker")
    transport.write(b"from the taker")
    assert await wire.reader.readexactly(14) == b"from the taker"


def test_the_end_of_the_connection_is_told_to_the_taker_once(run: Callable[[Scenario], None]) -> None:
    """Whoever ends it; aiohttp is not asked any more."""

    async def scenario() -> None:
        async with Server.serve() as server:
            for how in ("peer", "close", "abort"):
                async with await Wire.dial(server.port) as wire:
                    await wire.ask(upgrade_request())
                    await eventually(lambda: server.takers)
                    taker, transport = server.takers.pop(), server.transports.pop()
                    if how == "peer":
                        wire.writer.transport.abort()
                    else:
                        getattr(transport, how)()
                    await eventually(lambda taker=taker: taker.lost)  # type: ignore[misc]
                    await asyncio.sleep(0)
                    assert len(taker.lost) == 1
            await eventually(lambda: not server.held)

    run(scenario)


@pytest.mark.parametrize("size", [0, 1, 5, 100_000, 1_000_000])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
def test_bytes_behind_the_handshake_are_not_lost(
    run: Callable[[Scenario], None], size: int, *, waits: bool
) -> None:
    """However many, also where authentication takes its time; then aiohttp pauses reading at 256 KB."""

    async def scenario() -> None:
        async with Server.serve() as server:
            data = bytes(number % 251 for number in range(size))
            async with await Wire.dial(server.port) as wire:
                if waits:
                    server.go.clear()
                wire.writer.write(upgrade_request() + data)
                if waits:
                    await eventually(lambda: server.requests)
                    await eventually(lambda: _tail(server) >= min(size, 200_000))
                    server.go.set()
                assert (await wire.http_answer()).status == 101
                await eventually(lambda: server.takers and server.takers[0].received == data)
                wire.writer.write(b"more")
                await eventually(lambda: server.takers[0].received == data + b"more")

    run(scenario)


def _tail(server: Server) -> int:
    [handler] = server.held
    return len(handler._message_tail)


@pytest.mark.parametrize("how", ["eof", "abort"])
def test_who_leaves_during_the_handshake_is_not_taken_over(run: Callable[[Scenario], None], how: str) -> None:
    """Nothing is left: otherwise a connection would stay for ever that nobody is at."""

    async def scenario() -> None:
        async with Server.serve() as server:
            server.go.clear()
            async with await Wire.dial(server.port) as wire:
                wire.writer.write(upgrade_request())
                await eventually(lambda: server.requests)
                if how == "eof":
                    wire.writer.write_eof()
                else:
                    wire.writer.transport.abort()
                # It keeps the handler until the request is answered.
                await eventually(lambda: server.held[0].transport is None)
                server.go.set()
                await eventually(lambda: server.failures or server.takers)
            assert [isinstance(each, ConnectionError) for each in server.failures] == [True]
            assert not server.takers
            await eventually(lambda: not server.held)

    run(scenario)


class Caller:
    """What `Inbound` calls back."""

    def __init__(self) -> None:
        self.messages: list[tuple[WSMsgType, Any]] = []
        self.problems: list[BaseException] = []

    def receive(self, message: Any) -> None:
        self.messages.append((message.type, message.data))

    def fail(self, problem: BaseException) -> None:
        self.problems.append(problem)


STREAM = (
    frame_bytes('{"a":"ä"}')
    + frame_bytes(b"", PING)
    + frame_bytes("frag", fin=False)
    + frame_bytes(b"ping", PING)
    + frame_bytes("ment", CONTINUATION)
    + frame_bytes(b"pong", PONG)
    + frame_bytes(b"x" * 200, BINARY)
    + frame_bytes(struct.pack("!H", 1000) + b"bye", CLOSE)
)
EXPECTED = [
    (WSMsgType.TEXT, '{"a":"ä"}'),
    (WSMsgType.PING, b""),
    (WSMsgType.PING, b"ping"),
    (WSMsgType.TEXT, "fragment"),
    (WSMsgType.PONG, b"pong"),
    (WSMsgType.BINARY, b"x" * 200),
    (WSMsgType.CLOSE, 1000),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, len(STREAM)])
def test_the_reader_calls_back_at_once_whatever_the_pieces(size: int) -> None:
    """Without a loop, a task or a queue; each message as soon as its last byte is there."""
    receiver = Caller()
    inbound = Inbound(receiver)
    for start in range(0, len(STREAM), size):
        inbound.feed(STREAM[start : start + size])

    assert receiver.messages == EXPECTED
    assert not receiver.problems


def test_only_text_is_certain_to_come_as_str() -> None:
    """PING's data is a bytearray where it was masked, which is not an instance of bytes."""
    receiver = Caller()
    Inbound(receiver).feed(frame_bytes(b"x", PING) + frame_bytes("x"))

    assert isinstance(receiver.messages[0][1], bytes | bytearray)
    assert isinstance(receiver.messages[1][1], str)


WRONG: list[tuple[str, bytes, int]] = [
    ("too big", frame_bytes(b"x" * 4097), 1009),
    ("too big in parts", frame_bytes(b"x" * 4096, fin=False) + frame_bytes(b"x", CONTINUATION), 1009),
    ("not UTF-8", frame_bytes(b"\xff"), 1007),
    ("not UTF-8 in parts", frame_bytes(b"\xff", fin=False) + frame_bytes(b"", CONTINUATION), 1007),
    ("reserved bit", frame_bytes("x", reserved=0b100), 1002),
    ("opcode", frame_bytes("x", 0x3), 1002),
    ("control frame", frame_bytes(b"x" * 126, PING), 1002),
    ("not masked", frame_bytes("x", masked=False), 1002),
    ("not masked, empty", frame_bytes("", PING, masked=False), 1002),
    ("a message behind an empty begin", frame_bytes("", fin=False) + frame_bytes("x"), 1002),
    ("a CLOSE that nobody sends", frame_bytes(struct.pack("!H", 1006), CLOSE), 1002),
]


@pytest.mark.parametrize(("_", "data", "code"), WRONG, ids=[row[0] for row in WRONG])
def test_the_reader_tells_what_is_wrong_once_and_says_no_more(_: str, data: bytes, code: int) -> None:
    """`set_exception` gets an exception with a `code`; what comes behind is not looked at."""
    receiver = Caller()
    inbound = Inbound(receiver)
    inbound.feed(frame_bytes("before") + data + frame_bytes("behind"))
    inbound.feed(frame_bytes("later"))

    assert receiver.messages == [(WSMsgType.TEXT, "before")]
    assert [getattr(problem, "code", None) for problem in receiver.problems] == [code]


def packed(data: bytes) -> bytes:
    """Compress one message, as a client without context does (RFC 7692 section 7.2.1)."""
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


PACKED_STREAM = (
    frame_bytes(packed(b'{"a":1}'), reserved=0b100)
    + frame_bytes("plain")
    + frame_bytes((long := packed("ä".encode() * 2000))[:3], reserved=0b100, fin=False)
    + frame_bytes(b"ping", PING)
    + frame_bytes(long[3:5], CONTINUATION, fin=False)
    + frame_bytes(long[5:], CONTINUATION)
    + frame_bytes("frag", fin=False)
    + frame_bytes("ment", CONTINUATION)
    + frame_bytes(packed(b"x" * 200), BINARY, reserved=0b100)
)
PACKED_EXPECTED = [
    (WSMsgType.TEXT, '{"a":1}'),
    (WSMsgType.TEXT, "plain"),
    (WSMsgType.PING, b"ping"),
    (WSMsgType.TEXT, "ä" * 2000),
    (WSMsgType.TEXT, "fragment"),
    (WSMsgType.BINARY, b"x" * 200),
]


@pytest.mark.parametrize("size", [1, 3, 50, len(PACKED_STREAM)])
def test_the_reader_tells_which_frames_belong_to_a_compressed_message(size: int) -> None:
    """Its `_handle_frame` is asked with each frame, and says so of every fragment; we inflate."""
    receiver = Caller()
    inbound = Inbound(receiver, is_deflated=True)
    for start in range(0, len(PACKED_STREAM), size):
        inbound.feed(PACKED_STREAM[start : start + size])

    assert (receiver.messages, receiver.problems) == (PACKED_EXPECTED, [])


def test_a_limit_of_4097_lets_4096_bytes_pass() -> None:
    """aiohttp refuses a message of exactly the limit."""
    receiver = Caller()
    Inbound(receiver).feed(frame_bytes(b"x" * 4096))

    assert receiver.messages == [(WSMsgType.TEXT, "x" * 4096)]


def test_the_reader_never_stalls_however_many_messages_one_read_brings() -> None:
    """aiohttp's reader stops at a limit of its queue, which ours does not have."""
    receiver = Caller()
    inbound = Inbound(receiver)
    inbound.feed(frame_bytes("x" * 4000) * 500)

    assert len(receiver.messages) == 500
    gc.collect()
    inbound.feed(frame_bytes("last"))
    assert receiver.messages[-1] == (WSMsgType.TEXT, "last")


def test_reader_and_queue_keep_each_other_alive_until_they_are_released() -> None:
    """A connection holds one of the two; after `release` nobody is called back, and memory comes back."""
    receiver = Caller()
    inbound = Inbound(receiver)
    gc.collect()
    inbound.feed(frame_bytes("x"))
    assert len(receiver.messages) == 1

    inbound.release()
    inbound.feed(frame_bytes("y") + frame_bytes("z", 0x3))
    assert (len(receiver.messages), receiver.problems) == (1, [])
    watched = weakref.ref(receiver)
    del receiver
    assert watched() is None


async def test_an_edge_runs_without_aiohttp_s_compiled_parts(shared_redis: SharedRedis) -> None:
    """Where no wheel fits, aiohttp is pure Python, and its reader uses other fields of the queue."""
    environment = {"AIOHTTP_NO_EXTENSIONS": "1"}
    async with running_edge(shared_redis, environment=environment) as edge, edge.client() as client:
        client.send_frame('{"type":', fin=False)
        client.send_frame(b"x", PING)
        client.send_frame('"ping","id":1}', CONTINUATION)
        assert await client.frame() == (PONG, b"x")
        assert (await client.message("pong"))["replyTo"] == 1
        client.send(*[{"type": "ping", "x": "x" * 4000}] * 100)
        assert len(await client.messages(100)) == 100
        client.send_frame(json.dumps({"type": "ping", "x": "x" * 5000}))
        assert (await client.closing()).code == 1009
