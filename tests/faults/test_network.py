"""The network between an edge and its broker misbehaves: continuity holds, and nobody is told otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.writer import Writer
from tests.faults.rig import arrived, finish, key_of, rounds, say, steadily, writing
from tests.kit.edges import EdgeProcess
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TOPICS = ("orders", "invoices", "projects")
RESET_SECONDS = 0.3


@dataclass
class Rig:
    """An edge that reaches its broker through a proxy; the writer goes straight to the broker."""

    proxy: FaultProxy
    edge: EdgeProcess
    writer: Writer
    listener: Listener


@asynccontextmanager
async def rig(redis: RedisServer, **settings: str) -> AsyncIterator[Rig]:
    async with (
        FaultProxy(redis.address) as proxy,
        EdgeProcess(proxy.url(), **settings) as edge,
        writing(redis.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("orders"))[-1])
        yield Rig(proxy, edge, writer, listener)


async def _resets(proxy: FaultProxy, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(RESET_SECONDS)
        proxy.reset()


async def _slices(proxy: FaultProxy, seconds: float) -> None:
    proxy.up.slice_bytes = proxy.down.slice_bytes = 1
    await asyncio.sleep(seconds)


async def _latency(proxy: FaultProxy, seconds: float) -> None:
    proxy.up.latency_seconds = proxy.down.latency_seconds = 0.1
    await asyncio.sleep(seconds)


async def _black_hole(proxy: FaultProxy, seconds: float) -> None:
    proxy.black_hole()
    await asyncio.sleep(seconds)


@pytest.mark.parametrize(
    ("fault", "short_seconds", "long_seconds"),
    [(_resets, 2, 30), (_slices, 1, 20), (_latency, 1.5, 20), (_black_hole, 5, 10)],
    ids=["reset every 300 ms", "slices of one byte", "200 ms latency", "black hole for 5 s"],
)
async def test_fault_between_edge_and_broker_loses_and_repeats_nothing(
    fault: Callable[[FaultProxy, float], Awaitable[None]],
    short_seconds: float,
    long_seconds: float,
    redis_server: RedisServer,
) -> None:
    """While the network fails events go on being written; all of them come, once, in order, and there is
    no gap, because the log proves that nothing was lost."""
    seconds = rounds(int(short_seconds * 10), int(long_seconds * 10)) / 10
    async with rig(redis_server) as it:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(steadily(it.writer, TOPICS, seconds, it.listener))
            await fault(it.proxy, seconds)
        it.proxy.heal()
        healed = time.monotonic()
        for topic in TOPICS:
            await arrived(it.listener, (await it.writer.write(topic))[-1])
        say(f"level {1000 * (time.monotonic() - healed):.0f} ms after the fault")
        [report] = await finish(it.writer, [it.listener])

        assert (report.gaps, report.delivered) == ({}, len(it.writer.written))
        say(f"{report.delivered} came, {await it.edge.metric('fanwire_tail_lost_total'):.0f} reads failed")


async def test_reply_larger_than_the_broker_sends_is_read_in_smaller_parts() -> None:
    """Where the broker drops its readers because of their output limit the edge asks for fewer entries
    until it makes progress."""
    limit = {"client-output-buffer-limit": "normal 65536 0 0"}
    async with (
        RedisServer(config=limit) as redis,
        EdgeProcess(redis.url) as edge,
        writing(redis.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("orders"))[-1])
        edge.pause()
        for _ in range(rounds(3, 30)):
            await writer.write("orders", 500, padding=1000)
        edge.resume()
        resumed = time.monotonic()
        await arrived(listener, writer.written[-1])
        failed = await edge.metric("fanwire_tail_lost_total")
        took = time.monotonic() - resumed
        say(f"{len(writer.written)} events of 1 KB in {took:.1f} s, {failed:.0f} reads failed")
        [report] = await finish(writer, [listener])

        assert (report.gaps, report.delivered) == ({}, len(writer.written))
        assert failed > 0


async def test_broker_that_stands_still_is_noticed_and_loses_nothing(redis_server: RedisServer) -> None:
    """A broker that answers nothing any more makes the edge not ready; when it goes on, so does the edge."""
    async with rig(redis_server, FANWIRE_TAIL__BLOCK_MS="200") as it:
        redis_server.pause()
        stopped = time.monotonic()
        await eventually(lambda: _is(it.edge, 503))
        say(f"not ready {1000 * (time.monotonic() - stopped):.0f} ms after the broker stopped")
        redis_server.resume()
        await it.edge.wait_ready()
        await it.writer.write("orders", 10)
        [report] = await finish(it.writer, [it.listener])

        assert (report.gaps, report.delivered) == ({}, len(it.writer.written))


async def test_event_that_a_retry_added_twice_comes_once(redis_server: RedisServer) -> None:
    """Where the broker's replies are lost the publisher adds events again; clients see each of them once."""
    async with (
        EdgeProcess(redis_server.url) as edge,
        FaultProxy(redis_server.address) as proxy,
        writing(proxy.url()) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("orders"))[-1])
        for _ in range(rounds(5, 100)):
            length = redis_server.execute("XLEN", key_of("orders"))
            async with asyncio.TaskGroup() as tasks:
                proxy.down.swallow = True
                tasks.create_task(writer.write("orders", 2))
                await eventually(lambda: redis_server.execute("XLEN", key_of("orders")) > length)  # noqa: B023
                proxy.heal()
                proxy.reset()
        [report] = await finish(writer, [listener])

        assert redis_server.execute("XLEN", key_of("orders")) >= len(writer.written) + 10
        assert (report.gaps, report.delivered) == ({}, len(writer.written))


async def _is(edge: EdgeProcess, status: int) -> bool:
    return await edge.readyz() == status
