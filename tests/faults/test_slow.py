"""Clients that do not read fast enough: cut where they are too far behind, caught up from the log else."""

from __future__ import annotations

import random
import time
from contextlib import AsyncExitStack

import pytest

from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.truth import check
from tests.e2e.writer import Writer, resource
from tests.faults.rig import arrived, finish, rounds, say, writing
from tests.kit.edges import EdgeProcess, edge_on
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TOPICS = ("orders", "invoices", "projects")
SMALL_BUFFER = 4096
CUT_BY_RESET = 1006
SLOW_CONSUMER = 4008
# A tick of the caretaker is a tenth of the interval.
QUICK_TICKS = {"FANWIRE_HEARTBEAT__INTERVAL": "1", "FANWIRE_HEARTBEAT__TIMEOUT": "60"}
SMALL_BUFFERS = {
    **QUICK_TICKS,
    "FANWIRE_DELIVERY__HIGH_WATER_BYTES": "4096",
    "FANWIRE_DELIVERY__SEND_BUFFER_BYTES": "4096",
}


async def test_five_of_forty_that_never_read_are_cut_and_the_others_lose_nothing(
    shared_redis: SharedRedis,
) -> None:
    """At a rate that overruns those who do not read they are cut within stall_seconds + 2, their memory is
    freed, and the 35 others get every event once and in order."""
    log_bytes = {"FANWIRE_LOG__MAX_BYTES": str(2 * 1024 * 1024)}
    async with (
        edge_on(shared_redis, **log_bytes) as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        AsyncExitStack() as stack,
    ):
        healthy = [await stack.enter_async_context(listening(edge.url, ALL_OF_ACME)) for _ in range(35)]
        stuck = [
            await stack.enter_async_context(
                listening(edge.url, ALL_OF_ACME, receive_buffer_bytes=SMALL_BUFFER)
            )
            for _ in range(5)
        ]
        await arrived(stuck[-1], (await writer.write("orders"))[-1])
        for listener in stuck:
            listener.pause()
        before, started = edge.resident_bytes, time.monotonic()
        highest = await _write_until_cut(edge, writer, healthy, connections=35)
        took = time.monotonic() - started
        after = edge.resident_bytes

        assert took < 10 + 2
        say(
            f"cut after {took:.1f} s and {len(writer.written)} KB written; resident memory "
            f"{before >> 10} KB before, at most {highest >> 10} KB, {after >> 10} KB after"
        )
        assert after - before < 32 * 1024 * 1024
        for report in await finish(writer, healthy):
            assert (report.gaps, report.delivered) == ({}, len(writer.written))
        for listener in stuck:
            listener.resume()
            await eventually(lambda: listener.is_closed)  # noqa: B023
            assert listener.close_code in (SLOW_CONSUMER, CUT_BY_RESET)
            assert not check(listener, writer.written, ended=True).missing
        assert await edge.metric('fanwire_connections_closed_total{reason="slow_consumer"}') == 5


async def _write_until_cut(
    edge: EdgeProcess, writer: Writer, healthy: list[Listener], connections: int
) -> int:
    """Write events of 1 KB as fast as *healthy* take them; returns the most memory that was in use."""
    highest = 0
    while await edge.metric("fanwire_connections_active") > connections:
        for topic in TOPICS[:2]:
            await writer.write(topic, 20, padding=1000)
        for listener in healthy:
            await arrived(listener, writer.written[-1])
        highest = max(highest, edge.resident_bytes)
    return highest


async def test_client_that_is_cut_and_reads_again_gets_4008(shared_redis: SharedRedis) -> None:
    """Who reads on in time gets the events up to its cut without a hole, then `disconnect` and 4008."""
    async with (
        edge_on(shared_redis, **QUICK_TICKS) as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        listening(edge.url, ALL_OF_ACME, receive_buffer_bytes=SMALL_BUFFER) as listener,
    ):
        await arrived(listener, (await writer.write("orders"))[-1])
        listener.pause()
        await eventually(lambda: _write_until_behind(edge, writer))
        while await edge.metric("fanwire_connections_behind") > 0:
            await writer.write("orders", 50, padding=1000)
        listener.resume()
        await eventually(lambda: listener.is_closed)

        assert listener.close_code == SLOW_CONSUMER
        [farewell] = listener.of_type("disconnect")
        assert farewell is listener.frames[-1]
        assert (farewell["payload"]["code"], farewell["payload"]["reconnect"]) == (SLOW_CONSUMER, True)
        report = check(listener, writer.written, ended=True)
        assert not report.missing
        say(f"{report.delivered} of {len(writer.written)} events of 1 KB came before 4008")


async def _write_until_behind(edge: EdgeProcess, writer: Writer) -> bool:
    await writer.write("orders", 10, padding=1000)
    return await edge.metric("fanwire_connections_behind") > 0


