"""The collector: keeps Python's search for cyclic garbage short, however much is alive.

A full collection looks at every object there is: 0.2 s with 15,000 connections, more with a long log, and
nothing else runs meanwhile. But connections, subscriptions and records are freed by their reference counts;
cycles are the exception. So what a full collection has found to be alive is set aside, and the next one
looks only at what came since.

Cycles of objects that were set aside would stay for ever. So everything is looked at again after twice as
many full collections as the last time, and after so and so many where cycles are seen at all. And where each
connection is one, as on asyncio's own loop, whose transports refer to themselves, only what is there at the
start is set aside.
"""

from __future__ import annotations

import gc
from typing import Any, Self

__all__ = ["FIRST_LOOK", "Collector"]

# Net new objects until the youngest are looked at, and how often that until the next older ones are. A full
# collection then looks at about 12,000 objects, which takes 5 ms.
THRESHOLDS = (700, 5, 2)
MAX_CYCLIC = 50_000
# Full collections until everything is looked at for the first time.
FIRST_LOOK = 64


class Collector:
    """Python's garbage collector, of which a process has one. Use it as a context manager."""

    def __init__(self, *, is_for_good: bool = True, max_cyclic: int = MAX_CYCLIC) -> None:
        self._is_for_good = is_for_good
        self._max_cyclic = max_cyclic
        self._cyclic = 0
        self._collections = 0
        self._look_at = FIRST_LOOK
        self._before = gc.get_threshold()

    def __enter__(self) -> Self:
        """Set aside all that was made so far and, if it *is_for_good*, what is found to be alive later."""
        gc.collect()
        gc.freeze()
        if self._is_for_good:
            gc.set_threshold(*THRESHOLDS)
            gc.callbacks.append(self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Leave the collector to Python again, with all that there is."""
        if self._is_for_good:
            gc.callbacks.remove(self._note)
            gc.set_threshold(*self._before)
        gc.unfreeze()

    def _note(self, phase: str, info: dict[str, Any]) -> None:
        if phase != "stop" or info["generation"] != 2:
            return
        self._cyclic += info["collected"]
        self._collections += 1
        if self._cyclic < self._max_cyclic and self._collections < self._look_at:
            gc.freeze()
        else:
            self._cyclic = 0
            self._look_at = 2 * self._collections
            gc.unfreeze()
