"""A tenth of the clients never reads: it is cut, and the others do not notice."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.events import CHANNEL
from tests.bench.load import subscription
from tests.bench.machine import memory_of
from tests.bench.order import Order
from tests.bench.processes import NoAnswer, poll_until
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["slow_clients"]

CLIENTS = 100
STALLED = 10
EVENTS_PER_SECOND = 200
# 400 KB/s to each client: what the kernel and the edge hold for one that stalls is full after 2 s.
FRAME_BYTES = 2048
SHORT_SECONDS, FULL_SECONDS = 8, 60
P99_MS_AT_MOST = 5.0
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run left behind. *cut_seconds* is when the last stalled client was cut, None if never."""

    p99_ms: float
    left: int
    sockets_left: int
    cut_seconds: float | None
    rss_growth_kb: int
    orphans: int


def slow_clients(plan: Plan) -> Section:
    """Alternate runs with and without stalled clients, each on a fresh edge."""
    seconds = FULL_SECONDS if plan.full else SHORT_SECONDS
    with_stalled, without = [], []
    for _ in range(plan.rounds):
        without.append(_run(plan, seconds, stalled=0))
        with_stalled.append(_run(plan, seconds, stalled=STALLED))
    harm = median(run.p99_ms for run in with_stalled) - median(run.p99_ms for run in without)
    growth = [run.rss_growth_kb - bare.rss_growth_kb for run, bare in zip(with_stalled, without, strict=True)]
    cuts = [run.cut_seconds for run in with_stalled if run.cut_seconds is not None]
    shorter = "" if plan.full else f" (`--full`: {FULL_SECONDS} s)"
    figures = [
        Figure("p99 of those that read, more than without stalled ones", "ms", (harm,), P99_MS_AT_MOST),
        Figure("p99 with stalled ones", "ms", tuple(run.p99_ms for run in with_stalled)),
        Figure("p99 without", "ms", tuple(run.p99_ms for run in without)),
        Figure("stalled clients still connected", "", tuple(float(run.left) for run in with_stalled), 0),
        Figure("their sockets still open", "", tuple(float(run.sockets_left) for run in with_stalled), 0),
        Figure("memory kept, per stalled client", "KB", tuple(kb / STALLED for kb in growth)),
        Figure("sockets that the kernel still drains", "", tuple(float(run.orphans) for run in with_stalled)),
    ]
    if cuts:
        figures.append(Figure("the last one was cut after", "s", tuple(cuts)))
    return Section(
        f"Slow clients: {STALLED} of {CLIENTS} never read, {EVENTS_PER_SECOND} events/s",
        (
            f"{seconds} s a run{shorter}, {FRAME_BYTES}-byte frames, {plan.rounds} alternating runs with and "
            "without; memory kept: how much more the edge's RSS grew than in the run without.",
        ),
        tuple(figures),
    )


def _run(plan: Plan, seconds: int, stalled: int) -> Run:
    order = Order(events=EVENTS_PER_SECOND * seconds, rate=EVENTS_PER_SECOND, frame_bytes=FRAME_BYTES)
    readers = CLIENTS - stalled
    with Rig(plan.cores) as rig:
        rss_before, sockets_before = memory_of(rig.edge.pid).rss, rig.edge.open_sockets()
        orphans_before = _orphans()
        with rig.load(CLIENTS, subscription([CHANNEL]), sample=CLIENTS, stalled=stalled) as load:
            load.go()
            rig.begin(order)
            cut_seconds = _await_cut(rig, sockets_before + readers, seconds) if stalled else None
            rig.finish(order)
            report = load.await_events(order.events * readers, _PATIENCE_SECONDS)
            return Run(
                p99_ms=report["latency"]["p99"] / 1e3,
                left=round(rig.edge.metric("fanwire_connections_active")) - readers,
                sockets_left=max(0, rig.edge.open_sockets() - sockets_before - readers),
                cut_seconds=cut_seconds,
                rss_growth_kb=memory_of(rig.edge.pid).rss - rss_before,
                orphans=_orphans() - orphans_before,
            )


def _await_cut(rig: Rig, sockets: int, deadline_seconds: float) -> float | None:
    began = time.monotonic()
    try:
        poll_until(lambda: rig.edge.open_sockets() <= sockets, "the cut", deadline_seconds, every_seconds=0.1)
    except NoAnswer:
        return None
    return time.monotonic() - began


def _orphans() -> int:
    """Return how many closed sockets the kernel keeps because their peers do not read."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index("orphan") + 1])
    return 0
