"""The wheel against a clock for each rider."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.wheel import Wheel


class Rider:
    def __init__(self, expires_tick: int | None) -> None:
        self.seen_tick = 0
        self.slot = 0
        self.expires_tick = expires_tick


@dataclass(frozen=True, slots=True)
class Life:
    """When a rider comes, is heard (ticks after coming), leaves, and when its credential ends."""

    comes: int
    heard: frozenset[int]
    leaves: int
    expires: int | None
    answers: bool


lives = st.lists(
    st.builds(
        Life,
        st.integers(0, 12),
        st.frozensets(st.integers(0, 40), max_size=6),
        st.integers(1, 60),
        st.none() | st.integers(-3, 40),
        st.booleans(),
    ),
    max_size=6,
)


@given(lives, st.integers(1, 8), st.integers(1, 8))
def test_every_rider_is_pinged_dropped_and_ended_in_time(lives: list[Life], interval: int, more: int) -> None:
    """Pinged once an interval while it is heard; silent exactly when the timeout has passed since the last
    sign; expired exactly on its tick. Whoever left, or was dropped, is never named again."""
    timeout = interval + more
    wheel: Wheel[Rider] = Wheel(interval, timeout)
    riders: dict[int, Rider] = {}
    gone: set[int] = set()
    heard_at = [0] * len(lives)

    for tick in range(70):
        for number, life in enumerate(lives):
            if number in gone:
                continue
            if life.comes == tick:
                ends = None if life.expires is None else tick + life.expires
                riders[number] = rider = Rider(ends)
                wheel.add(rider)
                heard_at[number] = tick
            elif life.comes < tick:
                if life.leaves == tick - life.comes:
                    wheel.remove(riders[number])
                    gone.add(number)
                elif tick - life.comes in life.heard:
                    riders[number].seen_tick = heard_at[number] = tick

        turn = wheel.turn()
        now = tick + 1

        for number, life in enumerate(lives):
            if number not in riders:
                continue
            rider = riders[number]
            here = number not in gone
            is_silent = here and now - heard_at[number] >= timeout
            is_visited = here and (now - life.comes) % interval == 0
            is_expired = here and life.expires is not None and now == life.comes + max(1, life.expires)
            assert turn.silent.count(rider) == is_silent
            assert turn.ping.count(rider) == (is_visited and not is_silent)
            assert turn.expired.count(rider) == is_expired
            if is_silent or is_expired:
                wheel.remove(rider)
                gone.add(number)
            elif life.answers and rider in turn.ping:
                rider.seen_tick = heard_at[number] = now

    assert not wheel._expiring.keys() & set(range(now + 1))
