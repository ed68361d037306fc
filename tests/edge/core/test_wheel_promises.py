"""The wheel against a clock for each rider."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core.wheel import Turn, Wheel


class Rider:
    def __init__(self, expires_tick: int | None) -> None:
        self.seen_tick = 0
        self.slot = 0
        self.expires_tick = expires_tick


@dataclass(frozen=True, slots=True)
class Life:
    """When a rider comes, is heard (ticks after coming), leaves, and when its credential ends; when it shows
    another one, and so many ticks later that ends."""

    comes: int
    heard: frozenset[int]
    leaves: int
    expires: int | None
    renews: tuple[int, int] | None
    answers: bool


lives = st.lists(
    st.builds(
        Life,
        st.integers(0, 12),
        st.frozensets(st.integers(0, 40), max_size=6),
        st.integers(1, 60),
        st.none() | st.integers(-3, 40),
        st.none() | st.tuples(st.integers(1, 20), st.integers(1, 20)),
        st.booleans(),
    ),
    max_size=6,
)


class Clocked:
    """A rider with a clock of its own, which knows what is due without any wheel."""

    def __init__(self, life: Life, wheel: Wheel[Rider], interval: int, timeout: int, notice: int) -> None:
        self.life = life
        self.wheel = wheel
        self.interval = interval
        self.timeout = timeout
        self.notice = notice
        self.rider = Rider(None if life.expires is None else life.comes + life.expires)
        self.heard_at = life.comes
        self.ends_at = None if life.expires is None else life.comes + max(1, life.expires)
        self.shown_at = life.comes
        self.is_here = False

    def live(self, tick: int) -> None:
        """Come, be heard, or leave."""
        if self.life.comes == tick:
            self.wheel.add(self.rider)
            self.is_here = True
        elif self.is_here and self.life.leaves == tick - self.life.comes:
            self._leave()
        elif self.is_here and self.life.renews is not None and tick - self.life.comes == self.life.renews[0]:
            self.shown_at, self.ends_at = tick, tick + self.life.renews[1]
            self.wheel.renew(self.rider, self.ends_at)
        elif self.is_here and tick - self.life.comes in self.life.heard:
            self.rider.seen_tick = self.heard_at = tick

    def check(self, turn: Turn[Rider], tick: int) -> None:
        """Compare what the wheel asks for with what is due, and do it."""
        is_silent = self.is_here and tick - self.heard_at >= self.timeout
        is_visited = self.is_here and (tick - self.life.comes) % self.interval == 0
        is_expired = self.is_here and tick == self.ends_at
        assert turn.silent.count(self.rider) == is_silent
        assert turn.ping.count(self.rider) == (is_visited and not is_silent)
        assert turn.expired.count(self.rider) == is_expired
        assert turn.expiring.count(self.rider) == (self.is_here and self._is_to_be_told(tick))
        if is_silent or is_expired:
            self._leave()
        elif self.life.answers and self.rider in turn.ping:
            self.rider.seen_tick = self.heard_at = tick

    def _is_to_be_told(self, tick: int) -> bool:
        if self.ends_at is None or tick == self.ends_at:
            return False
        return tick == max(self.ends_at - self.notice, self.shown_at + 1)

    def _leave(self) -> None:
        self.wheel.remove(self.rider)
        self.is_here = False


@settings(deadline=None)
@given(lives, st.integers(1, 8), st.integers(1, 8), st.integers(0, 9))
def test_every_rider_is_pinged_dropped_and_ended_in_time(
    lives: list[Life], interval: int, more: int, notice: int
) -> None:
    """Pinged once an interval while it is heard; silent exactly when the timeout has passed since the last
    sign; told once that it will expire, and expired exactly on its tick. Whoever left, or was dropped, is
    never named again, and nothing is kept of it."""
    timeout = interval + more
    wheel: Wheel[Rider] = Wheel(interval, timeout, notice=notice)
    riders = [Clocked(life, wheel, interval, timeout, notice) for life in lives]

    for tick in range(70):
        for rider in riders:
            rider.live(tick)
        turn = wheel.turn()
        for rider in riders:
            rider.check(turn, tick + 1)
    assert bool(wheel._due) == any(rider.is_here and rider.ends_at is not None for rider in riders)
