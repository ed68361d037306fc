"""An edge dies under all of its clients: they come back to another one and miss nothing."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.edge import PREFIX, Edge, write_tokens
from tests.bench.machine import cpu_seconds, memory_of
from tests.bench.order import Order
from tests.bench.processes import Process, poll_until
from tests.bench.programs import compile_program
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan
from tests.kit.redis_server import RedisServer

__all__ = ["resume_storm"]

TENANT = "acme"
USERS = 200
GROUPS = 100
WINDOW_MS = 8000
EVENTS_PER_SECOND = 200
LEVEL_MS_AT_MOST = 2000.0
_CLIENTS, _SHORT_CLIENTS = 10_000, 2000
_START_SECONDS, _BACK_SECONDS, _OPEN_SECONDS = 20.0, 60.0, 120.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Two edges of one Redis, what publishes, and the clients of the first."""

    first: Edge
    second: Edge
    publisher: Process
    storm: Process
    clients: int


def resume_storm(plan: Plan) -> Section:
    """Kill the edge of all clients while events go on, and look at how they come back."""
    clients = _CLIENTS if plan.full else _SHORT_CLIENTS
    with _scene(plan, clients) as scene:
        before = memory_of(scene.second.pid).rss
        began = cpu_seconds(scene.second.pid)
        report = _cut(scene)
        spent = cpu_seconds(scene.second.pid) - began
        reads = scene.second.metric("fanwire_history_reads_total")
        grown = memory_of(scene.second.pid).rss - before
    complete = clients - report["back"] + report["holes"] + report["twice"] + report["late"]
    return Section(
        f"Resume storm: {clients:,} clients on {GROUPS} channels lose their edge",
        (
            f"The edge is killed; each client comes back to another edge at a random time within "
            f"{WINDOW_MS / 1000:g} s and resumes, while {EVENTS_PER_SECOND} events/s go on. Admission as by "
            "default. Every client counts its events.",
        ),
        (
            Figure("clients not back, and events missing, twice or late", "", (float(complete),), 0),
            Figure("subscribe to level, p99", "ms", (report["to_level"]["p99"] / 1e3,), LEVEL_MS_AT_MOST),
            Figure("subscribe to level, p50", "ms", (report["to_level"]["p50"] / 1e3,)),
            Figure("connect to connected, p99", "ms", (report["greeting"]["p99"] / 1e3,)),
            Figure("outage as clients saw it, p99", "s", (report["outage"]["p99"] / 1e6,)),
            Figure("all back after the cut", "s", (float(report["seconds"]),)),
            Figure("refused with 503 on the way", "", (float(sum(report["refused"].values())),)),
            Figure("events replayed", "", (float(report["replayed"]),)),
            Figure("reads of history from Redis", "", (reads,)),
            Figure("CPU per client that came back", "µs", (spent / clients * 1e6,)),
            Figure("memory of the second edge grew by", "MB", (grown / 1024,)),
        ),
    )


@contextmanager
def _scene(plan: Plan, clients: int) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="fanwire-bench-") as folder, RedisServer() as redis:
        tokens = write_tokens(Path(folder) / "tokens", USERS, TENANT)
        command = [sys.executable, "-m", "tests.bench.publisher", "storm", f"{redis.url} {PREFIX}"]
        with (
            Process(command, plan.cores.load) as publisher,
            Edge(redis.url, plan.cores.server, is_open=False) as first,
            Edge(redis.url, plan.cores.server, is_open=False) as second,
        ):
            publisher.read(_START_SECONDS)
            arguments = [str(each) for each in (first.port, clients, GROUPS, WINDOW_MS, tokens)]
            with Process([compile_program("storm"), *arguments], plan.cores.load) as storm:
                storm.read(_OPEN_SECONDS)
                yield Scene(first, second, publisher, storm, clients)


def _cut(scene: Scene) -> dict[str, Any]:
    """Kill the first edge in mid-stream; return the report once all are back and have every event."""
    seconds = (WINDOW_MS // 1000) * 2
    order = Order(EVENTS_PER_SECOND * seconds, EVENTS_PER_SECOND, resources=GROUPS)
    scene.publisher.tell(str(order))
    latest: dict[str, Any] = {}

    def have(number: int) -> bool:
        latest.update(scene.storm.ask("report"))
        return bool(latest["least"] >= number)

    poll_until(lambda: have(2), "two events everywhere", _START_SECONDS, every_seconds=0.1)
    scene.storm.ask(f"storm {scene.second.port}")
    scene.first.kill()
    poll_until(
        lambda: have(0) and latest["back"] == scene.clients,
        "all clients back",
        _BACK_SECONDS,
        every_seconds=0.1,
    )
    scene.publisher.read(_START_SECONDS + order.seconds)
    poll_until(
        lambda: have(order.events // GROUPS), "all events everywhere", _START_SECONDS, every_seconds=0.1
    )
    return latest
