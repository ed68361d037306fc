"""Publishing under faults: one tenant's events at a steady rate, on topics, users, roles and channels."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable

from fanwire_protocol import Position
from fanwire_publisher import Outgoing, PublishFailed
from tests.kit.recording import RecordingPublisher

__all__ = ["IDS", "TOPICS", "Load"]

TOPICS = ("orders", "invoices", "projects")
# How many resources each topic has: most clients follow a few of them.
IDS = 20
# How far a publisher that was held up runs after its rate.
MOST_BEHIND_SECONDS = 0.5
_BURST = 4


class Load:
    """Publishes *per_second* events of *tenant* through the real publisher until `stop`, one call at a time.

    `confirmed` counts events with a position, `failed` calls that raised PublishFailed; `positions` has
    what was confirmed on the first topic, in order; `is_idle` tells that no call is under way.
    """

    def __init__(self, publisher: RecordingPublisher, tenant: str, per_second: float) -> None:
        self.tenant = tenant
        self.confirmed = 0
        self.failed = 0
        self.positions: list[Position] = []
        self._publisher = publisher
        self._interval = 1 / per_second
        self._is_stopping = False
        self._may_go = asyncio.Event()
        self._may_go.set()
        self.is_idle = False
        self._numbers = itertools.count()

    async def run(self) -> None:
        """Publish until told to stop; what fails is counted, and the next one tried."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._is_stopping:
            self.is_idle = True
            await self._may_go.wait()
            self.is_idle = False
            before = self.confirmed
            try:
                await self._publish(next(self._numbers))
            except PublishFailed:
                self.failed += 1
            due += self._interval * max(1, self.confirmed - before)
            due = max(due, loop.time() - MOST_BEHIND_SECONDS)
            await asyncio.sleep(due - loop.time())

    def hold(self) -> None:
        """Begin no call until `go`; `is_idle` tells when none is under way."""
        self._may_go.clear()

    def go(self) -> None:
        """Go on."""
        self._may_go.set()

    def stop(self) -> None:
        """End with the call that is under way."""
        self._is_stopping = True
        self._may_go.set()

    async def _publish(self, number: int) -> None:
        topic = TOPICS[number % len(TOPICS)]
        resource = (topic, str(number // len(TOPICS) % IDS))
        publisher, tenant = self._publisher, self.tenant
        single: Awaitable[Position]
        match number % 20:
            case 3:
                name = f"tenant:{tenant}:resource:{resource[0]}:{resource[1]}"
                single = publisher.publish_channel(name, "changed")
            case 7:
                single = publisher.publish("direct", "told", tenant=tenant, to=("user", f"u-{number % 7}"))
            case 11:
                to = ("role", "admin")
                single = publisher.publish(topic, "changed", tenant=tenant, resource=resource, to=to)
            case 15 if number % 100 == 15:
                single = publisher.broadcast(tenant, "announced")
            case 19:
                await self._burst(topic, number)
                return
            case _:
                single = publisher.publish(topic, "changed", {"n": number}, tenant=tenant, resource=resource)
        position = await single
        self.confirmed += 1
        if topic == TOPICS[0] and number % 20 not in (3, 7) and number % 100 != 15:
            self.positions.append(position)

    async def _burst(self, topic: str, number: int) -> None:
        events = [
            Outgoing(
                topic,
                "changed",
                tenant=self.tenant,
                resource=(topic, str(each % IDS)),
                event_id=f"{self.tenant}-{id(self):x}-{number}-{each}",
            )
            for each in range(_BURST)
        ]
        await self._publisher.publish_many(events)
        self.confirmed += _BURST
