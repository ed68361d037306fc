"""Restarts: soon at first, later for one that cannot live, and never all at the same time."""

from __future__ import annotations

import pytest

from fanwire_edge.core.restarts import FIRST_SECONDS, MAX_SECONDS, STEADY_SECONDS, Restarts


def test_the_bound_doubles_with_each_end_in_a_row() -> None:
    """From half a second to half a minute."""
    restarts = Restarts()

    assert [restarts.delay(1, 1.0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert (FIRST_SECONDS, MAX_SECONDS) == (0.5, 30)


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_the_delay_is_anywhere_below_the_bound(chance: float) -> None:
    """Workers that ended together do not come back together."""
    restarts = Restarts()

    assert [restarts.delay(1, chance) for _ in range(3)] == [0.5 * chance, chance, 2 * chance]


def test_who_lived_for_long_begins_a_new_row() -> None:
    """A crash a day is one crash, not a row."""
    restarts = Restarts()
    for _ in range(5):
        restarts.delay(1, 1.0)

    assert restarts.delay(STEADY_SECONDS, 1.0) == FIRST_SECONDS
    assert restarts.delay(1, 1.0) == 2 * FIRST_SECONDS
