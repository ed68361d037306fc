"""Grants: positive decisions of others, by connection, and when each has to be asked for anew.

A decision holds for `max_age` seconds from the moment when it was asked for. Well before that it falls due,
at a time that is another one for each connection, and again a few times until somebody renews it; where
nobody does, it is over. One that is void holds for nobody any more who asks for the channel now; who is on it
is given a short time in which it can be renewed.

Each connection stands under one moment, that of its next visit, so one that leaves takes everything along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Due", "Grants"]

# How long before its end a decision falls due, as parts of its life; by chance between these.
_LEAD = (0.1, 0.25)
# So often it is tried to renew one.
_ATTEMPTS = 4

H = TypeVar("H", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Due(Generic[H]):
    """What has to be done about the grants of *holder*: names to renew, and names that are over."""

    holder: H
    renew: tuple[str, ...]
    over: tuple[str, ...]


@dataclass(slots=True)
class _Held:
    """The grants of one holder: until when each holds; `void` are those that do not, until then."""

    lead: float
    until: dict[str, float] = field(default_factory=dict)
    void: set[str] | None = None
    visit: int | None = None


class Grants(Generic[H]):
    """Who was permitted what, and until when.

    All times are in seconds of one clock; `max_age` 0 means for the holder's life, *void_seconds* is how long
    somebody stays on a channel whose decision is void. *chance* gives numbers from 0 to 1, and *tick_seconds*
    is how exact visits are.
    """

    def __init__(
        self, max_age: float, void_seconds: float, tick_seconds: float, chance: Callable[[], float]
    ) -> None:
        self._max_age = max_age or math.inf
        self._void_seconds = void_seconds
        self._tick_seconds = tick_seconds
        self._chance = chance
        self._held: dict[H, _Held] = {}
        self._visits: dict[int, set[H]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def holders(self) -> list[H]:
        """Return all who hold any."""
        return list(self._held)

    def names(self, holder: H) -> Collection[str]:
        """Return what *holder* has a decision for, void or not."""
        held = self._held.get(holder)
        return () if held is None else held.until.keys()

    def holds(self, holder: H, name: str, now: float) -> bool:
        """Tell whether *holder* needs not to be asked about again for *name*."""
        held = self._held.get(holder)
        if held is None or (held.void is not None and name in held.void):
            return False
        return now < held.until.get(name, now)

    def give(self, holder: H, names: Collection[str], asked_at: float) -> None:
        """Take note that *holder* was permitted *names* when that was asked for at *asked_at*."""
        if not names:
            return
        held = self._held.get(holder)
        if held is None:
            low, high = _LEAD
            part = low + (high - low) * self._chance()
            self._held[holder] = held = _Held(0.0 if self._max_age == math.inf else part * self._max_age)
        for name in names:
            held.until[name] = asked_at + self._max_age
            if held.void is not None:
                held.void.discard(name)
        self._plan(holder, held, self._next(held, (), asked_at))

    def void(self, holder: H, names: Iterable[str], now: float, spread_seconds: float = 0.0) -> None:
        """Let those of *names* that *holder* has hold no more; they fall due within *spread_seconds*."""
        held = self._held.get(holder)
        if held is None:
            return
        mine = [name for name in names if name in held.until]
        if not mine:
            return
        held.void = (held.void or set()).union(mine)
        for name in mine:
            held.until[name] = min(held.until[name], now + self._void_seconds)
        self._plan(holder, held, now + spread_seconds * self._chance())

    def drop(self, holder: H, names: Iterable[str]) -> None:
        """Forget what *holder* has of *names*."""
        held = self._held.get(holder)
        if held is None:
            return
        for name in names:
            held.until.pop(name, None)
            if held.void is not None:
                held.void.discard(name)
        if not held.until:
            self.forget(holder)

    def forget(self, holder: H) -> None:
        """Forget everything of *holder*; a second time is no error."""
        held = self._held.pop(holder, None)
        if held is not None:
            self._unplan(holder, held)

    def due(self, now: float) -> list[Due[H]]:
        """Return what has fallen due by *now*; what is over is forgotten."""
        ticks = [tick for tick in self._visits if tick * self._tick_seconds <= now]
        holders = [holder for tick in sorted(ticks) for holder in self._visits.pop(tick)]
        return [self._visited(holder, now) for holder in holders]

    def _visited(self, holder: H, now: float) -> Due[H]:
        held = self._held[holder]
        held.visit = None
        over = tuple(name for name, until in held.until.items() if until <= now)
        self.drop(holder, over)
        renew = tuple(name for name, until in held.until.items() if self._falls_due(held, name, until) <= now)
        if held.until:
            self._plan(holder, held, self._next(held, renew, now))
        return Due(holder, renew, over)

    def _falls_due(self, held: _Held, name: str, until: float) -> float:
        return until - (self._void_seconds if held.void and name in held.void else held.lead)

    def _next(self, held: _Held, renewed: Collection[str], now: float) -> float:
        """Return when to look again: in a while for what is being renewed, but not after its end."""
        moments = []
        for name, until in held.until.items():
            falls_due = self._falls_due(held, name, until)
            if name in renewed:
                falls_due = min(until, now + (until - falls_due) / _ATTEMPTS)
            moments.append(falls_due)
        return min(moments)

    def _plan(self, holder: H, held: _Held, at: float) -> None:
        """Let the next visit be at *at*, or never where that is never."""
        self._unplan(holder, held)
        if at != math.inf:
            held.visit = self._tick(at)
            self._visits.setdefault(held.visit, set()).add(holder)

    def _unplan(self, holder: H, held: _Held) -> None:
        if held.visit is None:
            return
        holders = self._visits[held.visit]
        holders.discard(holder)
        if not holders:
            del self._visits[held.visit]
        held.visit = None

    def _tick(self, at: float) -> int:
        return math.ceil(at / self._tick_seconds)
