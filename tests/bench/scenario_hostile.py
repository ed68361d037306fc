"""Bad tokens from many addresses, and sockets on which nothing is said: others come in as ever."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.edge import PREFIX, Edge, write_tokens
from tests.bench.load import Clients, Load
from tests.bench.machine import cpu_seconds, memory_of
from tests.bench.processes import Process, poll_until
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan
from tests.kit.redis_server import RedisServer

__all__ = ["hostile"]

BAD_TOKENS_PER_SECOND = 1000
IDLE_SOCKETS = 5000
# Enough for waves of idle sockets that come and go every five seconds to be seen.
HEALTHY = 3000
RISE_MS_AT_MOST = 20.0
# Somebody comes in, and then the next one: what is measured is not the crowd of those who are measured.
_IN_FLIGHT = 2
_START_SECONDS, _OPEN_SECONDS = 20.0, 60.0
_SETTLE_SECONDS = 1.0
# Behind the healthy clients where both want the core: what is measured is the edge.
_NICE = 10
SETTINGS = {
    "FANWIRE_EDGE__TRUSTED_PROXIES": '["127.0.0.0/8"]',
    # The healthy ones have a handful of addresses, and are counted all the same.
    "FANWIRE_LIMITS__ATTEMPTS_PER_MINUTE": "1000000",
    "FANWIRE_LIMITS__CONNECTIONS_PER_USER": "5",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What healthy clients saw in one run, and what the edge had to do meanwhile."""

    p50_ms: float
    p99_ms: float
    core_percent: float
    bad_per_second: float
    idle: int
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Scene:
    """An edge with limits, those who come in, and the attacker."""

    edge: Edge
    tokens: Path
    attacker: Process


def hostile(plan: Plan) -> Section:
    """Alternate runs in peace and under attack, with the same edge."""
    calm, attacked = [], []
    with _scene(plan) as scene:
        # The first ones pay for what is done once.
        _healthy(scene, plan, HEALTHY // 5)
        for _ in range(max(3, plan.rounds)):
            calm.append(_run(scene, plan, 0, 0))
            attacked.append(_run(scene, plan, BAD_TOKENS_PER_SECOND, IDLE_SOCKETS))
    rise = median(run.p99_ms for run in attacked) - median(run.p99_ms for run in calm)
    return Section(
        f"{BAD_TOKENS_PER_SECOND:,} bad tokens/s and {IDLE_SOCKETS:,} idle sockets",
        (
            f"{HEALTHY:,} clients come in, {_IN_FLIGHT} at a time, in peace and under attack in turn, "
            f"{len(calm)} runs each. The bad tokens come from an address of their own each, behind a trusted "
            "proxy; attempts of addresses and connections of users are limited, so each is counted in "
            "Redis. The idle sockets never say a word and are cut off after 5 s; the attacker opens another "
            "one for each.",
        ),
        (
            Figure("handshake p99, more under attack", "ms", (rise,), RISE_MS_AT_MOST),
            Figure("handshake p99 under attack", "ms", tuple(run.p99_ms for run in attacked)),
            Figure("handshake p99 in peace", "ms", tuple(run.p99_ms for run in calm)),
            Figure("handshake p50 under attack", "ms", tuple(run.p50_ms for run in attacked)),
            Figure("handshake p50 in peace", "ms", tuple(run.p50_ms for run in calm)),
            Figure("bad tokens answered per second", "/s", tuple(run.bad_per_second for run in attacked)),
            Figure("idle sockets held", "", tuple(float(run.idle) for run in attacked)),
            Figure("the edge's core under attack", "%", tuple(run.core_percent for run in attacked)),
            Figure("memory of the edge under attack", "MB", tuple(run.rss_mb for run in attacked)),
        ),
    )


@contextmanager
def _scene(plan: Plan) -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="fanwire-bench-") as folder, RedisServer() as redis:
        tokens = write_tokens(Path(folder) / "tokens", HEALTHY)
        redis.execute("SADD", f"{PREFIX}:topics", "bench")
        with (
            Edge(redis.url, plan.cores.server, settings=SETTINGS) as edge,
            Process([sys.executable, "-m", "tests.bench.attacker", str(edge.port)], plan.cores.load) as bad,
        ):
            os.setpriority(os.PRIO_PROCESS, bad.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
            bad.read(_START_SECONDS)
            yield Scene(edge, tokens, bad)


def _run(scene: Scene, plan: Plan, requests: int, idle: int) -> Run:
    scene.attacker.ask(f"attack {requests} {idle}")
    poll_until(
        lambda: scene.attacker.ask(f"attack {requests} {idle}")["idle"] >= idle * 0.8,
        "the idle sockets are open",
        _START_SECONDS,
        every_seconds=0.1,
    )
    time.sleep(_SETTLE_SECONDS)
    scene.attacker.ask(f"attack {requests} {idle}")
    began, spent = time.monotonic(), cpu_seconds(scene.edge.pid)
    opening = _healthy(scene, plan, HEALTHY)
    seconds, spent = time.monotonic() - began, cpu_seconds(scene.edge.pid) - spent
    found = scene.attacker.ask(f"attack {requests} {idle}")
    rss_mb = memory_of(scene.edge.pid).rss / 1024
    scene.attacker.ask("attack 0 0")
    scene.edge.await_connections(0, _START_SECONDS)
    return Run(
        opening["p50"] / 1e3,
        opening["p99"] / 1e3,
        spent / seconds * 100,
        found["answers"].get("401", 0) / seconds,
        found["idle"],
        rss_mb,
    )


def _healthy(scene: Scene, plan: Plan, count: int) -> dict[str, float]:
    """Let so many come in and leave; returns how long their handshakes took."""
    clients = Clients(count, None, scene.tokens, in_flight=_IN_FLIGHT, sample=0)
    with Load(scene.edge.port, clients, plan.cores.load) as load:
        handshake: dict[str, float] = load.opening["handshake"]
    return handshake
