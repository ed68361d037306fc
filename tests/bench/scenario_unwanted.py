"""Events that nobody here wants: what one costs an edge."""

from __future__ import annotations

from tests.bench.events import channel_name
from tests.bench.load import subscription
from tests.bench.machine import cpu_seconds
from tests.bench.order import Order
from tests.bench.processes import poll_until
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["unwanted"]

CONNECTIONS = 100
US_AT_MOST = 3.0
# Of a kind that nobody subscribed to.
KIND = "z"
TARGET = Order(events=60_000, rate=200, batch=100, resources=1000, kind=KIND)
ORDERS = (
    TARGET,
    Order(events=30_000, rate=1000, batch=10, resources=1000, kind=KIND),
    Order(events=3000, rate=1000, resources=1000, kind=KIND),
)
_PATIENCE_SECONDS = 20.0


def unwanted(plan: Plan) -> Section:
    """Publish to channels without a subscriber, beside clients of other channels."""
    costs: dict[Order, list[float]] = {order: [] for order in ORDERS}
    with Rig(plan.cores) as rig, rig.load(CONNECTIONS, subscription([channel_name("b:%d")])) as load:
        load.go()
        for _ in range(plan.rounds):
            for order, found in costs.items():
                found.append(_cost(rig, order))
        delivered = load.report()["events"]
    return Section(
        "Events that nobody wants",
        (
            f"{CONNECTIONS} clients of other channels; the edge's CPU, divided by the events. Reading costs "
            f"once for each group that arrives while it reads, so a stream in groups of {TARGET.batch} "
            "(20,000 events/s) shows what an event costs, and one at a time what waking up costs.",
        ),
        (
            *(_figure(order, tuple(values)) for order, values in costs.items()),
            Figure("of them delivered to anybody", "", (float(delivered),), 0),
        ),
    )


def _figure(order: Order, values: tuple[float, ...]) -> Figure:
    name = f"CPU per unwanted event, {order.events_per_second:,}/s in groups of {order.batch}"
    return Figure(name, "µs", values, US_AT_MOST if order is TARGET else None)


def _cost(rig: Rig, order: Order) -> float:
    """Publish and return the edge's µs for each event, once it has read them all."""
    read_before, began = rig.edge.metric("fanwire_events_read_total"), cpu_seconds(rig.edge.pid)
    rig.publish(order)

    def has_read() -> bool:
        return rig.edge.metric("fanwire_events_read_total") - read_before >= order.events

    poll_until(has_read, "the edge has read all events", _PATIENCE_SECONDS)
    return (cpu_seconds(rig.edge.pid) - began) / order.events * 1e6
