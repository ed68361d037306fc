"""Pacing: how far apart the reads of a tail are, so that many readers do not wear out the broker.

Whatever it returns, a blocked read that wakes costs the broker's one core 12 to 15 µs. Few readers cannot
ask often enough for that to matter: between two reads they decode and write. From some number on, all of
them together are kept at `WAKES_PER_MS`. What comes meanwhile comes with the next read, in one.
"""

from __future__ import annotations

import math

__all__ = ["Pacing"]

# So many read as soon as they can.
UNPACED_READERS = 4
WAKES_PER_MS = 20
MAX_INTERVAL_MS = 5


class Pacing:
    """The reads of one tail; `readers` is the number of tails on its broker, this one included.

    The interval is *min_interval_ms*, or what the number of readers asks for where that is more.
    """

    def __init__(self, min_interval_ms: int) -> None:
        self.readers = 1
        self._min_interval_ms = min_interval_ms
        self._read_at = float("-inf")

    @property
    def interval_ms(self) -> int:
        """How far apart two reads are at least, in whole milliseconds: timers are no finer."""
        paced = 0
        if self.readers > UNPACED_READERS:
            paced = min(MAX_INTERVAL_MS, math.ceil(self.readers / WAKES_PER_MS))
        return max(self._min_interval_ms, paced)

    def pause(self, now: float) -> float:
        """Return the seconds that the next read has to wait, and count it as made then.

        *now* is a monotonic time in seconds. After an interval without a read there is no pause.
        """
        left_ms = max(0.0, (self._read_at - now) * 1000 + self.interval_ms)
        # A timer of less than a millisecond is none in some event loops.
        pause = math.ceil(round(left_ms, 3)) / 1000
        self._read_at = now + pause
        return pause
