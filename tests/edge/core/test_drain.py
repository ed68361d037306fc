"""The plan of a drain: grace, pace, time for the last answer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.drain import DrainLimits, plan_drain, retry_after_ms

DEFAULTS = DrainLimits(per_second=200, grace_seconds=2, seconds=30, answer_seconds=2)


def test_goodbyes_follow_the_grace_one_by_one() -> None:
    """Two hundred a second are one every five milliseconds, beginning after two seconds."""
    plan = plan_drain(1000, DEFAULTS)

    assert [plan.goodbye_at(index) for index in (0, 1, 999)] == pytest.approx([2.0, 2.005, 6.995])
    assert not plan.is_hurried


@pytest.mark.parametrize(
    ("connections", "per_second"),
    [(0, 200), (1, 200), (5200, 200), (5201, 5201 / 26), (100_000, 100_000 / 26)],
)
def test_pace_is_kept_while_it_brings_everyone_through(connections: int, per_second: float) -> None:
    """Between grace and the time for the last answer lie 26 s; more than 5,200 must go faster."""
    plan = plan_drain(connections, DEFAULTS)

    assert plan.per_second == pytest.approx(per_second)
    assert plan.is_hurried == (per_second > 200)


@pytest.mark.parametrize(
    ("grace", "seconds", "first_at", "last_at"),
    [(2, 30, 2, 28), (2, 3, 1.5, 2.25), (0, 1, 0, 0.5), (0, 30, 0, 28), (2, 0, 0, 0), (100, 10, 5, 8)],
)
def test_a_short_drain_shortens_grace_and_answer(
    grace: float, seconds: float, first_at: float, last_at: float
) -> None:
    """The grace takes the first half at most, the last answer half of the rest."""
    limits = DrainLimits(200, grace, seconds, answer_seconds=2)

    assert (limits.first_at, limits.last_at) == (first_at, last_at)


def test_a_drain_of_no_time_says_all_goodbyes_at_once() -> None:
    """So it ends a development edge without a wait."""
    plan = plan_drain(500, DrainLimits(200, grace_seconds=2, seconds=0, answer_seconds=2))

    assert {plan.goodbye_at(index) for index in range(500)} == {0.0}
    assert plan.is_hurried


@given(
    connections=st.integers(1, 20_000),
    per_second=st.integers(1, 1000),
    grace=st.floats(0, 40),
    seconds=st.floats(0.1, 60),
)
def test_all_is_said_in_time_and_no_second_sees_more_than_the_pace(
    connections: int, per_second: int, grace: float, seconds: float
) -> None:
    """The last goodbye leaves time for its answer; a second holds at most the pace, rounded up."""
    limits = DrainLimits(per_second, grace, seconds, answer_seconds=2)
    plan = plan_drain(connections, limits)

    times = [plan.goodbye_at(index) for index in range(connections)]
    assert times[0] == limits.first_at
    assert times[-1] <= limits.last_at + 1e-6
    assert times == sorted(times)
    if not plan.is_hurried:
        later = times[per_second:]
        assert all(end - start >= 1 - 1e-6 for start, end in zip(times, later, strict=False))


def test_delays_fill_the_window_evenly_and_never_reach_its_end() -> None:
    """Every tenth of the window gets about a tenth of the clients."""
    random = Random(1)
    delays = [retry_after_ms(5000, random.random) for _ in range(10_000)]

    tenths = [sum(low <= delay < low + 500 for delay in delays) for low in range(0, 5000, 500)]
    assert sum(tenths) == 10_000
    assert all(900 < count < 1100 for count in tenths)
    assert retry_after_ms(5000, lambda: 1 - 2**-53) == 4999
