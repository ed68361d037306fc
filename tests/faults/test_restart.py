"""The broker dies and comes back, or is not there at first."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.writer import Writer
from tests.faults.rig import arrived, finish, rounds, say, writing
from tests.kit.edges import EdgeProcess
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TOPICS = ("orders", "invoices")


@pytest.mark.parametrize("appendonly", [False, True], ids=["without AOF", "with AOF"])
async def test_restarted_broker_is_told_to_everyone_before_anything_later(appendonly: bool) -> None:
    """After a crash of the broker connections stay, the edge is not ready until it reads again, and a gap
    for every topic comes before the events of the broker's new life; all of it within 5 s."""
    with RedisServer(appendonly=appendonly) as redis:
        async with (
            EdgeProcess(redis.url) as edge,
            writing(redis.url) as writer,
            listening(edge.url, ALL_OF_ACME) as everything,
            listening(edge.url, "tenant:acme:resource:orders:1") as one,
            listening(edge.url) as quiet,
        ):
            listeners = [everything, one, quiet]
            for topic in TOPICS:
                await arrived(everything, (await writer.write(topic, 20))[-1])
            for _ in range(rounds(2, 20)):
                await _crash(redis, edge, writer, listeners)
            reports = await finish(writer, [everything, one])

            assert await edge.metric("fanwire_connections_active") == 3
            for report in reports:
                assert set(report.gaps) == {"failover"}
            topics = {"direct", "system", "channels", *TOPICS}
            for listener in listeners:
                assert {gap["topic"] for gap in listener.gaps} == topics


async def _crash(redis: RedisServer, edge: EdgeProcess, writer: Writer, listeners: list[Listener]) -> None:
    told = [len(listener.gaps) for listener in listeners]
    # Some events at the very end, which the edge may have read or not.
    for topic in TOPICS:
        await writer.write(topic, 3)
    redis.kill()
    died = time.monotonic()
    await eventually(lambda: _is(edge, 503))
    noticed = time.monotonic()
    assert not any(listener.is_closed for listener in listeners)
    await redis.astart()
    back = time.monotonic()
    async with asyncio.timeout(5):
        # These come before the edge is there again or after, and are told of or delivered.
        for topic in TOPICS:
            await writer.write(topic, 3)
        await edge.wait_ready(5)
        for topic in TOPICS:
            await arrived(listeners[0], (await writer.write(topic, 3))[-1])
    say(
        f"not ready {1000 * (noticed - died):.0f} ms after the crash, "
        f"live {1000 * (time.monotonic() - back):.0f} ms after the return"
    )
    for listener, before in zip(listeners, told, strict=True):
        await eventually(lambda: len(listener.gaps) == before + 5)  # noqa: B023  # awaited at once


async def _is(edge: EdgeProcess, status: int) -> bool:
    return await edge.readyz() == status


async def test_edge_starts_without_its_broker_and_becomes_ready_when_it_comes() -> None:
    """Without a broker an edge runs, says what it cannot reach, refuses with 503, and is ready later."""
    redis = RedisServer()
    edge = EdgeProcess(redis.url)
    try:
        edge.start()
        await edge.process.wait_for_output("broker_unreachable")
        assert await edge.readyz() == 503
        with pytest.raises(InvalidStatus) as refused:
            await connect(edge.url, subprotocols=[Subprotocol("bearer"), Subprotocol(make_token())])
        response = refused.value.response
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert json.loads(response.body or b"")["error"]["code"] == "unavailable"

        await redis.astart()
        started = time.monotonic()
        await edge.wait_ready()
        say(f"ready {1000 * (time.monotonic() - started):.0f} ms after the broker came")
        async with writing(redis.url) as writer, listening(edge.url, ALL_OF_ACME) as listener:
            await writer.write("orders", 10)
            [report] = await finish(writer, [listener])
        assert (report.delivered, report.gaps) == (11, {})
    finally:
        edge.close()
        redis.close()


async def test_edge_that_starts_over_a_bad_network_repeats_no_history(redis_server: RedisServer) -> None:
    """An edge whose first connections break does not take the topics that are there for new ones, whose
    entries it would deliver from the first on."""
    async with FaultProxy(redis_server.address) as proxy, writing(redis_server.url) as writer:
        await writer.write("orders", 50)
        for cut_after_bytes in range(50, 1500, rounds(500, 20)):
            edge = EdgeProcess(proxy.url())
            try:
                proxy.down.cut_after_bytes = cut_after_bytes
                edge.start()
                await edge.wait_ready()
                async with listening(edge.url, ALL_OF_ACME) as listener:
                    await arrived(listener, (await writer.write("orders"))[0])
                    assert [frame["eventId"] for frame in listener.events] == [writer.written[-1].event_id]
                    assert "orders" in listener.frames[0]["payload"]["positions"]
            finally:
                edge.close()
