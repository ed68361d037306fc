"""Every event to one client: the way from publish to client, without the wait of a large fan-out."""

from __future__ import annotations

from typing import Any

from tests.bench.events import OWN_CHANNELS
from tests.bench.load import subscription
from tests.bench.publisher import Order
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["latency"]

CONNECTIONS = 1000
ORDER = Order(events=6000, rate=2000, resources=CONNECTIONS)
_PATIENCE_SECONDS = 20.0


def latency(plan: Plan) -> Section:
    """Measure the latency of events that go to one connection each."""
    rounds: list[dict[str, Any]] = []
    late_us: list[float] = []
    with (
        Rig(plan.cores) as rig,
        rig.load(CONNECTIONS, subscription(OWN_CHANNELS[:1]), sample=CONNECTIONS) as load,
    ):
        for _ in range(plan.rounds):
            load.go()
            late_us.append(rig.publish(ORDER)["late_p99_us"])
            rounds.append(load.await_events(ORDER.events, _PATIENCE_SECONDS)["latency"])
    marks = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "maximum"}
    figures = [
        Figure(f"latency {shown}", "ms", tuple(found[mark] / 1e3 for found in rounds))
        for mark, shown in marks.items()
    ]
    figures.append(
        Figure("publisher late p99 (is part of the latency)", "ms", tuple(us / 1e3 for us in late_us))
    )
    return Section(
        "Latency: from the intended time of publishing to the client's read, fan-out 1",
        (
            f"{CONNECTIONS:,} connections with a channel each, {ORDER.rate:,} events/s, one `XADD` each, "
            f"for {ORDER.seconds:g} s, {plan.rounds} rounds; all connections are sampled.",
        ),
        tuple(figures),
    )
