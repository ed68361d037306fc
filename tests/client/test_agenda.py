"""When the server is asked again."""

from __future__ import annotations

import math

import pytest

from fanwire_client._agenda import Agenda
from fanwire_client._effects import Postponed


@pytest.mark.parametrize(
    ("random", "after_seconds", "seconds"),
    [(0.0, 0.0, 0.0), (0.5, 0.0, 2.0), (0.5, 1.0, 3.0), (1.0, 0.1, 4.25)],
)
def test_a_round_is_due_at_a_random_moment_of_its_window(
    random: float, after_seconds: float, seconds: float
) -> None:
    """Never before what the server named, and up to a quarter of a second late, to be joined by others."""
    agenda = Agenda(lambda: random)

    assert agenda.add(Postponed(7, "unavailable", after_seconds, 4.0), 100.0) == seconds
    assert agenda.next_due == 100.0 + seconds
    assert agenda.take(agenda.next_due - 0.01) == []
    assert agenda.take(agenda.next_due) == [7]
    assert agenda.next_due == math.inf


def test_rounds_come_in_their_order() -> None:
    """Those of nearly the same moment at once; a connection that is lost has none."""
    agenda = Agenda(lambda: 1.0)
    for number, window_seconds in ((1, 8.0), (2, 0.9), (3, 0.8)):
        agenda.add(Postponed(number, "expired", 0.0, window_seconds), 100.0)

    assert sorted(agenda.take(101.0)) == [2, 3]
    agenda.clear()
    assert agenda.take(200.0) == []
