"""The token bucket: a burst at once, then the pace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.bucket import TokenBucket


def test_a_burst_is_given_at_once_and_then_the_time_is_told() -> None:
    """Three tokens at two a second: the fourth is there half a second later."""
    bucket = TokenBucket(2, 3)

    assert [bucket.take(10.0) for _ in range(4)] == [None, None, None, 0.5]
    assert bucket.take(10.25) == 0.25
    assert bucket.take(10.5) is None
    assert bucket.take(10.5) == 0.5


def test_rest_fills_no_more_than_the_burst() -> None:
    """A day without a guest is worth as much as a second."""
    bucket = TokenBucket(2, 3)
    bucket.take(0.0)

    assert [bucket.take(86_400.0) for _ in range(4)] == [None, None, None, 0.5]


def test_a_refusal_costs_nothing() -> None:
    """Who asks again and again keeps nobody out, not even itself."""
    bucket = TokenBucket(1, 1)
    bucket.take(0.0)
    for tenth in range(1, 10):
        assert bucket.take(tenth / 10) == pytest.approx(1 - tenth / 10)

    assert bucket.take(1.0) is None


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Neither then, nor a second time when it comes forward again."""
    bucket = TokenBucket(1, 1)
    bucket.take(10.0)

    assert bucket.take(5.0) == 1.0
    assert bucket.take(10.5) == 0.5


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 0.2), min_size=1, max_size=300),
)
def test_no_span_gives_more_than_the_burst_and_the_pace(rate: int, burst: int, steps: list[float]) -> None:
    """Whatever the times of asking, `burst + rate * t` is never exceeded in a span of t seconds."""
    bucket, now, taken = TokenBucket(rate, burst), 0.0, list[float]()
    for step in steps:
        now += step
        if bucket.take(now) is None:
            taken.append(now)

    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first]) + 1e-6
