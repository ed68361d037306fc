"""When the memory of a process has stopped changing."""

from __future__ import annotations

import time

from tests.bench.machine import Memory, memory_of
from tests.bench.processes import poll_until

__all__ = ["STEADY_KB", "STEADY_SECONDS", "steady_memory"]

STEADY_SECONDS = 1.0
STEADY_KB = 64


def steady_memory(pid: int, deadline_seconds: float = 15.0) -> Memory:
    """Return the memory of a process once it changed by less than 64 KB in a second; raises NoAnswer."""
    marks = [(time.monotonic(), memory_of(pid))]

    def is_steady() -> bool:
        now, latest = time.monotonic(), memory_of(pid)
        if abs(latest.rss - marks[0][1].rss) > STEADY_KB:
            marks[0] = (now, latest)
        return now - marks[0][0] >= STEADY_SECONDS

    poll_until(is_steady, "the process's memory is steady", deadline_seconds, every_seconds=0.1)
    return memory_of(pid)
