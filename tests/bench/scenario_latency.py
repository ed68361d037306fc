"""Every event to one client, at rising rates: from publish to client without the wait of a large fan-out."""

from __future__ import annotations

from typing import Any

from tests.bench.events import channel_name
from tests.bench.load import subscription
from tests.bench.machine import cpu_seconds
from tests.bench.order import Order
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["latency"]

CONNECTIONS = 1000
# Above 2,000 events/s in small pipelines: one blocking publisher manages no more than 5,000 single commands.
ORDERS = (
    Order(events=6000, rate=2000, resources=CONNECTIONS),
    Order(events=15_000, rate=2500, batch=2, resources=CONNECTIONS),
    Order(events=30_000, rate=1000, batch=10, resources=CONNECTIONS),
    Order(events=60_000, rate=1000, batch=20, resources=CONNECTIONS),
)
_SHORT = 2
_PATIENCE_SECONDS = 20.0


def latency(plan: Plan) -> Section:
    """Measure the latency of events that go to one connection each."""
    figures: list[Figure] = []
    with (
        Rig(plan.cores) as rig,
        rig.load(CONNECTIONS, subscription([channel_name("b:%d")]), sample=CONNECTIONS) as load,
    ):
        for order in ORDERS[: None if plan.full else _SHORT]:
            rounds: list[dict[str, Any]] = []
            late_ms, cpu_us = [], []
            for _ in range(plan.rounds):
                load.go()
                began = cpu_seconds(rig.edge.pid)
                late_ms.append(rig.publish(order)["late_p99_us"] / 1e3)
                rounds.append(load.await_events(order.events, _PATIENCE_SECONDS)["latency"])
                cpu_us.append((cpu_seconds(rig.edge.pid) - began) / order.events * 1e6)
            figures += _figures(order, rounds, late_ms, cpu_us)
    return Section(
        "Fan-out 1 at rising rates: from the intended time of publishing to the client's read",
        (
            f"{CONNECTIONS:,} connections with a channel each, all sampled; {plan.rounds} rounds of "
            f"{ORDERS[0].seconds:g} s; one `XADD` for each event, those of a group in one pipeline.",
        ),
        tuple(figures),
    )


def _figures(
    order: Order, rounds: list[dict[str, Any]], late_ms: list[float], cpu_us: list[float]
) -> list[Figure]:
    rate = f"{order.events_per_second:,}/s in groups of {order.batch}"
    marks = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
    figures = [
        Figure(f"{rate}: latency {shown}", "ms", tuple(found[mark] / 1e3 for found in rounds))
        for mark, shown in marks.items()
    ]
    return [
        *figures,
        Figure(f"{rate}: publisher late p99 (part of the latency)", "ms", tuple(late_ms)),
        Figure(f"{rate}: CPU per event", "µs", tuple(cpu_us)),
    ]
