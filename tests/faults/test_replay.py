"""Replays that are cut, long, and read in bursts: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fanwire_protocol import parse_position
from fanwire_publisher import Outgoing, Publisher
from tests.faults.readers import ALL_OF_ACME, Pace, Reader, identity, resource
from tests.faults.rig import rounds, say
from tests.kit.edges import EdgeProcess, edge_on
from tests.kit.fleet import finish_all, running
from tests.kit.proxy import FaultProxy
from tests.kit.recorded_log import read_log
from tests.kit.recording import Recorder, RecordingPublisher, check
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]

QUICK = Timing(ping_seconds=0.2, longest_seconds=0.2)
WANTED = (
    [ALL_OF_ACME],
    [resource("orders", "1")],
    [resource("orders", "1"), resource("orders", "2"), "tenant:acme:resource:orders:*"],
    [resource("invoices", "1"), resource("orders", "2")],
)
BURST_EVENTS = 300
# Each client is due at least 90 events of a burst, of 800 bytes each: three cuts fall into its replay.
CUT_BYTES = 20_000
CUTS = rounds(3, 40)
# What comes from Redis passes the memory on its last stretch.
SOURCES = ("Redis", "memory")[: rounds(1, 2)]


@asynccontextmanager
async def publishing(shared: SharedRedis, recorder: Recorder) -> AsyncIterator[RecordingPublisher]:
    """Give a publisher that writes down what it does."""
    async with Publisher.from_url(shared.url, prefix=shared.prefix) as publisher:
        yield RecordingPublisher(publisher, recorder)


async def publish_burst(publisher: RecordingPublisher, count: int, padding: int, mark: str) -> None:
    """Publish *count* events of three resources of `orders`, and of one of `invoices`."""
    for start in range(0, count, 100):
        events = [
            Outgoing(
                "invoices" if number % 10 == 0 else "orders",
                "changed",
                {"padding": "x" * padding},
                tenant="acme",
                resource=("invoices", "1") if number % 10 == 0 else ("orders", str(number % 3 + 1)),
                event_id=f"{mark}-{number}",
            )
            for number in range(start, min(start + 100, count))
        ]
        await publisher.publish_many(events)


async def publish_steadily(publisher: RecordingPublisher) -> None:
    """Publish on other channels of the same topics, and now and then on those that are replayed, for ever."""
    chance = random.Random(5)
    while True:
        topic = chance.choice(["orders", "invoices"])
        id_ = chance.choice(["1", "7", "8", "9"])
        await publisher.publish(topic, "changed", {"live": True}, tenant="acme", resource=(topic, id_))
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "settings",
    [{}, {"FANWIRE_LOG__MAX_BYTES": "65536", "FANWIRE_HISTORY__MAX_BYTES": "65536"}],
    ids=["from memory", "from Redis"],
)
async def test_replay_that_is_cut_again_and_again_loses_nothing(
    settings: dict[str, str], shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Clients whose connection breaks at any byte of a replay, while other channels of the same topics are
    live, resume from what they hold, on either of two edges, and get everything once."""
    published, seen, log = (tmp_path / name for name in ("published", "seen", "log"))
    async with (
        edge_on(shared_redis, **settings) as one,
        edge_on(shared_redis, **settings) as two,
        AsyncExitStack() as stack,
    ):
        recorders = [stack.enter_context(Recorder(path)) for path in (published, seen, log)]
        proxies = [await stack.enter_async_context(FaultProxy(("127.0.0.1", one.port))) for _ in WANTED]
        clients = [
            RecordingClient(recorders[1], [proxy.url("ws", "/ws")], identity(number), names, QUICK)
            for number, (proxy, names) in enumerate(zip(proxies, WANTED, strict=True))
        ]
        publisher = await stack.enter_async_context(publishing(shared_redis, recorders[0]))
        async with running(clients), asyncio.TaskGroup() as tasks:
            traffic = tasks.create_task(publish_steadily(publisher))
            chance = random.Random(3)
            for number in range(CUTS):
                await _break_replays(chance, proxies, clients, (one.port, two.port), publisher, number)
            traffic.cancel()
            await finish_all(clients, shared_redis.url, shared_redis.prefix)
        await read_log(recorders[2], shared_redis.url, shared_redis.prefix)

    report = check(published, seen, log, strict=True)
    broken = replays_broken(published, seen, clients[0].who.name)
    say(f"{report}; the first client was cut in mid-replay {broken} times")
    assert broken >= CUTS
    assert not any(client.session.gaps for client in clients)


async def _break_replays(
    chance: random.Random,
    proxies: Sequence[FaultProxy],
    clients: Sequence[RecordingClient],
    ports: Sequence[int],
    publisher: RecordingPublisher,
    number: int,
) -> None:
    """Let everyone miss a burst, and cut each three times at some byte of what it then gets."""
    for proxy in proxies:
        proxy.refuse()
        proxy.reset()
    await publish_burst(publisher, BURST_EVENTS, 500, f"burst-{number}")
    async with asyncio.TaskGroup() as tasks:
        for proxy in proxies:
            tasks.create_task(_cut_thrice(chance, proxy, ports))
    await eventually(lambda: all(client.is_ready for client in clients), 15, "everyone back")


