"""Edges end, in order or not."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import pytest

from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.truth import check
from tests.e2e.writer import Writer
from tests.faults.rig import arrived, finish, rounds, say, writing
from tests.kit.edges import edge_on
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

DRAINING = 1012
LOST = 1006


async def test_sigterm_under_load_sends_everybody_home(shared_redis: SharedRedis) -> None:
    """Under load every connection gets what was due, then `disconnect` and 1012; the edge ends with 0."""
    async with (
        edge_on(shared_redis) as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        AsyncExitStack() as stack,
    ):
        listeners = [await stack.enter_async_context(listening(edge.url, ALL_OF_ACME)) for _ in range(20)]
        async with asyncio.TaskGroup() as tasks:
            stopped = asyncio.Event()
            tasks.create_task(_write_until(stopped, writer))
            await eventually(lambda: listeners[-1].count > 200)
            edge.process.signal(signal.SIGTERM)
            told = time.monotonic()
            await eventually(lambda: all(each.is_closed for each in listeners), 15)
            status = await edge.process.wait_for_exit()
            say(f"ended {1000 * (time.monotonic() - told):.0f} ms after SIGTERM with {status}")
            stopped.set()

        assert status == 0
        for listener in listeners:
            _assert_sent_home(listener)
            assert not check(listener, writer.written, ended=True).missing


async def _write_until(stopped: asyncio.Event, writer: Writer) -> None:
    while not stopped.is_set():
        await writer.write("orders", 3)
        await writer.write("invoices", 3)


def _assert_sent_home(listener: Listener) -> None:
    farewell = listener.frames[-1]
    assert farewell["type"] == "disconnect"
    assert farewell["payload"]["code"] == listener.close_code == DRAINING
    assert farewell["payload"]["reconnect"] is True


async def test_killed_edge_harms_no_other(shared_redis: SharedRedis) -> None:
    """Clients of another edge do not notice; those of the killed one have no hole up to its end, and get
    the rest from the other edge."""
    for _ in range(rounds(1, 10)):
        async with (
            edge_on(shared_redis) as doomed,
            edge_on(shared_redis) as other,
            writing(shared_redis.url, shared_redis.prefix) as writer,
            listening(doomed.url, ALL_OF_ACME) as lost,
            listening(other.url, ALL_OF_ACME) as unharmed,
        ):
            async with asyncio.TaskGroup() as tasks:
                stopped = asyncio.Event()
                tasks.create_task(_write_until(stopped, writer))
                await eventually(lambda: lost.count > 50)  # awaited at once
                doomed.kill()
                await eventually(lambda: lost.is_closed and unharmed.count > lost.count + 100)
                stopped.set()
            await arrived(unharmed, writer.written[-1])
            [report] = await finish(writer, [unharmed])

            assert (report.gaps, report.delivered) == ({}, len(writer.written))
            assert lost.close_code == LOST
            assert not check(lost, writer.written, ended=True).missing
            say(f"{report.delivered} came from the other edge, {len(lost.events)} from the killed one")
