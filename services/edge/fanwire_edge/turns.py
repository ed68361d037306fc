"""Turns for everything else, in the middle of work that concerns thousands of connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from fanwire_edge.edge import Edge

__all__ = ["between_deliveries"]

YIELD_SECONDS = 0.002

T = TypeVar("T")


async def between_deliveries(edge: Edge, items: Iterable[T]) -> AsyncIterator[T]:
    """Yield *items*, and let the loop see to everything else now and then; no delivery is under way then.

    In the middle of one a frame could leave its connection's place in the log uncertain.
    """
    since = 0.0
    for item in items:
        if time.monotonic() - since > YIELD_SECONDS:
            await asyncio.sleep(0)
            await edge.settled()
            since = time.monotonic()
        yield item
