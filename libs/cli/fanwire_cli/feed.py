"""What happens in the demo: orders that move through their statuses, jobs that progress, notifications.

Pure: randomness and clock are arguments, so that a seed gives the same story every time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from fanwire_protocol import JsonValue

__all__ = ["TENANT", "USER", "Feed", "Happening"]

TENANT = "acme"
USER = "u-1"
_STATUSES = ("placed", "paid", "packed", "shipped", "delivered")
_CUSTOMERS = ("Ada Moreau", "Björn Åkesson", "Chiara Lupi", "Dmytro Bondar", "Emeka Obi", "Fatma Kaya")
_CARRIERS = ("Northline", "Parcelo", "Quickpost")
_JOBS = ("Monthly report", "Image resize", "Invoice export", "Search index")
_OPEN_ORDERS = 5
_OPEN_JOBS = 2


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing to publish: on *topic* about *resource*, or to *user* where there is no resource."""

    topic: str
    type: str
    payload: dict[str, JsonValue]
    resource: tuple[str, str] | None = None
    user: str | None = None


@dataclass(slots=True)
class _Order:
    number: int
    customer: str
    total: float
    step: int = 0


@dataclass(slots=True)
class _Job:
    number: int
    title: str
    progress: int = 0


@dataclass(slots=True)
class Feed:
    """An endless story; `clock` gives milliseconds since the epoch."""

    random: Random
    clock: Callable[[], int]
    _orders: list[_Order] = field(default_factory=list)
    _jobs: list[_Job] = field(default_factory=list)
    _waiting: deque[Happening] = field(default_factory=deque)
    _last_number: int = 1000

    def next(self) -> Happening:
        """Return what happens next."""
        if self._waiting:
            return self._waiting.popleft()
        return self._next_order() if self.random.random() < 0.6 else self._next_job()

    def pause(self) -> float:
        """Return the seconds until the next happening, half a second on average."""
        return self.random.uniform(0.2, 0.8)

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _next_order(self) -> Happening:
        if len(self._orders) < _OPEN_ORDERS and (not self._orders or self.random.random() < 0.35):
            return self._place_order()
        order = self.random.choice(self._orders)
        order.step += 1
        status = _STATUSES[order.step]
        if status in ("shipped", "delivered"):
            self._notify(f"Order {order.number} was {status}", f"/orders/{order.number}")
        if status == _STATUSES[-1]:
            self._orders.remove(order)
        extra: dict[str, JsonValue] = {}
        if status == "shipped":
            extra = {"carrier": self.random.choice(_CARRIERS)}
        return self._order_event("order.updated", order, extra)

    def _place_order(self) -> Happening:
        cents = self.random.randrange(990, 49_990, 10)
        order = _Order(self._number(), self.random.choice(_CUSTOMERS), cents / 100)
        self._orders.append(order)
        return self._order_event("order.created", order, {"customer": order.customer})

    def _order_event(self, type_: str, order: _Order, extra: dict[str, JsonValue]) -> Happening:
        payload: dict[str, JsonValue] = {
            "status": _STATUSES[order.step],
            **extra,
            "total": order.total,
            "currency": "EUR",
            "updatedAt": self.clock(),
        }
        return Happening("orders", type_, payload, ("orders", str(order.number)))

    def _next_job(self) -> Happening:
        if len(self._jobs) < _OPEN_JOBS and (not self._jobs or self.random.random() < 0.2):
            job = _Job(self._number(), self.random.choice(_JOBS))
            self._jobs.append(job)
            return self._job_event("job.started", job, "Queued")
        job = self.random.choice(self._jobs)
        job.progress = min(100, job.progress + self.random.randrange(10, 40))
        if job.progress < 100:
            return self._job_event("job.progress", job, "Processing...")
        self._jobs.remove(job)
        self._notify(f"{job.title} is ready", f"/jobs/{job.number}")
        return self._job_event("job.completed", job, "Done")

    def _job_event(self, type_: str, job: _Job, status: str) -> Happening:
        payload: dict[str, JsonValue] = {"title": job.title, "progress": job.progress, "status": status}
        return Happening("jobs", type_, payload, ("jobs", str(job.number)))

    def _notify(self, message: str, link: str) -> None:
        self._waiting.append(
            Happening("direct", "notification", {"message": message, "link": link}, user=USER)
        )
