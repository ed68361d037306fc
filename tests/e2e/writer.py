"""A core service: publishes through the publisher and notes what the log confirmed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from fanwire_protocol import Position, parse_position
from fanwire_publisher import Outgoing, Publisher
from tests.e2e.truth import Written

__all__ = ["Writer", "in_log_order", "resource"]


def resource(type_: str, id_: str, tenant: str = "acme") -> str:
    """Return the channel of one resource."""
    return f"tenant:{tenant}:resource:{type_}:{id_}"


def in_log_order(written: Sequence[Written]) -> list[Written]:
    """Sort by position, within one life of the broker."""
    return sorted(written, key=lambda each: parse_position(each.position).key)


class Writer:
    """Publishes numbered events of one tenant.

    `written` has those that were confirmed, in order; `renewals` the last positions of logs that a test
    removed.
    """

    def __init__(self, publisher: Publisher, tenant: str = "acme") -> None:
        self._publisher = publisher
        self._tenant = tenant
        # Another writer's events on the same log are other events.
        self._tag = uuid4().hex[:8]
        self._numbers = itertools.count()
        self.written: list[Written] = []
        self.renewals: list[str] = []

    async def write(self, topic: str, count: int = 1, *, id_: str = "1", padding: int = 0) -> list[Written]:
        """Publish *count* events of the resource (*topic*, *id_*) in few round trips."""
        events = [self._outgoing(topic, id_, padding) for _ in range(count)]
        positions = await self._publisher.publish_many(events)
        return self._note(events, positions)

    def use(self, publisher: Publisher) -> None:
        """Go on with another publisher, which knows nothing of the broker's time before."""
        self._publisher = publisher

    def note_renewal(self) -> None:
        """Note that a log which ended with the last event was removed."""
        self.renewals.append(self.written[-1].position)

    def _outgoing(self, topic: str, id_: str, padding: int) -> Outgoing:
        number = next(self._numbers)
        payload: dict[str, Any] = {"number": number, "padding": "x" * padding}
        pair = (topic, id_)
        return Outgoing(
            topic, "changed", payload, tenant=self._tenant, resource=pair, event_id=f"{self._tag}-{number}"
        )

    def _note(self, events: Sequence[Outgoing], positions: Sequence[Position]) -> list[Written]:
        noted = [
            Written(
                event.topic,
                event.event_id or "",
                str(position),
                (resource(*(event.resource or ("", "")), self._tenant),),
            )
            for event, position in zip(events, positions, strict=True)
        ]
        self.written.extend(noted)
        return noted
