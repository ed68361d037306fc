"""Edges are killed, sent home and stopped under load; the history checker judges what every client saw."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.outages import operations, outage_seconds, peak_per_second, reconnects, share
from tests.faults.rig import key_of, rounds
from tests.faults.scene import CLIENTS, EAGER, EVENTS_PER_SECOND, Scene, edges, scene
from tests.kit.edges import EdgeProcess
from tests.kit.proxy import HOST, FaultProxy
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# A third of a run each: before, in the middle, after.
PART_SECONDS = rounds(1, 7)
STOPPED_SECONDS = rounds(3, 20)
TRIMMED = ("invoices", "orders")
GOODBYES_PER_SECOND = rounds(18, 50)
# From how much clients that are sent home draw their delay: 5 s is what they are told, and takes as long.
DELAY_SECONDS = rounds(1, 5)


@dataclass(frozen=True, slots=True)
class Two:
    """An edge that a test harms, and another one; the library's clients are led through `door`."""

    harmed: EdgeProcess
    other: EdgeProcess
    door: FaultProxy
    run: Scene

    def join(self, harmed: int, timing: Timing = EAGER) -> list[RecordingClient]:
        """Add *harmed* clients, who go on with the other edge."""
        return self.run.join([self.harmed.url, self.other.url], harmed, timing)

    def lead_away(self) -> None:
        """Lead the library's clients to the other edge from now on."""
        self.door.target = (HOST, self.other.port)


@asynccontextmanager
async def two(name: str, redis: RedisServer, directory: Path, **settings: str) -> AsyncIterator[Two]:
    async with (
        edges(2, redis.url, **settings) as (harmed, other),
        FaultProxy((HOST, harmed.port)) as door,
        scene(name, directory, redis.url) as run,
    ):
        run.join([other.url], CLIENTS // 4)
        for _ in range(3):
            run.join_library(door.url("ws", "/ws"))
        yield Two(harmed, other, door, run)


async def test_clients_of_a_killed_edge_go_on_with_another(redis_server: RedisServer, tmp_path: Path) -> None:
    """An edge is killed under load: its clients resume on the other one and miss nothing, without a gap."""
    async with two("edge-killed", redis_server, tmp_path) as at:
        run, harmed = at.run, at.join(CLIENTS * 3 // 4)
        async with run.under_load():
            await run.more(PART_SECONDS)
            at.lead_away()
            killed = time.monotonic_ns()
            at.harmed.kill()
            await run.all_ready(harmed, connections=2)
            await run.more(2 * PART_SECONDS)
        run.seen.flush()
        away = outage_seconds(operations(run.paths[1]), killed)
        figures = {"p50": share(away, 0.5), "p99": share(away, 0.99), "max": round(away[-1], 4)}
        await run.verdict(clients=CLIENTS, events_per_second=EVENTS_PER_SECOND, outage_seconds=figures)

        assert run.gaps == []
        assert len(away) == len(harmed)


async def test_drain_under_load_loses_nothing_and_keeps_its_pace(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """SIGTERM under load: everybody comes to the other edge without a gap or a loss, and never more in a
    second than the pace of the goodbyes."""
    settings = {
        "FANWIRE_EDGE__DRAIN_GRACE_SECONDS": "0.2",
        "FANWIRE_EDGE__DRAIN_PER_SECOND": str(GOODBYES_PER_SECOND),
    }
    async with two("edge-drained", redis_server, tmp_path, **settings) as at:
        # Who comes back at once shows the pace of the edge alone.
        run, timing = at.run, Timing(0.5, 60, DELAY_SECONDS, DELAY_SECONDS)
        harmed = at.join(CLIENTS * 3 // 4, timing)
        async with run.under_load():
            await run.more(PART_SECONDS)
            at.lead_away()
            told = time.monotonic_ns()
            at.harmed.process.signal(signal.SIGTERM)
            await run.all_ready(harmed, connections=2)
            assert await at.harmed.process.wait_for_exit() == 0
            await run.more(PART_SECONDS)
        run.seen.flush()
        history = operations(run.paths[1])
        peak = peak_per_second(reconnects(history, told))
        figures = {"peak": peak, "pace": GOODBYES_PER_SECOND, "last": outage_seconds(history, told)[-1]}
        await run.verdict(clients=CLIENTS, events_per_second=EVENTS_PER_SECOND, reconnects=figures)

        assert run.gaps == []
        assert {tuple(client.session.close_codes[:1]) for client in harmed} == {(1012,)}
        # With little delay, what a busy machine held up for a moment comes with what is due then.
        assert peak <= GOODBYES_PER_SECOND * rounds(15, 10) / 10


async def test_trimmed_while_an_edge_stood_still(redis_server: RedisServer, tmp_path: Path) -> None:
    """Two topics are trimmed while an edge is stopped: its clients are told of these before anything later
    and of no other, those who left for another edge of none; everybody resumes after that."""
    async with two("edge-stopped", redis_server, tmp_path) as at:
        run, patient = at.run, at.join(CLIENTS // 2)
        impatient = at.join(CLIENTS // 4, Timing(0.2, STOPPED_SECONDS / 4))
        async with run.under_load():
            await run.more(PART_SECONDS / 2)
            at.harmed.pause()
            paused = time.monotonic()
            await run.more(STOPPED_SECONDS / 3)
            for topic in TRIMMED:
                redis_server.execute("XTRIM", key_of(topic), "MAXLEN", 3)
            await run.all_ready(impatient, connections=2)
            await eventually(lambda: time.monotonic() > paused + STOPPED_SECONDS, 2 * STOPPED_SECONDS)
            at.harmed.resume()
            resumed = time.monotonic()
            await eventually(lambda: len(run.gaps) == 2 * len((*patient, *run.libraries)), 20)
            told_ms = round(1000 * (time.monotonic() - resumed))
            at.lead_away()
            at.door.reset()
            for client in patient[::2]:
                client.cut()
            await run.all_ready(patient[::2], connections=2)
            await run.more(PART_SECONDS)
        await run.verdict(clients=CLIENTS, stopped_seconds=STOPPED_SECONDS, told_ms=told_ms)
        _assert_told(at, patient)


def _assert_told(at: Two, patient: list[RecordingClient]) -> None:
    """Those who stayed were told of what was trimmed, once, and nobody else of anything."""
    for client in at.run.clients:
        told = [(gap["topic"], gap["reason"]) for gap in client.session.gaps]
        assert sorted(told) == [(topic, "trimmed") for topic in TRIMMED if client in patient]
    for library in at.run.libraries:
        assert sorted(gap.topic for gap in library.gaps) == sorted(TRIMMED)
