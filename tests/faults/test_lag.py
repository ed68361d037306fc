"""Clients that read at 1 KB/s behind 500 events/s: by the policy they are caught up from Redis, or cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fanwire_publisher import Outgoing, Publisher
from tests.faults.readers import ALL_OF_ACME, Pace, Reader
from tests.faults.rig import rounds, say
from tests.kit.edges import EdgeProcess, edge_on
from tests.kit.fleet import finish_all, running
from tests.kit.recorded_log import read_log
from tests.kit.recording import Recorder, RecordingPublisher, check
from tests.kit.recording_client import Timing
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

MEBIBYTE = 1024 * 1024
CLIENTS = rounds(12, 100)
EVENTS_PER_SECOND = 500
SECONDS = rounds(2, 12)
SLOW_SECONDS = rounds(2, 60)
PADDING = 500
BYTES_PER_SECOND = 1024
WARM_UP_EVENTS = rounds(400, 1000)
# The log in memory would hold all that such a run publishes.
SMALL_LOG = {"FANWIRE_LOG__MAX_BYTES": str(MEBIBYTE // 2), "FANWIRE_HISTORY__MAX_BYTES": str(4 * MEBIBYTE)}
SLOW_CONSUMER, CUT_BY_RESET, OWN_END = 4008, 1006, 1000


@dataclass(slots=True)
class Memory:
    """What the edge held when the slow reading began, and the most since then, in bytes."""

    edge: EdgeProcess
    before: int = 0
    most: int = 0

    async def watch(self) -> None:
        """Look again and again, for ever."""
        while True:
            self.most = max(self.most, self.edge.resident_bytes)
            await asyncio.sleep(0.05)


@dataclass(slots=True)
class Run:
    """A run on one edge: who reads, and where its history is."""

    edge: EdgeProcess
    shared: SharedRedis
    publisher: RecordingPublisher
    clients: Sequence[Reader]
    pace: Pace
    memory: Memory
    published: int = 0

    async def overrun(self) -> None:
        """Publish at the full rate for some seconds while everyone reads slowly."""
        # What the edge holds when its log is full is not the clients' doing.
        await self.publish(WARM_UP_EVENTS)
        await eventually(self.is_level, 60, "level clients")
        self.memory.before = self.memory.most = self.edge.resident_bytes
        self.pace.limit(BYTES_PER_SECOND)
        await self.publish(EVENTS_PER_SECOND * SECONDS, EVENTS_PER_SECOND)

    async def is_level(self) -> bool:
        """Tell whether nobody is behind."""
        return await self.edge.metric("fanwire_connections_behind") == 0 and all(
            client.session.events == self.published for client in self.clients
        )

    async def publish(self, count: int, per_second: int | None = None) -> None:
        """Publish *count* events of the same size, by 25."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for start in range(0, count, 25):
            events = [
                Outgoing(
                    "orders",
                    "changed",
                    {"padding": "x" * PADDING},
                    tenant="acme",
                    resource=("orders", str(number % 3)),
                    event_id=f"{self.published + number}",
                )
                for number in range(start, min(start + 25, count))
            ]
            await self.publisher.publish_many(events)
            due += len(events) / per_second if per_second else 0.0
            await asyncio.sleep(due - loop.time())
        self.published += count


def _clients(recorder: Recorder, edge: EdgeProcess, pace: Pace) -> list[Reader]:
    # At 1 KB/s a pong is behind what the kernel holds for a minute and more.
    timing = Timing(ping_seconds=3, silence_seconds=120)
    return [Reader(recorder, [edge.url], number, [ALL_OF_ACME], pace, timing) for number in range(CLIENTS)]


