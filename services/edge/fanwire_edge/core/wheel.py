"""The heartbeat wheel: one timer for all connections (DESIGN, PROTOCOL §6).

A connection sits in one of as many slots as the interval has ticks, in the slot of the tick at which it
came, so each is visited once per interval and the PINGs are spread as the connections were. One that was
heard at the last visit but not since is looked at again when its time is over, where that is before the
next visit. Times are counted in ticks.

Who expires stands under the tick at which that is to be told, and from then on under the one at which it is
so: under one at a time, because each takes memory.

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
    """What one tick asks for; `expiring` are those that are told that they will expire."""

    ping: Sequence[R]
    silent: Sequence[R]
    expired: Sequence[R]
    expiring: Sequence[R]


class Wheel(Generic[R]):
    """Who is to be pinged, was silent too long, or has expired.

    Expiry is told *notice* ticks ahead, or at the next tick where it is nearer; with 0 it is not told.
    """

    def __init__(self, interval: int, timeout: int, time: int = 0, notice: int = 0) -> None:
        self._timeout = timeout
        self._notice = notice
        self._slots: list[set[R]] = [set() for _ in range(interval)]
        self._due: defaultdict[int, set[R]] = defaultdict(set)
        self._doubtful: defaultdict[int, list[R]] = defaultdict(list)
        self.tick = 0
        self.time = time

    def add(self, rider: R, *, is_told: bool = True) -> None:
        """Take *rider* on; it is first pinged a whole interval later."""
        rider.seen_tick = self.tick
        rider.slot = self.tick % len(self._slots)
        self._slots[rider.slot].add(rider)
        self._await_expiry(rider, self._notice if is_told else 0)

    def remove(self, rider: R) -> None:
        """Let *rider* off; a second time is no error."""
        self._slots[rider.slot].discard(rider)
        self._forget_expiry(rider)

    def renew(self, rider: R, expires_tick: int | None) -> None:
        """Let *rider* expire at another time, of which it is told anew."""
        self._forget_expiry(rider)
        rider.expires_tick = expires_tick
        self._await_expiry(rider, self._notice)

    def turn(self, passed: int = 1) -> Turn[R]:
        """Move on by one tick, and the time by as many as have *passed*."""
        self.tick += 1
        ends = range(self.time + 1, self.time + passed + 1)
        self.time += passed
        due = [rider for end in ends for rider in self._due.pop(end, ())]
        expiring = [rider for rider in due if not self.is_expired(rider)]
        for rider in expiring:
            self._await_expiry(rider, 0)
        slot = self._slots[self.tick % len(self._slots)]
        ping = [rider for rider in slot if not self.is_silent(rider)]
        silent = [rider for rider in slot if self.is_silent(rider)]
        silent += [
            rider
            for rider in self._doubtful.pop(self.tick, ())
            if self.is_silent(rider) and rider in self._slots[rider.slot]
        ]
        for rider in ping:
            ends_at = rider.seen_tick + self._timeout
            if ends_at < self.tick + len(self._slots):
                self._doubtful[ends_at].append(rider)
        return Turn(ping, silent, [rider for rider in due if self.is_expired(rider)], expiring)

    def is_silent(self, rider: R) -> bool:
        """Tell whether *rider* was not heard for too long."""
        return self.tick - rider.seen_tick >= self._timeout

    def is_expired(self, rider: R) -> bool:
        """Tell whether the credential of *rider* is over."""
        return rider.expires_tick is not None and rider.expires_tick <= self.time

    def is_expiring(self, rider: R) -> bool:
        """Tell whether it is time to tell *rider* that its credential will be over."""
        return rider.expires_tick is not None and rider.expires_tick - self._notice <= self.time

    def _await_expiry(self, rider: R, notice: int) -> None:
        if rider.expires_tick is not None:
            # It may have passed while the connection waited to join.
            rider.expires_tick = max(rider.expires_tick, self.time + 1)
            self._due[self._told_at(rider.expires_tick, notice)].add(rider)

    def _forget_expiry(self, rider: R) -> None:
        if rider.expires_tick is None:
            return
        # It was told, or was not told yet; when, is the same as when it was taken on until that is over.
        for at in (rider.expires_tick, self._told_at(rider.expires_tick, self._notice)):
            if at in self._due:
                self._due[at].discard(rider)
                if not self._due[at]:
                    del self._due[at]

    def _told_at(self, expires_tick: int, notice: int) -> int:
        return max(expires_tick - notice, self.time + 1)