async def test_client_that_makes_no_progress_is_cut_after_the_time_of_a_stall(
    shared_redis: SharedRedis,
) -> None:
    """Also one that is behind by less than 256 KB is cut, within stall_seconds + 2."""
    async with (
        edge_on(shared_redis, **SMALL_BUFFERS, FANWIRE_DELIVERY__STALL_SECONDS="0.5") as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        listening(edge.url, ALL_OF_ACME, receive_buffer_bytes=SMALL_BUFFER) as listener,
    ):
        await arrived(listener, (await writer.write("orders"))[-1])
        listener.pause()
        await eventually(lambda: _write_until_behind(edge, writer))
        behind = time.monotonic()
        await eventually(lambda: _has_left(edge))
        took = time.monotonic() - behind

        assert len(writer.written) < 200
        # A slow machine is late as well; by default it takes 10 s to see a stall.
        assert took < 0.5 + 2 + 3
        say(f"gone {took:.2f} s after it was found behind")


async def _has_left(edge: EdgeProcess) -> bool:
    return await edge.metric("fanwire_connections_active") == 0


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_client_that_pauses_for_a_moment_catches_up_from_the_log(
    loop: str, shared_redis: SharedRedis
) -> None:
    """Behind by less than 256 KB nothing is lost: all its channels catch up in the order of the log, also
    those that it subscribes to meanwhile, and a `pong` never promises more than has come."""
    settings = {**SMALL_BUFFERS, "FANWIRE_DELIVERY__STALL_SECONDS": "60", "FANWIRE_EDGE__LOOP": loop}
    chance = random.Random(11)
    async with (
        edge_on(shared_redis, **settings) as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        AsyncExitStack() as stack,
    ):
        listeners = [
            await stack.enter_async_context(listening(edge.url, *channels, receive_buffer_bytes=SMALL_BUFFER))
            for channels in (
                [ALL_OF_ACME],
                [resource(topic, "1") for topic in TOPICS],
                ["tenant:acme:resource:orders:*", resource("orders", "1"), resource("projects", "2")],
                [resource("invoices", "0")],
            )
        ]
        behind = 0
        for number in range(rounds(25, 400)):
            behind += await _pause_for_a_moment(chance, edge, writer, listeners, number)
        reports = await finish(writer, listeners)

        assert all(report.gaps == {} for report in reports)
        assert behind > 0
        frames = sum(report.delivered for report in reports)
        say(f"{loop}: {len(writer.written)} events became {frames} frames, behind {behind} times")


async def _pause_for_a_moment(
    chance: random.Random, edge: EdgeProcess, writer: Writer, listeners: list[Listener], number: int
) -> int:
    """Let some listeners pause while events come, and do things on the way; returns how many were behind."""
    paused = chance.sample(listeners, chance.randrange(1, len(listeners)))
    for listener in paused:
        listener.pause()
    for _ in range(chance.randrange(2, 8)):
        await writer.write(
            chance.choice(TOPICS), chance.randrange(1, 16), id_=str(chance.randrange(3)), padding=1000
        )
    if chance.random() < 0.3:
        await chance.choice(paused).send(
            "subscribe", channel=resource(chance.choice(TOPICS), str(number % 3))
        )
    found = int(await edge.metric("fanwire_connections_behind"))
    for listener in paused:
        listener.resume()
        await listener.send("ping")
    # Some while they catch up, so that live and old events meet.
    for _ in range(chance.randrange(4)):
        await writer.write(chance.choice(TOPICS), 3, padding=300)
    await eventually(lambda: _is_level(edge), 10)
    return found


async def _is_level(edge: EdgeProcess) -> bool:
    return await edge.metric("fanwire_connections_behind") == 0


async def test_client_behind_the_log_in_memory_is_not_left_with_a_hole(shared_redis: SharedRedis) -> None:
    """Where the log has forgotten what a connection still needs it is cut, told, or served from Redis."""
    settings = {
        **SMALL_BUFFERS,
        "FANWIRE_LOG__MAX_BYTES": "65536",
        "FANWIRE_DELIVERY__MAX_BEHIND_BYTES": "1000000",
    }
    async with (
        edge_on(shared_redis, **settings) as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        listening(edge.url, ALL_OF_ACME, receive_buffer_bytes=SMALL_BUFFER) as listener,
    ):
        await arrived(listener, (await writer.write("orders"))[-1])
        listener.pause()
        for _ in range(5):
            for topic in TOPICS:
                await writer.write(topic, 20, padding=1000)
        await eventually(lambda: _has_read(edge, len(writer.written)))
        listener.resume()
        last = writer.written[-1].event_id
        await eventually(lambda: listener.is_closed or listener.frames[-1]["eventId"] == last, 10)

        report = check(listener, writer.written, ended=listener.is_closed)
        assert not report.missing
        assert listener.close_code in (None, SLOW_CONSUMER)
        say(f"{report.delivered} of {len(writer.written)} came, then {listener.close_code}")


async def _has_read(edge: EdgeProcess, events: int) -> bool:
    return await edge.metric("fanwire_events_read_total") >= events
