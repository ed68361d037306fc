"""More channels and more patterns: what an event costs must not depend on how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.bench.events import channel_name
from tests.bench.load import Load
from tests.bench.machine import cpu_seconds, memory_of
from tests.bench.order import Order
from tests.bench.progress import tell
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["breadth"]

FLAT_AT_MOST = 1.15
_PATIENCE_SECONDS = 20.0
_OPEN_SECONDS = 300
_IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class Case:
    """Channels, or patterns that match, spread evenly over connections; and patterns of others beside them.

    *against* names the case whose cost this one's may exceed by 15 % at most.
    """

    name: str
    total: int
    connections: int
    are_patterns: bool = False
    beside: int = 0
    against: str | None = None

    @property
    def template(self) -> str:
        return channel_name("k%d:*" if self.are_patterns else "b:%d")

    @property
    def order(self) -> Order:
        kind = "k" if self.are_patterns else "b"
        return Order(8000, 500, 8, resources=self.total, kind=kind, by_type=self.are_patterns)


CASES = (
    Case("1,000 channels", 1000, 1000),
    Case("100,000 channels", 100_000, 2000, against="1,000 channels"),
    Case("1,000,000 channels", 1_000_000, 2000, against="1,000 channels"),
    Case("1,000 channels beside 10 patterns", 1000, 1000, beside=10),
    Case(
        "1,000 channels beside 100,000 patterns",
        1000,
        1000,
        beside=100_000,
        against="1,000 channels beside 10 patterns",
    ),
    Case("100,000 patterns that match", 100_000, 2000, are_patterns=True, against="100,000 channels"),
)


@dataclass(slots=True)
class Edge:
    """A running edge of one case, and what its rounds cost in µs per event."""

    case: Case
    rig: Rig
    load: Load
    kilobytes: float
    costs: list[float] = field(default_factory=list)

    def run(self) -> float:
        """Publish one round and return the µs for each event and its delivery."""
        self.load.go()
        began = cpu_seconds(self.rig.edge.pid)
        self.rig.publish(self.case.order)
        self.load.await_events(self.case.order.events, _PATIENCE_SECONDS)
        return (cpu_seconds(self.rig.edge.pid) - began) / self.case.order.events * 1e6


def breadth(plan: Plan) -> Section:
    """Publish to channels spread over all of them, to one client each; an edge for each case, in turn."""
    cases = [case for case in CASES if plan.full or case.total < 1_000_000]
    edges: dict[str, Edge] = {}
    with ExitStack() as stack:
        for case in cases:
            tell(f"  {case.name}")
            edges[case.name] = stack.enter_context(_edge(plan, case))
        for edge in edges.values():
            edge.run()  # Warms up.
        for _ in range(plan.rounds):
            for edge in edges.values():
                edge.costs.append(edge.run())
    order = CASES[0].order
    return Section(
        "Cost against the number of channels and patterns",
        (
            f"Real edges, one for each case, all at once; {plan.rounds} rounds in turn. 1,000 connections "
            "hold 1,000 channels, 2,000 connections all larger numbers; patterns beside them match "
            f"nothing and are held by others. {order.events_per_second:,} events/s in groups of "
            f"{order.batch} over all channels, far apart, one client each.",
        ),
        tuple(figure for edge in edges.values() for figure in _figures(edge, edges)),
    )


def _figures(edge: Edge, edges: dict[str, Edge]) -> Iterator[Figure]:
    case = edge.case
    yield Figure(f"{case.name}: CPU per event and delivery", "µs", tuple(edge.costs))
    yield Figure(f"{case.name}: memory per subscription", "KB", (edge.kilobytes,))
    if case.against is not None:
        base = edges[case.against].costs
        ratios = tuple(cost / other for cost, other in zip(edge.costs, base, strict=True))
        yield Figure(f"{case.name} against {case.against}", "times", ratios, FLAT_AT_MOST)


@contextmanager
def _edge(plan: Plan, case: Case) -> Iterator[Edge]:
    """Start an edge and open everybody who is on it."""
    with Rig(plan.cores) as rig, ExitStack() as others:
        before = memory_of(rig.edge.pid).rss
        with _holders(rig, case.connections, case.total, case.template) as load:
            kilobytes = (memory_of(rig.edge.pid).rss - before) / case.total
            if case.beside:
                holders = min(case.beside, case.connections)
                others.enter_context(_holders(rig, holders, case.beside, channel_name("k%d:*")))
            yield Edge(case, rig, load, kilobytes)


def _holders(rig: Rig, connections: int, total: int, template: str) -> Load:
    own = total // connections
    return rig.load(
        connections, own=own, channel=template, in_flight=_IN_FLIGHT, deadline_seconds=_OPEN_SECONDS
    )
