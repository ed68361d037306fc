"""The heartbeat wheel: one timer for all connections (DESIGN, PROTOCOL §6).

A connection sits in one of as many slots as the interval has ticks, in the slot of the tick at which it
came, so each is visited once per interval and the PINGs are spread as the connections were. One that was
heard at the last visit but not since is looked at again when its time is over, where that is before the
next visit. Times are counted in ticks.

Two of them differ where the process was held up: `time` counts what has passed by the clock, and credentials
end by it; `tick` counts only turns, because silence while we did not listen is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Turn", "Wheel"]


class Rider(Protocol):
    """A connection on the wheel.

    `seen_tick` is the tick at which its peer was last heard; `slot` belongs to the wheel; `expires_tick`
    is the time in ticks at which its credential ends, None for never.
    """

    seen_tick: int
    slot: int
    expires_tick: int | None


R = TypeVar("R", bound=Rider)


@dataclass(frozen=True, slots=True)
class Turn(Generic[R]):
    """What one tick asks for."""

    ping: Sequence[R]
    silent: Sequence[R]
    expired: Sequence[R]


class Wheel(Generic[R]):
    """Who is to be pinged, was silent too long, or has expired."""

    def __init__(self, interval: int, timeout: int, time: int = 0) -> None:
        self._timeout = timeout
        self._slots: list[set[R]] = [set() for _ in range(interval)]
        self._expiring: defaultdict[int, set[R]] = defaultdict(set)
        self._doubtful: defaultdict[int, list[R]] = defaultdict(list)
        self.tick = 0
        self.time = time

    def add(self, rider: R) -> None:
        """Take *rider* on; it is first pinged a whole interval later."""
        rider.seen_tick = self.tick
        rider.slot = self.tick % len(self._slots)
        self._slots[rider.slot].add(rider)
        if rider.expires_tick is not None:
            # It may have passed while the connection waited to join.
            rider.expires_tick = max(rider.expires_tick, self.time + 1)
            self._expiring[rider.expires_tick].add(rider)

    def remove(self, rider: R) -> None:
        """Let *rider* off; a second time is no error."""
        self._slots[rider.slot].discard(rider)
        if rider.expires_tick is not None and rider.expires_tick in self._expiring:
            self._expiring[rider.expires_tick].discard(rider)
            if not self._expiring[rider.expires_tick]:
                del self._expiring[rider.expires_tick]

    def turn(self, passed: int = 1) -> Turn[R]:
        """Move on by one tick, and the time by as many as have *passed*."""
        self.tick += 1
        ends = range(self.time + 1, self.time + passed + 1)
        self.time += passed
        slot = self._slots[self.tick % len(self._slots)]
        ping = [rider for rider in slot if not self.is_silent(rider)]
        silent = [rider for rider in slot if self.is_silent(rider)]
        silent += [
            rider
            for rider in self._doubtful.pop(self.tick, ())
            if self.is_silent(rider) and rider in self._slots[rider.slot]
        ]
        for rider in ping:
            due = rider.seen_tick + self._timeout
            if due < self.tick + len(self._slots):
                self._doubtful[due].append(rider)
        return Turn(ping, silent, [rider for end in ends for rider in self._expiring.pop(end, ())])

    def is_silent(self, rider: R) -> bool:
        """Tell whether *rider* was not heard for too long."""
        return self.tick - rider.seen_tick >= self._timeout