async def _overrun(shared: SharedRedis, folder: Path, policy: str) -> tuple[Run, dict[str, float]]:
    """Overrun slow clients, let them read slowly for a while and then fast until they have everything;
    check their history, and return the run and the edge's figures."""
    paths = [folder / name for name in ("published", "seen", "log")]
    settings = {"FANWIRE_DELIVERY__POLICY": policy, "FANWIRE_HEARTBEAT__INTERVAL": "5", **SMALL_LOG}
    async with edge_on(shared, **settings) as edge, AsyncExitStack() as stack:
        recorders = [stack.enter_context(Recorder(path)) for path in paths]
        real = await stack.enter_async_context(Publisher.from_url(shared.url, prefix=shared.prefix))
        pace = Pace()
        clients = _clients(recorders[1], edge, pace)
        publisher = RecordingPublisher(real, recorders[0])
        await publisher.publish("orders", "first", tenant="acme")
        run = Run(edge, shared, publisher, clients, pace, Memory(edge))
        async with running(clients), asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(run.memory.watch())
            await run.overrun()
            await _read_slowly(run, SLOW_SECONDS, is_caught_up=policy == "catch_up")
            pace.go()
            fast_since = time.monotonic()
            await finish_all(clients, shared.url, shared.prefix, deadline_seconds=300)
            say(f"level {time.monotonic() - fast_since:.1f} s after the slow reading ended")
            watching.cancel()
        figures = dict(await edge.metrics())
        await read_log(recorders[2], shared.url, shared.prefix)
    say(str(check(*paths, strict=True)))
    return run, figures


async def _read_slowly(run: Run, seconds: int, *, is_caught_up: bool) -> None:
    """Go on at the slow pace; ends after *seconds*, in which the log moves on by another few events."""
    before = sum(client.session.events for client in run.clients)
    if is_caught_up:
        assert await run.edge.metric("fanwire_connections_behind") == CLIENTS
    for _ in range(seconds):
        await run.publish(10, 10)
    read = sum(client.session.events for client in run.clients) - before
    lag = run.published * CLIENTS - before - read
    say(f"in {seconds} s of slow reading {read} events came; then {lag / CLIENTS:.0f} for each were missing")


async def test_slow_readers_are_fed_from_the_log_and_cost_no_memory(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """With `catch_up` clients at 1 KB/s fall far behind what the memory holds, are not cut for it, and are
    given everything without a gap, while the edge's memory does not grow with their lag."""
    run, figures = await _overrun(shared_redis, tmp_path, "catch_up")
    memory = run.memory
    lag = EVENTS_PER_SECOND * SECONDS * PADDING * CLIENTS
    say(
        f"{CLIENTS} clients, {run.published} events; {figures['fanwire_history_reads_total']:.0f} reads of "
        f"history; memory {memory.before >> 20} MB before, {memory.most >> 20} MB at most; "
        f"they were behind by up to {lag >> 20} MB together"
    )

    assert all(client.session.events == run.published for client in run.clients)
    assert not any(client.session.gaps or client.session.repeats for client in run.clients)
    assert all(client.connections == 1 for client in run.clients)
    assert figures.get('fanwire_connections_closed_total{reason="slow_consumer"}', 0) == 0
    assert figures["fanwire_history_reads_total"] > 0
    # 64 KB in the transport and one portion for each, 4 MB of pages, 8 MB of portions, and some slack.
    assert memory.most - memory.before < CLIENTS * 256 * 1024 + 24 * MEBIBYTE


async def test_slow_readers_that_are_disconnected_come_back_and_lose_nothing(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """With `disconnect` the same clients are cut as slow consumers, resume, and get everything in the end."""
    run, figures = await _overrun(shared_redis, tmp_path, "disconnect")
    codes = [code for client in run.clients for code in client.session.close_codes]
    slow = figures['fanwire_connections_closed_total{reason="slow_consumer"}']
    by_code = {int(code): codes.count(code) for code in sorted(set(codes))}
    say(
        f"{CLIENTS} clients were cut {slow:.0f} times, and saw {by_code}; "
        f"{max(client.connections for client in run.clients)} connections at most; "
        f"{figures['fanwire_history_reads_total']:.0f} reads of history"
    )

    assert slow >= CLIENTS
    # Who reads at 1 KB/s does not get as far as the close frame within its time.
    assert set(by_code) <= {SLOW_CONSUMER, CUT_BY_RESET, OWN_END}
    assert all(client.connections > 1 for client in run.clients)
    assert all(client.session.events == run.published for client in run.clients)
    assert not any(client.session.gaps for client in run.clients)
