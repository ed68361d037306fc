"""The circuit breaker, with time that passes when a test says so."""

from __future__ import annotations

import pytest

from fanwire_edge.core.breaker import Breaker

SECONDS = 5.0


def fail(breaker: Breaker, now: float) -> None:
    entered = breaker.enter(now)
    assert entered is not None
    breaker.failed(entered, now)


def opened(failures: int = 3) -> Breaker:
    breaker = Breaker(failures, SECONDS)
    for _ in range(failures):
        fail(breaker, 0.0)
    return breaker


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_it_opens_after_so_many_failures_in_a_row(failures: int) -> None:
    """Not one earlier, and then nobody enters until the time is over."""
    breaker = Breaker(failures, SECONDS)
    for _ in range(failures):
        assert not breaker.is_open
        fail(breaker, 10.0)

    assert breaker.is_open
    assert breaker.enter(10.0) is None
    assert breaker.enter(14.999) is None
    assert breaker.enter(15.0) is not None


def test_a_success_ends_the_row() -> None:
    """Failures are counted in a row only."""
    breaker = Breaker(2, SECONDS)
    fail(breaker, 0.0)
    entered = breaker.enter(0.0)
    assert entered is not None
    breaker.succeeded(entered)
    fail(breaker, 0.0)

    assert not breaker.is_open


def test_one_request_at_a_time_tries_a_service_that_was_away() -> None:
    """While that one is under way all others are turned down; it closes the breaker for all."""
    breaker = opened()
    probe = breaker.enter(SECONDS)

    assert probe is not None
    assert breaker.enter(SECONDS + 100) is None
    assert breaker.is_open

    breaker.succeeded(probe)
    assert not breaker.is_open
    assert breaker.enter(SECONDS) == breaker.enter(SECONDS)


def test_a_try_that_fails_opens_it_for_the_whole_time_again() -> None:
    """One failure is enough, and the time counts from there."""
    breaker = opened()
    fail(breaker, 7.0)

    assert breaker.enter(11.999) is None
    assert breaker.enter(12.0) is not None


def test_a_try_that_is_given_up_leaves_its_place_to_the_next() -> None:
    """Who was cancelled has learnt nothing, and must not keep the breaker open for ever."""
    breaker = opened()
    probe = breaker.enter(SECONDS)
    assert probe is not None
    breaker.gave_up(probe)

    assert breaker.is_open
    assert breaker.enter(SECONDS) is not None


def test_what_began_before_the_last_turn_says_nothing() -> None:
    """Late answers neither close an open breaker, nor end another's try, nor open a closed one."""
    breaker = Breaker(2, SECONDS)
    early = breaker.enter(0.0)
    assert early is not None
    fail(breaker, 0.0)
    fail(breaker, 0.0)

    breaker.succeeded(early)
    assert breaker.is_open
    breaker.failed(early, 4.0)
    probe = breaker.enter(SECONDS)
    assert probe is not None, "the time does not grow"
    breaker.gave_up(early)
    assert breaker.enter(SECONDS) is None, "the try is still under way"

    breaker.succeeded(probe)
    breaker.failed(early, SECONDS)
    breaker.failed(early, SECONDS)
    assert not breaker.is_open
