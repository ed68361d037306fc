"""What others permitted, until when, and when it is asked for anew (PROTOCOL §4 `authorization.max_age`)."""

from __future__ import annotations

import pytest

from fanwire_edge.core.grants import Due, Grants
from tests.edge.core.pieces import A, B

MAX_AGE, VOID_SECONDS = 100.0, 30.0
ANNE, BOB = "anne", "bob"


def kept(max_age: float = MAX_AGE, chance: float = 0.0) -> Grants[str]:
    """Return grants whose leads are 10 s, and 25 s where *chance* is 1."""
    return Grants(max_age, VOID_SECONDS, 1.0, lambda: chance)


def visits(grants: Grants[str], until: int, since: int = 0) -> list[tuple[int, Due[str]]]:
    """Return what falls due, second by second."""
    return [(now, due) for now in range(since, until) for due in grants.due(now)]


def test_a_decision_holds_from_the_asking_on_for_its_age() -> None:
    """For its holder and channel and for nobody and nothing else."""
    grants = kept()
    grants.give(ANNE, [A], 5.0)

    assert grants.holds(ANNE, A, 104.9)
    assert not grants.holds(ANNE, A, 105.0)
    assert not grants.holds(ANNE, B, 6.0)
    assert not grants.holds(BOB, A, 6.0)
    assert (len(grants), grants.holders(), set(grants.names(ANNE)), set(grants.names(BOB))) == (
        1,
        [ANNE],
        {A},
        set(),
    )


def test_nothing_given_is_nothing_held() -> None:
    """A round in which nothing was permitted leaves nothing behind."""
    grants = kept()
    grants.give(ANNE, [], 0.0)

    assert len(grants) == 0


@pytest.mark.parametrize(("chance", "first"), [(0.0, 90), (1.0, 75)])
def test_it_falls_due_before_its_end_a_few_times_and_then_it_is_over(chance: float, first: int) -> None:
    """At moments that differ from connection to connection, so that not all ask at once."""
    grants = kept(chance=chance)
    grants.give(ANNE, [A], 0.0)

    found = visits(grants, 200)

    times = [now for now, _ in found]
    assert times[0] == first
    assert times[-1] == 100
    assert 4 <= len(times) <= 5
    assert [due for _, due in found] == [Due(ANNE, (A,), ())] * (len(times) - 1) + [Due(ANNE, (), (A,))]
    assert (len(grants), grants.due(1000.0)) == (0, [])


def test_what_is_renewed_begins_anew() -> None:
    """It is not looked at again until that falls due."""
    grants = kept()
    grants.give(ANNE, [A, B], 0.0)
    assert visits(grants, 91) == [(90, Due(ANNE, (A, B), ()))]

    grants.give(ANNE, [A], 90.0)

    assert [due for _, due in visits(grants, 150, 91)][-1] == Due(ANNE, (), (B,))
    assert grants.holds(ANNE, A, 189.0)
    assert visits(grants, 181, 150) == [(180, Due(ANNE, (A,), ()))]


def test_without_an_age_a_decision_holds_as_long_as_its_connection() -> None:
    """It never falls due; only a revocation ends it."""
    grants = kept(max_age=0.0)
    grants.give(ANNE, [A, B], 0.0)

    assert grants.due(1e9) == []
    assert grants.holds(ANNE, A, 1e9)

    grants.void(ANNE, [A], 1e9)
    assert grants.due(1e9 + 1) == [Due(ANNE, (A,), ())]
    grants.give(ANNE, [A], 1e9)
    assert grants.holds(ANNE, A, 2e9)
    assert grants.due(2e9) == []


def test_what_is_void_holds_for_nobody_and_falls_due_at_once() -> None:
    """Who is on it has half a minute in which it can be renewed."""
    grants = kept()
    grants.give(ANNE, [A, B], 0.0)

    grants.void(ANNE, [A, "x"], 10.0)
    grants.void(BOB, [A], 10.0)
    grants.void(ANNE, ["y"], 10.0)

    assert not grants.holds(ANNE, A, 10.0)
    assert grants.holds(ANNE, B, 10.0)
    found = visits(grants, 60, 10)
    assert found[0] == (10, Due(ANNE, (A,), ()))
    assert found[-1] == (40, Due(ANNE, (), (A,)))
    assert 4 <= len(found) <= 6


def test_what_was_void_holds_again_when_it_is_given_again() -> None:
    """A new decision knows of the revocation."""
    grants = kept()
    grants.give(ANNE, [A], 0.0)
    grants.void(ANNE, [A], 10.0)

    grants.give(ANNE, [A], 11.0)

    assert grants.holds(ANNE, A, 12.0)
    assert visits(grants, 100, 10) == []


def test_what_is_void_for_all_falls_due_within_a_while() -> None:
    """By chance, so that thousands of connections do not ask at once."""
    grants = kept(chance=0.5)
    grants.give(ANNE, [A], 0.0)

    grants.void(ANNE, [A], 10.0, spread_seconds=10.0)

    assert visits(grants, 16, 10) == [(15, Due(ANNE, (A,), ()))]


def test_a_void_decision_is_over_no_later_than_before() -> None:
    """Half a minute is no extension."""
    grants = kept()
    grants.give(ANNE, [A], 0.0)

    grants.void(ANNE, [A], 95.0)

    assert visits(grants, 200, 95)[-1] == (100, Due(ANNE, (), (A,)))


def test_who_leaves_leaves_nothing_behind() -> None:
    """Neither decisions nor visits; twice is no error."""
    grants = kept()
    grants.give(ANNE, [A], 0.0)
    grants.give(BOB, [A], 0.0)

    grants.forget(ANNE)
    grants.forget(ANNE)

    assert {due.holder for _, due in visits(grants, 200)} == {BOB}
    assert len(grants) == 0
    grants.forget(BOB)


def test_single_decisions_can_be_dropped() -> None:
    """With the last of them its holder is forgotten; who has none is left alone."""
    grants = kept()
    grants.give(ANNE, [A, B], 0.0)
    grants.void(ANNE, [A], 1.0)

    grants.drop(ANNE, [A, "x"])
    assert set(grants.names(ANNE)) == {B}
    grants.drop(ANNE, [B])
    grants.drop(ANNE, [B])

    assert (len(grants), visits(grants, 200)) == (0, [])


def test_one_who_is_visited_with_others_may_be_forgotten_meanwhile() -> None:
    """Both stand under the same moment."""
    grants = kept()
    for holder in (ANNE, BOB):
        grants.give(holder, [A], 0.0)
    grants.forget(BOB)

    assert [due.holder for due in grants.due(95.0)] == [ANNE]
