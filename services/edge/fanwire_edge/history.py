"""History: reads pages of the log from the broker for clients that were away.

One task, one connection of its own, one read at a time: live delivery never waits for it, and however
many clients want a page, it is read once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING

from fanwire_edge.core.page import PAGE_ENTRIES, RawPage
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.replay import Missing
from fanwire_edge.ports import Archive, TailLost

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.pump import Pump

__all__ = ["History"]

MAX_PAUSE_SECONDS = 2.0

logger = logging.getLogger("fanwire.history")


class History:
    """Fetches pages into *pages* and gives those who wait for them a turn.

    *broker* tells the identity of the broker that the edge follows; no other one's pages are taken.
    """

    def __init__(self, pages: Pages, pump: Pump, broker: Callable[[], str]) -> None:
        self.pages = pages
        self.reads = 0
        self._pump = pump
        self._broker = broker
        self._wanted: OrderedDict[Missing, set[Connection]] = OrderedDict()
        self._some = asyncio.Event()
        self._random = Random()

    def want(self, missing: Iterable[Missing], connection: Connection) -> None:
        """Let *connection* carry on when a page of *missing* is there."""
        for page in missing:
            self._wanted.setdefault(page, set()).add(connection)
        # A position ahead of this edge's reading wants no page, only time.
        if self._wanted:
            self._some.set()

    def forget(self, connection: Connection) -> None:
        """Take it that *connection* waits for nothing any more; a page that nobody waits for is not read."""
        for missing in [each for each, waiting in self._wanted.items() if connection in waiting]:
            self._wanted[missing].discard(connection)
            if not self._wanted[missing]:
                del self._wanted[missing]

    async def run(self, archive: Archive) -> None:
        """Read what is wanted from *archive*, for ever; ends only by cancellation."""
        pause = 0.1
        while True:
            await self._some.wait()
            if not self._wanted:
                self._some.clear()
                continue
            missing = next(iter(self._wanted))
            try:
                self.pages.take(await self._read(archive, missing))
            except TailLost as problem:
                logger.warning("history_lost", extra={"reason": str(problem)})
                if missing in self._wanted:
                    # The others do not wait for one that fails.
                    self._wanted.move_to_end(missing)
                await asyncio.sleep(self._random.uniform(0, pause))
                pause = min(MAX_PAUSE_SECONDS, pause * 2)
                continue
            pause = 0.1
            for connection in self._wanted.pop(missing, ()):
                self._pump.schedule(connection)

    async def _read(self, archive: Archive, missing: Missing) -> RawPage:
        self.reads += 1
        raw = await archive.page(missing.stream, missing.start, PAGE_ENTRIES)
        if raw.broker != self._broker():
            # After a failover one of the two connections still leads to the broker of before.
            await archive.close()
            raise TailLost("history comes from another broker than the one that is followed")
        return raw
