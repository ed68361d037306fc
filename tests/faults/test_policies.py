"""Policies of slow clients under the checker, and the budget of a process, with sockets that are not read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from fanwire_publisher import Outgoing, Publisher
from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.truth import check as compare
from tests.e2e.writer import Writer
from tests.faults.readers import Pace, Reader, resource
from tests.faults.rig import arrived, finish, rounds, say, writing
from tests.kit.edges import EdgeProcess, edge_on
from tests.kit.fleet import finish_all, running
from tests.kit.recorded_log import read_log
from tests.kit.recording import Recorder, RecordingPublisher, check
from tests.kit.recording_client import Timing
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

CLIENTS = rounds(6, 60)
BURSTS = rounds(12, 200)
BURST = 40
BURST_SECONDS = 0.04
PADDING = 500
MAX_BEHIND = 40
# A reader rests after every frame for as long as this pace allows; the burst is much faster.
BYTES_PER_SECOND = 8 * 1024
KEYS = 4
SMALL_BUFFERS = {
    "FANWIRE_DELIVERY__HIGH_WATER_BYTES": "4096",
    "FANWIRE_DELIVERY__SEND_BUFFER_BYTES": "4096",
    "FANWIRE_DELIVERY__MAX_BEHIND_ENTRIES": str(MAX_BEHIND),
}
# Holds about 200 of these events; the other one holds all.
SMALL_LOG = {"FANWIRE_LOG__MAX_BYTES": "524288"}


@dataclass(slots=True)
class Run:
    """Slow clients on one edge, and what was published."""

    edge: EdgeProcess
    publisher: RecordingPublisher
    clients: Sequence[Reader]
    pace: Pace
    published: list[str] = field(default_factory=list)
    figures: Mapping[str, float] = field(default_factory=dict)

    async def overrun(self, chance: random.Random, *, cuts: bool) -> None:
        """Publish in bursts while everyone reads slowly; in the middle some connections are *cut*."""
        self.pace.limit(BYTES_PER_SECOND)
        for number in range(BURSTS):
            await self._burst(chance)
            if cuts and number == BURSTS // 2:
                for client in self.clients[::3]:
                    client.cut()
            await asyncio.sleep(BURST_SECONDS)

    async def _burst(self, chance: random.Random) -> None:
        events = []
        for _ in range(BURST):
            event_id = str(len(self.published))
            self.published.append(event_id)
            key = chance.choice([None, *(f"k-{number}" for number in range(KEYS))])
            topic = chance.choice(("orders", "invoices"))
            events.append(
                Outgoing(
                    topic,
                    "changed",
                    {"padding": "x" * PADDING},
                    tenant="acme",
                    resource=(topic, str(chance.randrange(2))),
                    event_id=event_id,
                    key=key,
                )
            )
        await self.publisher.publish_many(events)


@asynccontextmanager
async def slow_clients(shared: SharedRedis, folder: Path, **settings: str) -> AsyncIterator[Run]:
    """Give slow clients on an edge; in the end they read fast and are done, and their history is checked."""
    paths = [folder / name for name in ("published", "seen", "log")]
    async with AsyncExitStack() as stack:
        recorders = [stack.enter_context(Recorder(path)) for path in paths]
        real = await stack.enter_async_context(Publisher.from_url(shared.url, prefix=shared.prefix))
        publisher = RecordingPublisher(real, recorders[0])
        # For the edge to know the topics before anybody has positions.
        for topic in ("orders", "invoices"):
            await publisher.publish(topic, "first", tenant="acme")
        edge = await stack.enter_async_context(edge_on(shared, **SMALL_BUFFERS, **settings))
        pace, timing = Pace(), Timing(ping_seconds=1, silence_seconds=60)
        names = ([ALL_OF_ACME], [resource("orders", "1"), "tenant:acme:resource:orders:*"])
        clients = [
            Reader(recorders[1], [edge.url], number, names[number % 2], pace, timing)
            for number in range(CLIENTS)
        ]
        run = Run(edge, publisher, clients, pace)
        async with running(clients):
            yield run
            pace.go()
            await finish_all(clients, shared.url, shared.prefix, deadline_seconds=120)
        run.figures = dict(await edge.metrics())
        await read_log(recorders[2], shared.url, shared.prefix)
    say(str(check(*paths, strict=True)))


def summary(run: Run) -> str:
    """Say what the clients got."""
    sessions = [client.session for client in run.clients]
    return (
        f"{len(run.published)} events, {CLIENTS} clients: {sum(each.events for each in sessions)} frames, "
        f"{sum(each.skipped for each in sessions)} told as skipped, "
        f"{sum(len(each.gaps) for each in sessions)} gaps, "
        f"{max(client.connections for client in run.clients)} connections at most, "
        f"{run.figures['fanwire_history_reads_total']:.0f} reads of history"
    )


@pytest.mark.parametrize("log", [{}, SMALL_LOG], ids=["large log", "small log"])
async def test_drop_oldest_gives_the_newest_and_tells_of_the_rest(
    log: dict[str, str], shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Clients that read slowly are told of what was left out, each event is given or told, and nobody is
    cut; some whose connection broke resume meanwhile."""
    async with slow_clients(shared_redis, tmp_path, FANWIRE_DELIVERY__POLICY="drop_oldest", **log) as run:
        await run.overrun(random.Random(3), cuts=True)
    say(summary(run))

    for number, client in enumerate(run.clients):
        # Who resumed may have been given all that it asked for.
        was_cut = number % 3 == 0
        assert {gap["reason"] for gap in client.session.gaps} <= {"overflow"}
        assert client.session.gaps or number % 2 or was_cut
        assert client.session.events < len(run.published) or was_cut
        assert client.connections == 1 + was_cut
    cut = [value for name, value in run.figures.items() if name.startswith("fanwire_connections_cut")]
    assert cut
    assert not any(cut)