async def _cut_thrice(chance: random.Random, proxy: FaultProxy, ports: Sequence[int]) -> None:
    for _ in range(3):
        proxy.target = ("127.0.0.1", chance.choice(ports))
        # The greeting has about 1,200 bytes; the rest is the replay, and live events behind it.
        proxy.down.cut_after_bytes = chance.choice(
            [chance.randrange(1, 4000), chance.randrange(1, CUT_BYTES)]
        )
        await proxy.accept()
        await eventually(lambda: proxy.down.cut_after_bytes is None, 15, "the cut")


def replays_broken(published: Path, seen: Path, client: str) -> int:
    """Count the connections of a client of everything that ended before all had come that was published
    before they began."""
    confirmed = [
        line for line in _lines(published) if line["op"] == "published" and line["topic"] == "orders"
    ]
    began: dict[str, int] = {}
    last: dict[str, str] = {}
    count = 0
    for line in _lines(seen):
        if line["op"] == "connect" and line["client"] == client:
            began[line["connection"]] = line["time"]
        elif line["op"] == "event" and line["offset"].startswith("orders@"):
            last[line["connection"]] = line["offset"].partition("@")[2]
        elif line["op"] == "closed" and line["connection"] in began:
            due = [each["position"] for each in confirmed if each["time"] < began[line["connection"]]]
            reached = last.get(line["connection"])
            count += bool(due) and (
                reached is None or parse_position(reached).key < parse_position(due[-1]).key
            )
    return count


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("source", SOURCES)
async def test_resume_of_20_megabytes_ends_level_without_a_disconnect(
    source: str, shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """With the default settings, under which a live client may be 256 KB behind, one that resumes is given
    20 MB and more while it reads in bursts, and is not disconnected."""
    megabytes, rest_seconds = 20, rounds(1, 40) / 10
    published, seen, log = (tmp_path / name for name in ("published", "seen", "log"))
    async with edge_on(shared_redis) as first, AsyncExitStack() as stack:
        recorders = [stack.enter_context(Recorder(path)) for path in (published, seen, log)]
        publisher = await stack.enter_async_context(publishing(shared_redis, recorders[0]))
        await publish_burst(publisher, 10, 10, "before")
        async with FaultProxy(("127.0.0.1", first.port)) as proxy:
            pace = Pace()
            client = Reader(recorders[1], [proxy.url("ws", "/ws")], 1, [ALL_OF_ACME], pace, Timing(1.0))
            async with running([client]):
                proxy.refuse()
                proxy.reset()
                await publish_burst(publisher, megabytes * 250, 4000, "missed")
                edge = first if source == "memory" else await _another(stack, shared_redis)
                proxy.target = ("127.0.0.1", edge.port)
                pace.rest_after(1_000_000, rest_seconds)
                began = time.monotonic()
                await proxy.accept()
                await eventually(lambda: client.is_ready, 15)
                # Live events behind a replay make a connection no slower.
                await publish_burst(publisher, 500, 1000, "live")
                await finish_all([client], shared_redis.url, shared_redis.prefix, deadline_seconds=240)
                say(f"level after {time.monotonic() - began:.1f} s, {megabytes} MB from {source}")
        reads = await edge.metric("fanwire_history_reads_total")
        slow = await edge.metric('fanwire_connections_closed_total{reason="slow_consumer"}')
        await read_log(recorders[2], shared_redis.url, shared_redis.prefix)

    say(f"{check(published, seen, log, strict=True)}; {reads:.0f} pages read")
    assert (slow, client.connections, client.session.gaps) == (0, 2, [])
    assert (reads > 0) == (source == "Redis")


async def _another(stack: AsyncExitStack, shared: SharedRedis) -> EdgeProcess:
    """Start an edge that has nothing of the log in memory."""
    return await stack.enter_async_context(edge_on(shared))


async def test_resume_in_a_busy_second_needs_no_room_for_all_of_it(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Where a position stands in a second with more entries than the pages that the edge may hold, it is
    proven all the same, at once, and everything behind it is replayed."""
    published, seen, log = (tmp_path / name for name in ("published", "seen", "log"))
    small = {"FANWIRE_LOG__MAX_BYTES": "65536", "FANWIRE_HISTORY__MAX_BYTES": "65536"}
    async with edge_on(shared_redis, **small) as edge, AsyncExitStack() as stack:
        recorders = [stack.enter_context(Recorder(path)) for path in (published, seen, log)]
        publisher = await stack.enter_async_context(publishing(shared_redis, recorders[0]))
        client = RecordingClient(recorders[1], [edge.url], identity(1), [ALL_OF_ACME], QUICK)
        async with running([client]):
            for number in range(rounds(2, 10)):
                # The client is cut anywhere in a burst, most of which takes less than a second.
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(publish_burst(publisher, 5000, 200, f"burst-{number}"))
                    due = client.session.events + 3500
                    await eventually(lambda: client.session.events >= due, 15)  # noqa: B023
                    client.cut()
                began = time.monotonic()
                await eventually(lambda: client.session.events == (number + 1) * 5000, 30)  # noqa: B023
                say(f"level {time.monotonic() - began:.2f} s after the burst")
            await finish_all([client], shared_redis.url, shared_redis.prefix)
        reads = await edge.metric("fanwire_history_reads_total")
        await read_log(recorders[2], shared_redis.url, shared_redis.prefix)

    say(f"{check(published, seen, log, strict=True)}; {reads:.0f} pages read")
    assert client.session.gaps == []
