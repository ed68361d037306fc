"""Errands: what a connection's command needs of others, while everything else goes on.

Each runs as a task of its own, all of one TaskGroup and so many at once; the others wait for their turn. A
connection has one at a time, because its commands are carried out one after the other. When it is done, its
connection gets a turn, looks at what came of it, and ends it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from fanwire_protocol.codes import CloseCode

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.pump import Pump

__all__ = ["Errand", "Errands"]

# As many as other services are asked at once.
MAX_AT_ONCE = 64

logger = logging.getLogger("fanwire.errands")


class Errand(Protocol):
    """Something to be done elsewhere; keeps what came of it."""

    async def run(self) -> None:
        """Do it, within a time that it knows; cancelling is safe."""


class Errands:
    """The errands of all connections; those who come back are given a turn by *pump*."""

    def __init__(self, pump: Pump, max_at_once: int = MAX_AT_ONCE) -> None:
        self._pump = pump
        self._max_at_once = max_at_once
        self._begun: dict[Connection, Errand] = {}
        # A dictionary keeps the order.
        self._waiting: dict[Connection, None] = {}
        self._running: dict[Connection, asyncio.Task[None]] = {}
        self._some = asyncio.Event()

    def of(self, connection: Connection) -> Errand | None:
        """Return the errand of *connection* that has not been ended, if there is one."""
        return self._begun.get(connection)

    @property
    def holders(self) -> tuple[Connection, ...]:
        """Those who have an errand that has not been ended."""
        return tuple(self._begun)

    def is_out(self, connection: Connection) -> bool:
        """Tell whether the errand of *connection* is not done yet."""
        return connection in self._waiting or connection in self._running

    def begin(self, connection: Connection, errand: Errand) -> None:
        """Begin the one errand of *connection*, in place of one that is done."""
        self._begun[connection] = errand
        self._waiting[connection] = None
        self._some.set()

    def end(self, connection: Connection) -> None:
        """Forget the errand of *connection*, whether it is done or not; without one that is no error."""
        self._begun.pop(connection, None)
        self._waiting.pop(connection, None)
        task = self._running.pop(connection, None)
        if task is not None:
            task.cancel()
            self._some.set()

    async def run(self) -> None:
        """Run errands, for ever; ends only by cancellation."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._some.wait()
                self._some.clear()
                while self._waiting and len(self._running) < self._max_at_once:
                    connection = next(iter(self._waiting))
                    del self._waiting[connection]
                    self._running[connection] = tasks.create_task(self._run(connection))

    async def _run(self, connection: Connection) -> None:
        try:
            await self._begun[connection].run()
        except Exception:  # a bug of ours, or of an application's function, ends this connection alone
            logger.exception("errand_failed", extra={"client_id": connection.session.client_id})
            connection.close(CloseCode.INTERNAL_ERROR, "the edge failed")
        # Where it was cancelled, somebody has ended it, and the connection waits for nothing.
        self._running.pop(connection, None)
        self._some.set()
        self._pump.schedule(connection)
