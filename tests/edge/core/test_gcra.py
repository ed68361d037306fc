"""The generic cell rate: a burst at once, then the pace, for each key by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.gcra import Rates


def ask(rates: Rates[str], key: str, now: float, cost: float = 1.0) -> float:
    """Take where that may be, and return what was to be waited."""
    wait = rates.wait(key, now, cost)
    if not wait:
        rates.take(key, now, cost)
    return wait


def test_a_burst_is_given_at_once_and_then_the_time_is_told() -> None:
    """Three at two a second: the fourth may come half a second later. A refusal costs nothing."""
    rates = Rates[str](2, 3)

    assert [ask(rates, "a", 10.0) for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert ask(rates, "a", 10.25) == 0.25
    assert [ask(rates, "a", 10.5) for _ in range(2)] == [0, 0.5]


def test_keys_do_not_pay_for_each_other() -> None:
    """What one used up another one still has."""
    rates = Rates[str](1, 1)

    assert [ask(rates, key, 10.0) for key in "aabb"] == [0, 1, 0, 1]


def test_what_costs_more_than_the_burst_costs_the_burst() -> None:
    """Else it would be refused for ever."""
    rates = Rates[str](2, 10)

    assert [ask(rates, "a", 10.0, cost) for cost in (500, 500, 1)] == [0, 5, 0.5]


def test_a_rate_of_nothing_is_no_limit() -> None:
    """And nobody is remembered for it."""
    rates = Rates[str](0, 1)

    assert {ask(rates, "a", 10.0) for _ in range(1000)} == {0}
    assert len(rates) == 0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Neither then nor a second time when it comes forward again."""
    rates = Rates[str](1, 1)
    ask(rates, "a", 10.0)

    assert ask(rates, "a", 5.0) == 6.0
    assert ask(rates, "a", 10.5) == 0.5


def test_who_was_quiet_is_forgotten() -> None:
    """After two spans in which everything is paid for, whether or not somebody else comes."""
    rates = Rates[str](10, 20)
    for key in "abc":
        ask(rates, key, 10.0)
    for now in (10.5, 12.1, 14.2):
        ask(rates, "d", now)
    assert len(rates) == 1

    for now in (14.5, 16.3, 18.4, 20.5):
        rates.sweep(now)
    assert len(rates) == 0


def test_who_leaves_is_forgotten_at_once() -> None:
    """Also where that is of the generation before; who was never there is no error."""
    rates = Rates[str](10, 20)
    ask(rates, "a", 10.0)
    rates.sweep(12.1)
    ask(rates, "b", 12.2)
    assert len(rates) == 2

    for key in "abc":
        rates.forget(key)
    assert len(rates) == 0


def test_memory_is_bounded_whatever_comes() -> None:
    """Of a thousand keys at once no more than two generations are remembered."""
    rates = Rates[str](1, 1, capacity=10)
    for number in range(1000):
        ask(rates, str(number), 10.0)

    assert len(rates) == 20
    assert ask(rates, "999", 10.0) == 1.0


@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 50),
    steps=st.lists(
        st.tuples(st.floats(0, 0.5), st.integers(1, 5), st.sampled_from("ab")), min_size=1, max_size=200
    ),
)
def test_no_span_gives_more_than_the_burst_and_the_pace(
    rate: int, burst: int, steps: list[tuple[float, int, str]]
) -> None:
    """Whatever is asked for and when: of no key `burst + rate * t` is exceeded in a span of t seconds."""
    rates, now = Rates[str](rate, burst), 10.0
    taken: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}
    for step, cost, key in steps:
        now += step
        if not ask(rates, key, now, cost):
            taken[key].append((now, min(cost, burst)))

    for given_to in taken.values():
        for first in range(len(given_to)):
            total = 0
            for at, cost in given_to[first:]:
                total += cost
                assert total <= burst + rate * (at - given_to[first][0]) + 1e-3


@pytest.mark.parametrize("cost", [1, 7])
def test_waiting_as_told_is_enough(cost: int) -> None:
    """Who comes back after the time that it was told gets what it asked for."""
    rates, now = Rates[str](3, 7), 1000.0
    for _ in range(50):
        now += rates.wait("a", now, cost)
        assert rates.wait("a", now, cost) == 0
        rates.take("a", now, cost)
