"""Pacing: no delay among few, a bound on the broker's work among many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.pacing import MAX_INTERVAL_MS, UNPACED_READERS, WAKES_PER_MS, Pacing


def pacing(readers: int, min_interval_ms: int = 0) -> Pacing:
    """Return the pacing of one of so many readers."""
    found = Pacing(min_interval_ms)
    found.readers = readers
    return found


@pytest.mark.parametrize(
    ("readers", "interval_ms"),
    [(1, 0), (4, 0), (5, 1), (20, 1), (21, 2), (40, 2), (80, 4), (81, 5), (100, 5), (101, 5), (1000, 5)],
)
def test_the_interval_grows_with_the_readers(readers: int, interval_ms: int) -> None:
    """Up to four read at will, and nobody waits for more than five milliseconds."""
    assert pacing(readers).interval_ms == interval_ms


@pytest.mark.parametrize(("readers", "interval_ms"), [(1, 3), (50, 3), (90, 5)])
def test_the_setting_is_the_least(readers: int, interval_ms: int) -> None:
    """More readers raise it; fewer do not lower it."""
    assert pacing(readers, 3).interval_ms == interval_ms


@given(readers=st.integers(UNPACED_READERS + 1, MAX_INTERVAL_MS * WAKES_PER_MS))
def test_all_readers_together_keep_the_bound(readers: int) -> None:
    """At most twenty wakes a millisecond, as long as the interval may grow."""
    assert readers / pacing(readers).interval_ms <= WAKES_PER_MS


def test_few_readers_never_wait() -> None:
    """However fast reads follow each other."""
    alone = pacing(1)

    assert [alone.pause(10.0) for _ in range(3)] == [0, 0, 0]


def test_reads_are_as_far_apart_as_the_interval() -> None:
    """What time passed already counts, and a pause is of whole milliseconds."""
    paced = pacing(40)

    assert paced.pause(10.0) == 0
    assert paced.pause(10.0) == 0.002
    # That read is made at 10.002.
    assert paced.pause(10.002) == 0.002
    assert paced.pause(10.0055) == 0.001
    assert paced.pause(10.0085) == 0


@given(now=st.floats(0, 1e6), rest=st.floats(0.0021, 1e4))
def test_after_a_rest_an_event_is_read_at_once(now: float, rest: float) -> None:
    """Pacing delays no one who is not busy."""
    paced = pacing(40)
    paced.pause(now)

    assert paced.pause(now + rest) == 0
