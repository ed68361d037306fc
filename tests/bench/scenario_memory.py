"""Crowds that come and go: what a connection costs in memory, and what stays behind when all have left."""

from __future__ import annotations

from tests.bench.events import OWN_CHANNELS
from tests.bench.load import subscription
from tests.bench.machine import Memory
from tests.bench.order import Order
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig
from tests.bench.steady import steady_memory

__all__ = ["memory"]

# Three of its own for each connection: %d is its number.
CHANNELS = (*OWN_CHANNELS, OWN_CHANNELS[0].replace("%d", "x%d"))
CYCLES = 3
KB_AT_MOST = 5.0
THIRD_PEAK_AT_MOST = 1.05
_IN_FLIGHT = 64
_PATIENCE_SECONDS = 60.0


def memory(plan: Plan) -> Section:
    """Open and close all connections three times; measure the edge at each height and at each depth."""
    count = plan.idle_connections
    heights: list[Memory] = []
    depths: list[Memory] = []
    with Rig(plan.cores) as rig:
        before = steady_memory(rig.edge.pid)
        for _ in range(CYCLES):
            with rig.load(
                count, subscription(CHANNELS), in_flight=_IN_FLIGHT, sample=count, deadline_seconds=120
            ) as load:
                rig.edge.await_connections(count, _PATIENCE_SECONDS)
                heights.append(steady_memory(rig.edge.pid))
                load.go()
                rig.publish(Order(events=1, rate=1, resources=0))
                load.await_events(count, _PATIENCE_SECONDS)
            rig.edge.await_connections(0, _PATIENCE_SECONDS)
            depths.append(steady_memory(rig.edge.pid))
    return Section(
        f"Memory: {CYCLES} cycles of {count:,} connections, {len(CHANNELS)} subscriptions each",
        (
            f"A fresh edge has {before.rss / 1024:.0f} MB. With all connections: {_megabytes(heights)} MB; "
            f"after each cycle, with none: {_megabytes(depths)} MB. All connections of each cycle get a "
            "broadcast, which shows that they are alive. The kernel's part is not counted.",
        ),
        (
            Figure("memory per connection (RSS)", "KB", (_per(count, before, heights[0]),), KB_AT_MOST),
            Figure(
                "third height over the first", "", (heights[-1].rss / heights[0].rss,), THIRD_PEAK_AT_MOST
            ),
            Figure(
                "stays for each connection after the last cycle", "KB", (_per(count, before, depths[-1]),)
            ),
        ),
    )


def _per(count: int, before: Memory, after: Memory) -> float:
    return (after.rss - before.rss) / count


def _megabytes(marks: list[Memory]) -> str:
    return ", ".join(f"{mark.rss / 1024:.0f}" for mark in marks)
