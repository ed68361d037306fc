"""Opening connections: how many a second, and what one costs."""

from __future__ import annotations

from tests.bench.machine import cpu_seconds
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["handshakes"]

CONNECTIONS = 3000
IN_FLIGHT = 64
_CLOSE_SECONDS = 20.0


def handshakes(plan: Plan) -> Section:
    """Open connections with an HS256 token each, close them, and do it again."""
    per_second, cpu_us, p50_ms, p99_ms = [], [], [], []
    with Rig(plan.cores) as rig:
        for _ in range(plan.rounds):
            began = cpu_seconds(rig.edge.pid)
            with rig.load(CONNECTIONS, in_flight=IN_FLIGHT) as load:
                cpu_us.append((cpu_seconds(rig.edge.pid) - began) / CONNECTIONS * 1e6)
                per_second.append(load.opening["handshakes"] / load.opening["handshake_seconds"])
                p50_ms.append(load.opening["handshake"]["p50"] / 1e3)
                p99_ms.append(load.opening["handshake"]["p99"] / 1e3)
            rig.edge.await_connections(0, _CLOSE_SECONDS)
    return Section(
        "Handshakes",
        (
            f"{CONNECTIONS:,} connections, {IN_FLIGHT} at a time, HS256 tokens of as many users, "
            f"{plan.rounds} rounds; a handshake ends with the 101.",
        ),
        (
            Figure("handshakes per second", "/s", tuple(per_second)),
            Figure("CPU per handshake", "µs", tuple(cpu_us)),
            Figure("handshake p50", "ms", tuple(p50_ms)),
            Figure("handshake p99", "ms", tuple(p99_ms)),
        ),
    )
