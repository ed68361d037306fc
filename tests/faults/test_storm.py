"""Everyone loses the edge at once and comes back: nothing is lost, and the broker hardly notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from fanwire_publisher import Publisher
from tests.bench.machine import raise_file_limit
from tests.faults.readers import ALL_OF_ACME, identity, resource
from tests.faults.rig import rounds, say
from tests.faults.storm import Storm
from tests.kit.edges import EdgeProcess
from tests.kit.fleet import finish_all, running
from tests.kit.recorded_log import read_log
from tests.kit.recording import Recorder, RecordingPublisher, check
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import make_token

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

CLIENTS = rounds(300, 10_000)
GROUPS = rounds(20, 100)
WINDOW_MS = rounds(2000, 8000)
SAMPLE = rounds(5, 20)
EVENTS_PER_SECOND = 200
# The short form runs beside other tests.
LEVEL_MS_AT_MOST = rounds(20_000, 2000)
READS_AT_MOST = 100
# Against hanging: who is refused while the edge is busy comes again after what `Retry-After` says.
BACK_SECONDS = rounds(30, 180)


class Publishing:
    """Publishes one event after the other on the channels of the groups, until it is told to stop."""

    def __init__(self, publisher: RecordingPublisher) -> None:
        self._publisher = publisher
        self._is_stopping = False
        self.rounds = 0

    async def run(self) -> None:
        """Publish whole rounds, so that every channel has as many events."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._is_stopping:
            for group in range(GROUPS):
                due += 1 / EVENTS_PER_SECOND
                await asyncio.sleep(due - loop.time())
                payload = {"n": self.rounds + 1, "t": time.monotonic_ns()}
                await self._publisher.publish(
                    "storm", "u", payload, tenant="acme", resource=("storm", str(group))
                )
            self.rounds += 1

    def stop(self) -> None:
        """End with the round that is under way."""
        self._is_stopping = True


def sample_of(recorder: Recorder, ports: list[int]) -> list[RecordingClient]:
    """Return clients whose histories are checked; they lose the first edge with the others."""
    timing = Timing(ping_seconds=2, shortest_seconds=WINDOW_MS / 1000, longest_seconds=WINDOW_MS / 1000)
    # After the first cut all but none of the attempts go to the edge that is there.
    urls = [f"ws://127.0.0.1:{port}/ws" for port in (ports[0], *ports[1:] * 20)]
    return [
        RecordingClient(recorder, urls, identity(number), [resource("storm", str(number % GROUPS))], timing)
        for number in range(SAMPLE)
    ]


def tokens_file(path: Path) -> Path:
    """Write tokens of some users, who share the clients."""
    tokens = (
        make_token(sub=f"storm-{number}", tenant="acme", channels=[ALL_OF_ACME]) for number in range(200)
    )
    path.write_text("\n".join(tokens))
    return path


def peak_bytes(edge: EdgeProcess) -> int:
    """Return the most memory that the edge ever held."""
    status = Path(f"/proc/{edge.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("where", ["a second edge", "the same port"])
async def test_everyone_comes_back_and_misses_nothing(
    where: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The edge of all clients is killed. They come back within seconds, to another edge or to the same one
    started again, and each sees every event of its channel exactly once."""
    raise_file_limit(20_000)
    paths = [tmp_path / name for name in ("published", "seen", "log")]
    async with AsyncExitStack() as stack:
        recorders = [stack.enter_context(Recorder(path)) for path in paths]
        real = await stack.enter_async_context(Publisher.from_url(redis_server.url))
        publisher = RecordingPublisher(real, recorders[0])
        await publisher.publish("storm", "first", tenant="acme", resource=("storm", "none"))
        first = await stack.enter_async_context(EdgeProcess(redis_server.url))
        start: Callable[..., EdgeProcess] = lambda **settings: EdgeProcess(redis_server.url, **settings)  # noqa: E731
        if where == "a second edge":
            second = await stack.enter_async_context(start())
        else:
            second = start(FANWIRE_EDGE__PORT=str(first.port))
            second.port = first.port
            stack.callback(second.close)
        storm = Storm(first.port, CLIENTS, GROUPS, WINDOW_MS, tokens_file(tmp_path / "tokens"))
        await stack.enter_async_context(storm)
        clients = sample_of(recorders[1], [first.port, second.port])
        publishing = Publishing(publisher)
        async with running(clients), asyncio.TaskGroup() as tasks:
            tasks.create_task(publishing.run())
            await storm.all_at_least(2, BACK_SECONDS)
            await storm.come_back_to(second.port)
            before = second.resident_bytes if where == "a second edge" else 0
            first.kill()
            if where == "the same port":
                second.start()
                await second.wait_ready()
                before = second.resident_bytes
            report = await storm.all_back(BACK_SECONDS)
            publishing.stop()
            report = await storm.all_at(publishing.rounds + 1, BACK_SECONDS)
            figures = await second.metrics()
            await finish_all(clients, redis_server.url, deadline_seconds=BACK_SECONDS)
        peak = peak_bytes(second)
        await read_log(recorders[2], redis_server.url)

    say(_described(report, figures, before, peak))
    say(str(check(*paths, strict=True)))
    _assert_complete(report)
    assert report["to_level"]["p99"] / 1e3 < LEVEL_MS_AT_MOST
    assert figures["fanwire_history_reads_total"] < READS_AT_MOST


def _assert_complete(report: dict[str, Any]) -> None:
    assert (report["level"], report["back"], report["not_back"]) == (CLIENTS, CLIENTS, 0)
    assert (report["holes"], report["twice"], report["late"]) == (0, 0, 0)
    assert report["others"] == {}
    # Once for what the server joins, once for what was asked for.
    assert report["recovered"] == {"true": 2 * CLIENTS}


def _described(report: dict[str, Any], figures: Any, before: int, peak: int) -> str:
    level, outage, greeting = (report[name] for name in ("to_level", "outage", "greeting"))
    return (
        f"{report['back']} back in {report['seconds']} s after the cut; {report['events']} events, "
        f"{report['replayed']} of them replayed; subscribe to level p50 {level['p50'] / 1e3:.0f} ms, "
        f"p99 {level['p99'] / 1e3:.0f} ms, max {level['max'] / 1e3:.0f} ms; connect to connected p50 "
        f"{greeting['p50'] / 1e3:.0f} ms, p99 {greeting['p99'] / 1e3:.0f} ms; outage p50 "
        f"{outage['p50'] / 1e6:.1f} s, max {outage['max'] / 1e6:.1f} s; refused {report['refused']}, cuts "
        f"{report['cuts']}; {figures['fanwire_history_reads_total']:.0f} reads of history; memory "
        f"{before >> 20} MB before, {peak >> 20} MB at most"
    )