async def test_conflate_leaves_out_only_what_later_events_stand_for(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Each event comes or is counted in a `pong`, without a gap and without a cut."""
    async with slow_clients(shared_redis, tmp_path, FANWIRE_DELIVERY__POLICY="conflate", **SMALL_LOG) as run:
        await run.overrun(random.Random(4), cuts=False)
    say(summary(run))

    everything = [client.session for client in run.clients[::2]]
    assert all(each.events + each.skipped == len(run.published) for each in everything)
    assert all(each.skipped for each in everything)
    assert not any(client.session.gaps or client.session.repeats for client in run.clients)
    assert {client.connections for client in run.clients} == {1}
    assert run.figures["fanwire_frames_skipped_total"] >= sum(each.skipped for each in everything)


async def test_conflate_and_resume_of_clients_whose_connections_break(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """What is resumed is conflated too, and the checker finds nothing."""
    rules = '["tenant:*:resource:* conflate"]'
    async with slow_clients(shared_redis, tmp_path, FANWIRE_DELIVERY__POLICIES=rules) as run:
        await run.overrun(random.Random(5), cuts=True)
    say(summary(run))

    assert all(client.connections == 2 for client in run.clients[::3])
    assert not any(client.session.gaps for client in run.clients)


# The budget

BUDGET = 300_000
TIGHT = {
    "FANWIRE_HEARTBEAT__INTERVAL": "1",
    "FANWIRE_HEARTBEAT__TIMEOUT": "60",
    "FANWIRE_DELIVERY__POLICY": "catch_up",
    "FANWIRE_DELIVERY__SEND_BUFFER_BYTES": "4096",
    "FANWIRE_DELIVERY__MAX_BUFFERED_BYTES": str(BUDGET),
}


async def test_budget_of_a_process_is_kept_by_cutting_the_furthest_behind(shared_redis: SharedRedis) -> None:
    """Meanwhile newcomers are asked to come back later; who reads notices nothing, and who is near stays."""
    async with (
        edge_on(shared_redis, **TIGHT) as edge,
        writing(shared_redis.url, shared_redis.prefix) as writer,
        AsyncExitStack() as stack,
    ):
        healthy = await stack.enter_async_context(listening(edge.url, ALL_OF_ACME))
        stalled = [
            await stack.enter_async_context(listening(edge.url, ALL_OF_ACME, receive_buffer_bytes=4096))
            for _ in range(8)
        ]
        far, near = stalled[:2], stalled[2:]
        await _stall(edge, writer, healthy, far, 2)
        assert await edge.metric("fanwire_buffered_bytes") < BUDGET
        await _stall(edge, writer, healthy, near, 2)
        refused = await eventually(lambda: _refusal(edge), 10, "a refusal")

        assert refused is not None
        assert refused.response.status_code == 503
        assert 1 <= int(refused.response.headers["Retry-After"]) <= 5
        assert b"overloaded" in refused.response.body
        # Freed once those who were cut are gone.
        await eventually(lambda: _is_open(edge), 10, "an open door")
        assert await edge.metric("fanwire_buffered_bytes") <= BUDGET
        cut = await edge.metric('fanwire_connections_cut_total{reason="budget"}')
        say(f"{cut:.0f} of {len(stalled)} cut; {await edge.metric('fanwire_buffered_bytes'):.0f} bytes wait")
        assert len(far) <= cut < len(stalled)
        [report] = await finish(writer, [healthy])
        assert (report.gaps, report.delivered) == ({}, len(writer.written))
        for listener in stalled:
            listener.resume()
        for listener in far:
            await eventually(lambda: listener.is_closed, 10)  # noqa: B023
            assert not compare(listener, writer.written, ended=True).missing
        await eventually(lambda: sum(each.is_closed for each in near) == cut - len(far), 10)


async def _stall(
    edge: EdgeProcess, writer: Writer, healthy: Listener, listeners: Sequence[Listener], behind: int
) -> None:
    """Let *listeners* read no more, and write until they are behind."""
    before = await edge.metric("fanwire_connections_behind")
    for listener in listeners:
        listener.pause()
    while await edge.metric("fanwire_connections_behind") < before + len(listeners):
        if await edge.metric('fanwire_connections_cut_total{reason="budget"}'):
            return
        await writer.write("orders", 20, padding=1000)
        await arrived(healthy, writer.written[-1])
    for _ in range(behind):
        await writer.write("orders", 20, padding=1000)


async def _refusal(edge: EdgeProcess) -> InvalidStatus | None:
    try:
        async with listening(edge.url):
            return None
    except InvalidStatus as refusal:
        return refusal


async def _is_open(edge: EdgeProcess) -> bool:
    return await _refusal(edge) is None
