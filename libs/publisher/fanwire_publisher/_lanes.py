"""Turns: who publishes for one tenant on one topic goes one after the other, in the order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fanwire_publisher._record import Record

__all__ = ["Lanes"]


@dataclass(eq=False, slots=True)
class _Lane:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Lanes:
    """One fair lock per topic and tenant, which exists while somebody holds it or waits."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str], _Lane] = {}

    @asynccontextmanager
    async def hold(self, records: Iterable[Record]) -> AsyncIterator[None]:
        """Hold the lanes of *records*. Turns are given in the order of calls; cancelling gives one up."""
        # Everybody locks in the same order, so nobody waits for one who waits for him.
        names = sorted({(record.topic, record.tenant or "") for record in records})
        lanes = [self._lanes.setdefault(name, _Lane()) for name in names]
        for lane in lanes:
            lane.users += 1
        held: list[_Lane] = []
        try:
            for lane in lanes:
                await lane.lock.acquire()
                held.append(lane)
            yield
        finally:
            for lane in held:
                lane.lock.release()
            for name, lane in zip(names, lanes, strict=True):
                lane.users -= 1
                if not lane.users:
                    del self._lanes[name]
