"""The wire to Redis: what it uses of redis-py that redis-py does not promise, and what it makes of answers.

Where the first test fails after an upgrade of redis-py, `adapters/redis_wire.py` has to follow.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from redis.asyncio import Connection
from redis.exceptions import ResponseError

from fanwire_edge.adapters.redis_wire import RedisWire
from fanwire_edge.ports import TailLost
from tests.kit.redis_server import SharedRedis

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def broker(answer: Answer) -> AsyncIterator[str]:
    """Listen as a broker that welcomes everyone, and then answers a PING as told; give its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if b"PING" in data:
                    await answer(writer)
                elif b"HELLO" in data:
                    writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n" + b"+OK\r\n" * (data.count(b"*") - 1))
                else:
                    writer.write(b"+OK\r\n" * data.count(b"*"))
        except ConnectionError:
            pass  # The wire gave up first.
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[RedisWire]:
    """Give a wire that is connected."""
    wire = RedisWire(url, "p")
    await wire.connect()
    try:
        yield wire
    finally:
        await wire.close()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_of_redis_py_gives_its_transport_away(
    shared_redis: SharedRedis, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """It has a reader and a writer, does without them, and says nothing when it is forgotten."""

    async def take_over() -> None:
        connection = Connection(host="127.0.0.1", port=int(shared_redis.url.rpartition(":")[2].split("/")[0]))
        await connection.connect()  # type: ignore[no-untyped-call]
        writer, connection._writer = connection._writer, None
        connection._reader = None
        assert isinstance(writer, asyncio.StreamWriter)
        assert not connection.is_connected
        del connection
        gc.collect()
        assert not writer.transport.is_closing()
        writer.transport.abort()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(take_over())


async def test_an_error_is_a_reply_and_what_stands_behind_it_is_read_too(shared_redis: SharedRedis) -> None:
    """So that one bad command of a pipeline does not cost the connection."""
    async with wire(shared_redis.url) as link:
        replies = await link.exchange([("PING",), ("NO-SUCH",), ("PING",)], 5)
        assert await link.exchange([], 5) == []

    assert [replies[0], type(replies[1]), replies[2]] == [b"PONG", ResponseError, b"PONG"]


async def _slowly(writer: asyncio.StreamWriter) -> None:
    for byte in b">2\r\n+news\r\n+x\r\n$4\r\nlate\r\n":
        writer.write(bytes((byte,)))
        await writer.drain()


async def test_a_reply_may_come_in_pieces_and_behind_news_that_nobody_asked_for() -> None:
    """Which RESP3 allows a server to push at any time."""
    async with broker(_slowly) as url, wire(url) as link:
        assert await link.exchange([("PING",)], 5) == [b"late"]


async def _silent(writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""


async def _garbled(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def _gone(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(_silent, "did not answer in time"), (_garbled, "is no RESP"), (_gone, "Connection")],
)
async def test_a_broker_that_does_not_answer_is_lost(answer: Answer, reason: str) -> None:
    """In time, with the reason, and the connection is given up."""
    async with broker(answer) as url, wire(url) as link:
        with pytest.raises(TailLost, match=reason):
            await link.exchange([("PING",)], 0.3)
        assert not link.is_connected
        with pytest.raises(TailLost, match="not connected"):
            await link.exchange([("PING",)], 5)


async def test_an_exchange_that_is_cancelled_gives_the_connection_up(shared_redis: SharedRedis) -> None:
    """Its replies would be taken for those of the next one."""
    async with wire(shared_redis.url) as link:
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(link.exchange([("XREAD", "BLOCK", 0, "STREAMS", "x", "0")], 60))
            await asyncio.sleep(0)
            waiting.cancel()
        assert waiting.cancelled()
        assert not link.is_connected


async def test_a_deadline_counts_from_its_own_exchange(shared_redis: SharedRedis) -> None:
    """A long one does not inherit the short one's before it, nor the short one the long one's."""
    async with wire(shared_redis.url) as link:
        await link.exchange([("PING",)], 0.05)
        waited = await link.exchange([("XREAD", "BLOCK", 150, "STREAMS", "nothing-here", "0")], 5)
        assert waited == [None]
        with pytest.raises(TailLost, match="in time"):
            await link.exchange([("XREAD", "BLOCK", 3000, "STREAMS", "nothing-here", "0")], 0.1)
