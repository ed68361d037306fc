"""Heartbeats, silence and expiry."""

from __future__ import annotations

import pytest

from fanwire_edge.core.wheel import Turn, Wheel


class Rider:
    def __init__(self, expires_tick: int | None = None) -> None:
        self.seen_tick = -1
        self.slot = -1
        self.expires_tick = expires_tick


def turned(wheel: Wheel[Rider], ticks: int) -> list[Turn[Rider]]:
    return [wheel.turn() for _ in range(ticks)]


def pinged_at(turns: list[Turn[Rider]], rider: Rider, first: int = 1) -> list[int]:
    return [tick for tick, turn in enumerate(turns, first) if rider in turn.ping]


def test_a_rider_is_pinged_a_whole_interval_after_it_came_and_then_once_an_interval() -> None:
    """PINGs are spread over the ticks as the connections were."""
    wheel: Wheel[Rider] = Wheel(3, 100)
    early, late = Rider(), Rider()
    wheel.add(early)
    turns = turned(wheel, 2)
    wheel.add(late)
    turns += turned(wheel, 7)

    assert pinged_at(turns, early) == [3, 6, 9]
    assert pinged_at(turns, late) == [5, 8]


def test_a_rider_that_was_never_heard_is_silent_when_the_timeout_is_over() -> None:
    """It is not pinged any more then."""
    wheel: Wheel[Rider] = Wheel(30, 60)
    rider = Rider()
    wheel.add(rider)
    turns = turned(wheel, 60)

    assert pinged_at(turns, rider) == [30]
    assert [turn.silent for turn in turns] == [[]] * 59 + [[rider]]


def test_silence_is_counted_from_the_last_sign_and_not_from_the_visit() -> None:
    """Heard at tick 31 and never again, it is silent at 91 although its visits are at 90 and 120."""
    wheel: Wheel[Rider] = Wheel(30, 60)
    rider = Rider()
    wheel.add(rider)
    turned(wheel, 31)
    rider.seen_tick = 31
    turns = turned(wheel, 60)

    assert [tick for tick, turn in enumerate(turns, 32) if turn.silent] == [91]


def test_a_rider_heard_in_time_is_not_silent() -> None:
    """A doubt that was noted at its visit ends with the next sign of life."""
    wheel: Wheel[Rider] = Wheel(4, 6)
    rider = Rider()
    wheel.add(rider)
    turned(wheel, 4)
    rider.seen_tick = 5

    assert [turn.silent for turn in turned(wheel, 6)] == [[]] * 6
    assert wheel.turn().silent == [rider]


def test_a_rider_that_left_is_asked_nothing() -> None:
    """Neither pinged, nor silent, nor expired; leaving twice, or without having come, is no error."""
    wheel: Wheel[Rider] = Wheel(4, 6)
    rider, other = Rider(expires_tick=6), Rider(expires_tick=6)
    wheel.add(rider)
    wheel.add(other)
    turned(wheel, 4)
    wheel.remove(rider)
    wheel.remove(rider)
    wheel.remove(Rider())
    wheel.remove(Rider(expires_tick=99))
    turns = turned(wheel, 2)

    assert turns == [Turn([], [], [], []), Turn([], [other], [other], [])]
    wheel.remove(other)
    assert turned(wheel, 8) == [Turn([], [], [], [])] * 8


def test_a_credential_ends_on_its_tick() -> None:
    """The last one to leave before takes the tick with it; a tick that has passed means the next one."""
    wheel: Wheel[Rider] = Wheel(10, 100)
    first, second, gone, never = Rider(2), Rider(2), Rider(3), Rider()
    for rider in (first, second, gone, never):
        wheel.add(rider)
    wheel.remove(gone)
    turns = turned(wheel, 3)
    late = Rider(1)
    wheel.add(late)
    turns.append(wheel.turn())

    assert [set(turn.expired) for turn in turns] == [set(), {first, second}, set(), {late}]


