"""The pump: gives connections that have work left their turns, a few milliseconds at a time.

Thousands may be behind at once after an edge was lost. Each turn of one writes at most one portion of the
log; when the budget of the moment is used up, the event loop sees to everything else first, so that live
delivery never waits for replays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection

__all__ = ["Pump"]

BUDGET_SECONDS = 0.005


class Pump:
    """Turns for the connections of an edge, in the order in which they asked; none while it `is_held`."""

    def __init__(self, is_held: Callable[[], bool]) -> None:
        self._is_held = is_held
        # A dictionary keeps the order and holds each connection once.
        self._waiting: dict[Connection, None] = {}
        self._is_due = False

    def __len__(self) -> int:
        return len(self._waiting)

    def schedule(self, connection: Connection) -> None:
        """Give *connection* a turn soon; asking twice is the same as once."""
        self._waiting[connection] = None
        self.resume()

    def resume(self) -> None:
        """Go on, if somebody waits and nothing holds the turns."""
        if self._waiting and not self._is_due and not self._is_held():
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        clock = asyncio.get_running_loop().time
        deadline = clock() + BUDGET_SECONDS
        try:
            while self._waiting and not self._is_held() and clock() < deadline:
                connection = next(iter(self._waiting))
                del self._waiting[connection]
                connection.carry_on()
        finally:
            self.resume()
