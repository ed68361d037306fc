"""One side of a comparison: a server with its clients, and what an order carried out by it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.load import Load
from tests.bench.machine import cpu_seconds
from tests.bench.order import Order

__all__ = ["Run", "Side"]

_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Run:
    """One order carried out by one server. Latency in ms, shares in %."""

    us_per_delivery: float
    broker_us: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    load_share: float
    frame_bytes: float
    events_per_batch: float

    def as_json(self) -> dict[str, float]:
        """Return all values by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Side:
    """A server, its clients, what makes it send, and how many batches it has sent so far."""

    pid: int
    load: Load
    send: Callable[[Order], Any]
    batches: Callable[[], float] | None = None
    broker_pid: int | None = None

    def run(self, order: Order, recipients: int | None = None) -> Run:
        """Carry out *order*, each event of which goes to *recipients* (all), and wait for the last delivery.

        Raises NoAnswer.
        """
        expected = order.events * (self.load.clients.count if recipients is None else recipients)
        batches = self._batches()
        self.load.go()
        began, broker_began = cpu_seconds(self.pid), self._broker_seconds()
        self.send(order)
        report = self.load.await_events(expected, _PATIENCE_SECONDS + order.seconds)
        spent, broker_spent = cpu_seconds(self.pid) - began, self._broker_seconds() - broker_began
        return Run(
            us_per_delivery=spent / report["events"] * 1e6,
            broker_us=broker_spent / report["events"] * 1e6,
            p50_ms=report["latency"]["p50"] / 1e3,
            p99_ms=report["latency"]["p99"] / 1e3,
            p999_ms=report["latency"]["p999"] / 1e3,
            load_share=report["cpu_seconds"] / report["seconds"] * 100,
            frame_bytes=report["bytes"] / report["events"],
            events_per_batch=order.events / (self._batches() - batches) if self.batches else order.batch,
        )

    def _batches(self) -> float:
        return self.batches() if self.batches else 0

    def _broker_seconds(self) -> float:
        return 0.0 if self.broker_pid is None else cpu_seconds(self.broker_pid)