def test_after_a_stall_what_expired_meanwhile_ends_at_the_first_turn() -> None:
    """All of it at once, by the clock and not by the turns; the time goes on from there."""
    wheel: Wheel[Rider] = Wheel(10, 100, time=1000)
    first, second, later = Rider(1003), Rider(1040), Rider(1052)
    for rider in (first, second, later):
        wheel.add(rider)

    assert wheel.turn(passed=50).expired == [first, second]
    assert (wheel.tick, wheel.time) == (1, 1050)
    assert [turn.expired for turn in turned(wheel, 2)] == [[], [later]]


def told_at(turns: list[Turn[Rider]], rider: Rider) -> tuple[list[int], list[int]]:
    """Return at which ticks *rider* was told that it will expire, and expired."""
    return (
        [tick for tick, turn in enumerate(turns, 1) if rider in turn.expiring],
        [tick for tick, turn in enumerate(turns, 1) if rider in turn.expired],
    )


def test_expiry_is_told_ahead_and_once() -> None:
    """Whoever comes later than that is told at the next tick; whose credential ends with it, is not told."""
    wheel: Wheel[Rider] = Wheel(30, 100, notice=4)
    early, late, last, never = Rider(10), Rider(3), Rider(1), Rider()
    for rider in (early, late, last, never):
        wheel.add(rider)
    turns = turned(wheel, 12)

    assert told_at(turns, early) == ([6], [10])
    assert told_at(turns, late) == ([1], [3])
    assert told_at(turns, last) == ([], [1])
    assert told_at(turns, never) == ([], [])


def test_who_waits_to_say_who_it_is_is_told_nothing() -> None:
    """Its time ends without notice."""
    wheel: Wheel[Rider] = Wheel(30, 100, notice=4)
    stranger = Rider(6)
    wheel.add(stranger, is_told=False)

    assert told_at(turned(wheel, 8), stranger) == ([], [6])


def test_a_new_credential_moves_both_ends() -> None:
    """Whether the old one's was told already or not; one that never ends takes them away."""
    wheel: Wheel[Rider] = Wheel(30, 100, notice=4)
    told, untold, freed, bound = Rider(6), Rider(20), Rider(7), Rider()
    for rider in (told, untold, freed, bound):
        wheel.add(rider)
    before = turned(wheel, 3)
    assert [wheel.is_expiring(rider) for rider in (told, untold, freed, bound)] == [True, False, True, False]
    wheel.renew(told, 16)
    wheel.renew(untold, 5)
    wheel.renew(freed, None)
    wheel.renew(bound, 9)
    turns = before + turned(wheel, 20)

    assert told_at(turns, told) == ([2, 12], [16])
    assert told_at(turns, untold) == ([4], [5])
    assert told_at(turns, freed) == ([3], [])
    assert told_at(turns, bound) == ([5], [9])


@pytest.mark.parametrize("at", [0, 3, 7])
def test_who_leaves_is_told_nothing(at: int) -> None:
    """Before the notice and after it; nothing of it is kept, and who shares its tick is told all the same."""
    wheel: Wheel[Rider] = Wheel(30, 100, notice=4)
    gone, stays = Rider(9), Rider(9)
    wheel.add(gone)
    wheel.add(stays)
    turns = turned(wheel, at)
    wheel.remove(gone)
    turns += turned(wheel, 10 - at)

    assert told_at(turns, gone) == ([5] if at == 7 else [], [])
    assert told_at(turns, stays) == ([5], [9])
    assert not wheel.is_expired(Rider())
    assert not wheel._due


def test_after_a_stall_nobody_is_told_what_has_happened_already() -> None:
    """Who has expired meanwhile has expired; who has not is told late."""
    wheel: Wheel[Rider] = Wheel(30, 100, notice=4)
    over, near = Rider(10), Rider(22)
    wheel.add(over)
    wheel.add(near)
    turn = wheel.turn(passed=20)

    assert (turn.expiring, turn.expired) == ([near], [over])
    assert wheel.turn(passed=2).expired == [near]


def test_a_stall_of_ours_is_no_silence_of_theirs() -> None:
    """Their signs of life were in the socket; silence is counted in turns, in which we listened."""
    wheel: Wheel[Rider] = Wheel(3, 5)
    rider = Rider()
    wheel.add(rider)

    assert wheel.turn(passed=60).silent == []
    assert [bool(turn.silent) for turn in turned(wheel, 4)] == [False, False, False, True]
