"""One channel, 1,000 subscribers: what a delivery costs, against the floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.bench.events import CHANNEL
from tests.bench.load import Clients, Floor, Load, subscription
from tests.bench.machine import cpu_seconds
from tests.bench.publisher import Order
from tests.bench.report import Figure, Section
from tests.bench.rig import Plan, Rig

__all__ = ["SUBSCRIBERS", "Mode", "fan_out"]

SUBSCRIBERS = 1000
FRAME_BYTES = 204
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to send, and how many times the floor its cost may be."""

    name: str
    order: Order
    at_most: float


# Rates that keep the server's core busy for about 40 %: a core that mostly sleeps finds its caches cold,
# which costs the edge more than the floor, and one that never sleeps merges events that came one at a time.
MODES = (
    Mode("one at a time", Order(events=150, rate=100, frame_bytes=FRAME_BYTES), at_most=1.4),
    Mode("batches of 8", Order(events=960, rate=80, batch=8, frame_bytes=FRAME_BYTES), at_most=1.6),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One order carried out by one server."""

    us_per_delivery: float
    p50_ms: float
    p99_ms: float
    load_share: float
    frame_bytes: float
    events_per_batch: float


@dataclass(frozen=True, slots=True)
class Side:
    """A server, its clients, what makes it send, and how many batches it has sent so far."""

    pid: int
    load: Load
    send: Callable[[Order], Any]
    batches: Callable[[], float] | None = None

    def run(self, order: Order) -> Run:
        """Carry out *order* and wait for the last delivery."""
        expected = order.events * self.load.clients.count
        batches = self._batches()
        self.load.go()
        began = cpu_seconds(self.pid)
        self.send(order)
        report = self.load.await_events(expected, _PATIENCE_SECONDS)
        spent = cpu_seconds(self.pid) - began
        return Run(
            us_per_delivery=spent / report["events"] * 1e6,
            p50_ms=report["latency"]["p50"] / 1e3,
            p99_ms=report["latency"]["p99"] / 1e3,
            load_share=report["cpu_seconds"] / report["seconds"] * 100,
            frame_bytes=report["bytes"] / report["events"],
            events_per_batch=order.events / (self._batches() - batches) if self.batches else order.batch,
        )

    def _batches(self) -> float:
        return self.batches() if self.batches else 0


def fan_out(plan: Plan) -> Section:
    """Measure the edge and the floor in interleaved pairs; who begins alternates."""
    runs: dict[Mode, list[tuple[Run, Run]]] = {mode: [] for mode in MODES}
    command = subscription([CHANNEL])
    with (
        Rig(plan.cores) as rig,
        Floor(plan.cores.server) as floor,
        rig.load(SUBSCRIBERS, command) as edge_load,
        Load(floor.port, Clients(SUBSCRIBERS, command), plan.cores.load) as floor_load,
    ):
        batches = partial(rig.edge.metric, "fanwire_batches_total")
        edge_side = Side(rig.edge.pid, edge_load, rig.publish, batches)
        floor_side = Side(floor.pid, floor_load, lambda order: floor.ask(floor_line(order), 60))
        for pair in range(plan.pairs):
            for mode in MODES:
                if pair % 2:
                    edge, bare = edge_side.run(mode.order), floor_side.run(mode.order)
                else:
                    bare, edge = floor_side.run(mode.order), edge_side.run(mode.order)
                runs[mode].append((edge, bare))
    return Section(
        f"Fan-out: {SUBSCRIBERS:,} subscribers of one channel, {FRAME_BYTES}-byte frames",
        (
            f"{plan.pairs} interleaved pairs of edge and floor (a C program with a bare `send`); "
            + "; ".join(f"{mode.name}: {_rate(mode.order)}" for mode in MODES)
            + ".",
        ),
        tuple(figure for mode, pairs in runs.items() for figure in _figures(mode, pairs)),
    )


def floor_line(order: Order) -> str:
    """Return the line that makes the floor do the same."""
    return f"send {order.events} {order.rate} {order.batch} {order.frame_bytes}"


def _rate(order: Order) -> str:
    return f"{order.rate * order.batch} events/s for {order.seconds:g} s"


def _figures(mode: Mode, pairs: list[tuple[Run, Run]]) -> list[Figure]:
    edges, floors = [edge for edge, _ in pairs], [bare for _, bare in pairs]

    def figure(what: str, unit: str, runs: list[Run], field: str) -> Figure:
        return Figure(f"{mode.name}: {what}", unit, tuple(getattr(run, field) for run in runs))

    ratios = tuple(edge.us_per_delivery / bare.us_per_delivery for edge, bare in pairs)
    return [
        Figure(f"{mode.name}: CPU per delivery, edge / floor", "times", ratios, mode.at_most),
        figure("CPU per delivery, edge", "µs", edges, "us_per_delivery"),
        figure("CPU per delivery, floor", "µs", floors, "us_per_delivery"),
        figure("latency p50, edge", "ms", edges, "p50_ms"),
        figure("latency p99, edge", "ms", edges, "p99_ms"),
        figure("latency p99, floor", "ms", floors, "p99_ms"),
        figure("bytes per frame, edge", "B", edges, "frame_bytes"),
        figure("events per batch, edge", "", edges, "events_per_batch"),
        figure("load generator busy, edge", "%", edges, "load_share"),
        figure("load generator busy, floor", "%", floors, "load_share"),
    ]
