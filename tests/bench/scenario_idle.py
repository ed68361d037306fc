"""Connections that only wait: what one costs in memory."""

from __future__ import annotations

import time

from tests.bench.edge import Edge
from tests.bench.events import OWN_CHANNELS
from tests.bench.load import subscription
from tests.bench.machine import Memory, memory_of
from tests.bench.processes import poll_until
from tests.bench.publisher import Order
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["idle"]

KB_AT_MOST = 6.0
# Work that comes and goes (a poll of the topics, a request to the ops port) has a task of its own.
TASKS_AT_MOST = 5.0
_IN_FLIGHT = 64
_STEADY_SECONDS = 1.0
_STEADY_KB = 64
_SETTLE_SECONDS = 15.0
_PATIENCE_SECONDS = 30.0


def idle(plan: Plan) -> Section:
    """Compare the edge with all connections and without; prove afterwards that they are alive."""
    count = plan.idle_connections
    with Rig(plan.cores) as rig:
        before, tasks_before = _settled(rig.edge), rig.edge.metric("fanwire_tasks")
        with rig.load(
            count, subscription(OWN_CHANNELS), in_flight=_IN_FLIGHT, sample=count, deadline_seconds=120
        ) as load:
            rig.edge.await_connections(count, _PATIENCE_SECONDS)
            after, tasks_after = _settled(rig.edge), rig.edge.metric("fanwire_tasks")
            load.go()
            rig.publish(Order(events=1, rate=1, resources=0))
            broadcast = load.await_events(count, _PATIENCE_SECONDS)
            opened_seconds = load.opening["ready_seconds"]
    rss = (after.rss - before.rss) / count
    pss = (after.pss - before.pss) / count
    return Section(
        f"Idle: {count:,} connections, authenticated and subscribed to two channels of their own",
        (
            f"Memory of a fresh edge ({before.rss / 1024:.0f} MB) against the same with all connections "
            f"({after.rss / 1024:.0f} MB), each once it changed by less than {_STEADY_KB} KB in "
            f"{_STEADY_SECONDS:g} s; the kernel's part is not counted. One broadcast then reached all.",
        ),
        (
            Figure("memory per connection (RSS)", "KB", (rss,), KB_AT_MOST),
            Figure("memory per connection (PSS)", "KB", (pss,)),
            Figure("tasks more than without connections", "", (tasks_after - tasks_before,), TASKS_AT_MOST),
            Figure("opened and subscribed per second", "/s", (count / opened_seconds,)),
            Figure(
                "broadcast to all of them: the last one after", "ms", (broadcast["latency"]["max"] / 1e3,)
            ),
        ),
    )


def _settled(edge: Edge) -> Memory:
    """Return the edge's memory once it has stopped changing; raises NoAnswer."""
    marks = [(time.monotonic(), memory_of(edge.pid))]

    def is_steady() -> bool:
        now, latest = time.monotonic(), memory_of(edge.pid)
        if abs(latest.rss - marks[0][1].rss) > _STEADY_KB:
            marks[0] = (now, latest)
        return now - marks[0][0] >= _STEADY_SECONDS

    poll_until(is_steady, "the edge's memory is steady", _SETTLE_SECONDS, every_seconds=0.1)
    return memory_of(edge.pid)
