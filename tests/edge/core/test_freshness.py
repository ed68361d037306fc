"""When published things are fetched, with time that passes when a test says so."""

from __future__ import annotations

import pytest

from fanwire_edge.core.freshness import EARLY, FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, Freshness, Lifetimes

LIFETIMES = Lifetimes(max_age=300.0, max_stale=3600.0, cooldown=30.0)


def test_before_the_first_fetch_nothing_serves_and_it_is_due() -> None:
    """Nothing is believed that was never seen."""
    freshness = Freshness(LIFETIMES)

    assert not freshness.serves(0.0)
    assert not freshness.is_failing
    assert freshness.due_in(1000.0) == 0.0


@pytest.mark.parametrize(("chance", "due"), [(0.0, 300.0), (0.5, 270.0), (0.999, 300 * (1 - EARLY * 0.999))])
def test_what_was_fetched_is_due_again_at_its_age_or_somewhat_earlier(chance: float, due: float) -> None:
    """Edges that started together do not ask together for ever."""
    freshness = Freshness(LIFETIMES)
    freshness.fetched(1000.0, chance)

    assert freshness.due_in(1000.0) == pytest.approx(due)
    assert freshness.due_in(1100.0) == pytest.approx(due - 100)
    assert freshness.due_in(2000.0) == 0.0


def test_it_serves_until_it_is_too_old_however_often_fetching_fails() -> None:
    """Failing shortens nothing, and lengthens nothing."""
    freshness = Freshness(LIFETIMES)
    freshness.fetched(0.0, 0.0)
    freshness.failed(3599.0, 0.0)

    assert freshness.serves(3600.0)
    assert not freshness.serves(3600.1)
    freshness.fetched(3700.0, 0.0)
    assert freshness.serves(3700.0)


def test_pauses_after_failures_double_up_to_a_bound_and_begin_anew_after_a_success() -> None:
    """An issuer that comes back is found within half a minute, and not overrun."""
    freshness = Freshness(LIFETIMES)
    pauses = []
    for _ in range(9):
        freshness.failed(0.0, 1.0)
        pauses.append(freshness.due_in(0.0))
    assert freshness.is_failing
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == MAX_PAUSE_SECONDS

    freshness.failed(0.0, 0.0)
    assert freshness.due_in(0.0) == MAX_PAUSE_SECONDS / 2

    freshness.fetched(0.0, 0.0)
    assert not freshness.is_failing
    freshness.failed(0.0, 1.0)
    assert freshness.due_in(0.0) == FIRST_PAUSE_SECONDS


def test_a_pause_is_never_longer_than_the_age_that_is_wanted() -> None:
    """Who wants it every second tries every second."""
    freshness = Freshness(Lifetimes(1.0, 10.0, 1.0))
    for _ in range(9):
        freshness.failed(0.0, 1.0)

    assert freshness.due_in(0.0) == 1.0


def test_out_of_turn_it_is_asked_for_once_in_a_while() -> None:
    """However many want it; only those who were let count."""
    freshness = Freshness(LIFETIMES)

    assert freshness.may_ask(100.0)
    assert not any(freshness.may_ask(100.0 + second) for second in range(30))
    assert freshness.may_ask(130.0)
