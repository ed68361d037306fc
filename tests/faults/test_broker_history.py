"""The broker crashes, fails over and loses replies under load; the checker judges what every client saw."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fanwire_protocol import Position
from fanwire_protocol.event import Event, encode_event
from tests.faults.load import TOPICS
from tests.faults.outages import operations
from tests.faults.replies import Away, dropping_replies, idle
from tests.faults.rig import key_of, rounds, say
from tests.faults.scene import CLIENTS, EVENTS_PER_SECOND, Scene, edges, scene
from tests.faults.test_failover import Pair, pair
from tests.kit.edges import EdgeProcess
from tests.kit.fleet import finish_all, running
from tests.kit.proxy import FaultProxy
from tests.kit.recording import channels_of
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PART_SECONDS = rounds(1, 5)
LIVE_SECONDS = 5.0
READ_BY_EDGES = {"direct", "system", "channels", *TOPICS}


@pytest.mark.parametrize("appendonly", [False, True], ids=["without AOF", "with AOF"])
async def test_crash_of_the_broker_is_told_to_everyone(appendonly: bool, tmp_path: Path) -> None:
    """redis-server is killed under load and comes back, empty or not: a gap for every topic tells every
    client, no connection ends, nothing is lost in silence, and all is live again within 5 s."""
    name = f"broker-killed-{'with' if appendonly else 'without'}-aof"
    async with (
        RedisServer(appendonly=appendonly) as redis,
        edges(2, redis.url) as (one, two),
        scene(name, tmp_path, redis.url) as run,
    ):
        _join(run, one, two)
        live = []
        async with run.under_load():
            for crash in range(1, rounds(1, 4) + 1):
                await run.more(PART_SECONDS)
                redis.kill()
                for edge in (one, two):
                    await eventually(lambda: _is_unready(edge), 10)  # noqa: B023  # awaited at once
                await redis.astart()
                back = time.monotonic()
                await _told_everyone(run, crash)
                # Events of after the return, at everyone, as pongs tell.
                await run.more(0.1)
                await run.all_level(2 * LIVE_SECONDS)
                live.append(round(time.monotonic() - back, 3))
            await run.more(PART_SECONDS)
        await run.verdict(clients=CLIENTS, events_per_second=EVENTS_PER_SECOND, live_after_seconds=live)

        assert {client.connections for client in run.clients} == {1}
        assert {gap["reason"] for client in run.clients for gap in client.session.gaps} == {"failover"}
        assert max(live) < LIVE_SECONDS


@pytest.mark.parametrize("reissues", [False, True], ids=["ids are new", "ids are reissued"])
async def test_promoted_replica_that_lacks_the_last_entries(reissues: bool, tmp_path: Path) -> None:
    """The new master lacks confirmed entries, which one edge has read and the other has not; publishers
    write to it at once, some without an answer from the old one, or behind entries with the ids that are
    lost: everyone is told before anything of its life."""
    name = f"broker-promoted-{'reissues' if reissues else 'anew'}"
    async with (
        pair() as brokers,
        edges(2, brokers.door.url()) as (reads, stands),
        FaultProxy(brokers.master.address) as door,
        scene(name, tmp_path, brokers.replica.url, door.url()) as run,
    ):
        _join(run, reads, stands)
        async with run.under_load():
            await run.more(PART_SECONDS)
            await eventually(lambda: brokers.replica.execute("XLEN", key_of(TOPICS[0])) > 10)
            brokers.link.black_hole()
            stands.pause()
            kept, confirmed = len(run.loads[0].positions), run.confirmed
            await run.more(PART_SECONDS)
            lost = run.loads[0].positions[kept:]
            count = run.confirmed - confirmed
            unanswered = idle(run) if reissues else dropping_replies(run, brokers.master, door)
            async with unanswered:
                _promote(brokers, run, lost if reissues else [])
                door.target = brokers.replica.address
                door.reset()
            stands.resume()
            await _told_everyone(run, 1)
            await run.more(PART_SECONDS)
        await run.verdict(clients=CLIENTS, events_per_second=EVENTS_PER_SECOND, confirmed_and_lost=count)

        assert lost
        assert {gap["reason"] for client in run.clients for gap in client.session.gaps} == {"failover"}


async def test_retries_after_lost_replies_are_delivered_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Replies to publishers are dropped, so that they write again what is in the log already: once it comes
    to every client, live and replayed, also from an edge that started between the two."""
    async with (
        edges(2, redis_server.url) as (one, two),
        FaultProxy(redis_server.address) as door,
        scene("replies-dropped", tmp_path, redis_server.url, door.url()) as run,
        AsyncExitStack() as stack,
    ):
        late = EdgeProcess(redis_server.url)
        stack.callback(late.close)
        soon, later = Away(), Away()
        live = run.join([one.url, late.url], CLIENTS // 3, soon.timing)
        replayed = run.join([one.url, late.url], CLIENTS // 3, later.timing)
        _join(run, one, two, CLIENTS // 3)
        async with run.under_load():
            await run.more(PART_SECONDS / 2)
            # Topics are new, and who was told nothing of one has no position of it to go on from.
            await run.all_level(2 * LIVE_SECONDS)
            for client in (*live, *replayed):
                client.cut()
            async with dropping_replies(run, redis_server, door):
                await late.start().wait_ready()
                soon.release()
                await run.all_ready(live, connections=2)
            for _ in range(rounds(2, 10)):
                await run.more(0.5)
                async with dropping_replies(run, redis_server, door):
                    pass
            await run.more(0.3)
            later.release()
            await run.all_ready(replayed, connections=2)
            await run.more(PART_SECONDS)
        await run.verdict(clients=CLIENTS, events_per_second=EVENTS_PER_SECOND)

        assert run.gaps == []
        _assert_copies(run)


async def test_retry_over_a_crash_comes_again_behind_the_gap(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """An event that was delivered and that the broker lost before its publisher had an answer is written
    into the log of the next life too: it comes again, behind the gap that tells of the change."""
    async with (
        edges(1, redis_server.url) as [edge],
        FaultProxy(redis_server.address) as door,
        scene("broker-killed-retry", tmp_path, redis_server.url, door.url()) as run,
    ):
        [client] = run.join([edge.url], 1)
        async with running(run.clients), asyncio.TaskGroup() as tasks:
            publish = partial(
                run.publisher.publish, "orders", "changed", tenant="acme", resource=("orders", "1")
            )
            await publish()
            door.down.swallow = True
            retried = tasks.create_task(publish())
            await eventually(lambda: client.session.events == 2)
            redis_server.restart()
            await eventually(lambda: "orders" in {gap["topic"] for gap in client.session.gaps}, 10)
            door.heal()
            door.reset()
            await retried
            await finish_all(run.clients, redis_server.url)
        await run.verdict()

        assert (client.session.events, client.session.repeats) == (2, 1)
        assert run.figures["again_after_failover"] == 1


def _join(run: Scene, one: EdgeProcess, two: EdgeProcess, clients: int = CLIENTS) -> None:
    """Add *clients* and some of the library, on both edges."""
    run.join([one.url], clients // 2)
    run.join([two.url], clients // 2)
    for edge in (one, two, one):
        run.join_library(edge.url)


async def _is_unready(edge: EdgeProcess) -> bool:
    return await edge.readyz() == 503


async def _told_everyone(run: Scene, times: int) -> None:
    """Wait until every client was told of all topics for the *times*-th time; libraries tell of their own."""

    def is_told() -> bool:
        for client in run.clients:
            told = [gap["topic"] for gap in client.session.gaps]
            assert all(told.count(topic) == times for topic in READ_BY_EDGES), (client.who.name, told)
        for library in run.libraries:
            assert {gap.topic for gap in library.gaps} >= READ_BY_EDGES, (library.who.name, library.gaps)
        return True

    await eventually(is_told, 20, "a gap at every client")


def _promote(brokers: Pair, run: Scene, lost: list[Position]) -> None:
    """Promote the replica, and let it give the ids of *lost* to other events before anyone reaches it."""
    brokers.master.kill()
    brokers.replica.execute("REPLICAOF", "NO", "ONE")
    info: dict[str, Any] = brokers.replica.execute("INFO", "replication")
    identity = str(info["master_replid"])[:8]
    topic, resource = TOPICS[0], (TOPICS[0], "1")
    for number, position in enumerate(lost):
        event = Event(f"other-{number}", "changed", "acme", 0, resource=resource)
        who = {"publisher": "raw", "topic": topic, "tenant": "acme", "event_id": event.id}
        run.published.write("publish", **who, channels=channels_of(topic, "acme", resource, None))
        brokers.replica.execute("XADD", key_of(topic), position.id, "e", encode_event(event))
        run.published.write("published", **who, position=f"{position.id}~{identity}")
    brokers.door.target = brokers.replica.address
    brokers.door.reset()


def _assert_copies(run: Scene) -> None:
    """The log has events twice."""
    entries = [(line["topic"], line["tenant"], line["event_id"]) for line in operations(run.paths[2])]
    copies = len(entries) - len(set(entries))
    say(f"{copies} of {len(entries)} entries are copies")
    assert copies > 0
