"""Heartbeats: what it costs to ask all connections for a sign of life once an interval."""

from __future__ import annotations

import time

from tests.bench.events import OWN_CHANNELS
from tests.bench.load import subscription
from tests.bench.machine import cpu_seconds
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["heartbeat"]

# The edge's own, `heartbeat.interval`.
INTERVAL_SECONDS = 30
_IN_FLIGHT = 64
_PATIENCE_SECONDS = 60.0


def heartbeat(plan: Plan) -> Section:
    """Take the edge's CPU time for one interval without connections, and for one with all of them."""
    count = plan.idle_connections
    with Rig(plan.cores) as rig:
        alone = _busy(rig.edge.pid)
        with rig.load(
            count, subscription(OWN_CHANNELS), in_flight=_IN_FLIGHT, sample=1, deadline_seconds=120
        ):
            rig.edge.await_connections(count, _PATIENCE_SECONDS)
            together = _busy(rig.edge.pid)
            # Nobody was dropped: all have answered.
            rig.edge.await_connections(count, _PATIENCE_SECONDS)
    return Section(
        f"Heartbeats: {count:,} idle connections",
        (
            f"CPU time of the edge in {INTERVAL_SECONDS} s, in which each connection gets one PING and "
            "answers it, less that of the same edge without connections.",
        ),
        (
            Figure("share of a core", "%", ((together - alone) * 100,)),
            Figure(
                "CPU for each connection and interval",
                "µs",
                ((together - alone) * INTERVAL_SECONDS / count * 1e6,),
            ),
            Figure("share of a core without connections", "%", (alone * 100,)),
        ),
    )


def _busy(pid: int) -> float:
    """Return the share of a core that the process needs, over one interval."""
    began, cpu = time.monotonic(), cpu_seconds(pid)
    time.sleep(INTERVAL_SECONDS)
    return (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
