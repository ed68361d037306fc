"""The plan of a drain: grace, pace, time for the last answer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.drain import DrainLimits, retry_after_ms

DEFAULTS = DrainLimits(per_second=200, grace_seconds=2, seconds=30)


def test_goodbyes_follow_the_grace_one_by_one() -> None:
    """Two hundred a second are one every five milliseconds, beginning after two seconds."""
    times = [DEFAULTS.goodbye_at(index) for index in (0, 1, 999)]

    assert times == pytest.approx([2.0, 2.005, 6.995])


@pytest.mark.parametrize(
    ("grace", "seconds", "first_at"),
    [(2, 30, 2), (2, 3, 1.5), (0, 1, 0), (0, 30, 0), (2, 0, 0), (100, 10, 5)],
)
def test_a_short_drain_shortens_the_grace(grace: float, seconds: float, first_at: float) -> None:
    """The grace takes the first half at most."""
    assert DrainLimits(200, grace, seconds).first_at == first_at


@given(per_second=st.integers(1, 1000), grace=st.floats(0, 40), connections=st.integers(1, 5000))
def test_no_second_sees_more_than_the_pace(per_second: int, grace: float, connections: int) -> None:
    """The goodbye that follows a second's worth of others comes at least a second after their first."""
    limits = DrainLimits(per_second, grace, seconds=100)

    times = [limits.goodbye_at(index) for index in range(connections)]

    assert times[0] == limits.first_at
    assert all(end - start >= 1 - 1e-6 for start, end in zip(times, times[per_second:], strict=False))


def test_delays_fill_the_window_evenly_and_never_reach_its_end() -> None:
    """Every tenth of the window gets about a tenth of the clients."""
    random = Random(1)
    delays = [retry_after_ms(5000, random.random) for _ in range(10_000)]

    tenths = [sum(low <= delay < low + 500 for delay in delays) for low in range(0, 5000, 500)]
    assert sum(tenths) == 10_000
    assert all(900 < count < 1100 for count in tenths)
    assert retry_after_ms(5000, lambda: 1 - 2**-53) == 4999
