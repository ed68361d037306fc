"""Refusals in the audit log: the first of everybody in every minute, then their number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.audit import AuditRecord
from fanwire_edge.core.denials import LINES_EACH, MAX_WHO, WINDOW_SECONDS, Denials

REFUSAL = AuditRecord(
    5.0, "denied", client_id="c-1", user="u-1", where="subscribe", channel="x", code="forbidden", reason="no"
)


def test_the_first_refusals_get_a_line_each_and_the_others_one_together() -> None:
    """The line with the number says who and where, but no longer what."""
    denials = Denials()
    written = [denials.take("c-1", REFUSAL, now=10.0) for _ in range(LINES_EACH + 5)]
    assert written == [[REFUSAL]] * LINES_EACH + [[]] * 5
    assert denials.due(10.0 + WINDOW_SECONDS - 1) == []

    (counted,) = denials.due(10.0 + WINDOW_SECONDS)

    assert (counted.event, counted.where, counted.client_id, counted.count) == (
        "denied",
        "subscribe",
        "c-1",
        5,
    )
    assert (counted.channel, counted.code) == (None, None)
    assert counted.reason is not None
    assert "number" in counted.reason
    assert denials.due(1000.0) == []


def test_a_new_window_gives_new_lines() -> None:
    """Behind the number that the window before left, which does not wait for anybody to ask for it."""
    denials = Denials()
    for _ in range(LINES_EACH + 1):
        denials.take("c-1", REFUSAL, now=0.0)

    counted, fresh = denials.take("c-1", REFUSAL, now=WINDOW_SECONDS)

    assert counted.count == 1
    assert fresh is REFUSAL
    assert denials.rest() == []


def test_one_who_is_refused_often_hides_nobody_else() -> None:
    """Everybody has lines of their own."""
    denials = Denials()
    for _ in range(1000):
        denials.take("c-1", REFUSAL, now=0.0)

    assert denials.take("c-2", REFUSAL, now=0.0) == [REFUSAL]


def test_those_who_are_too_many_share_the_lines_of_one() -> None:
    """Nobody is named in the number that is left of them."""
    denials = Denials()
    for number in range(MAX_WHO):
        assert denials.take(f"c-{number}", REFUSAL, now=0.0) == [REFUSAL]
    lines = [denials.take(f"d-{number}", REFUSAL, now=0.0) for number in range(LINES_EACH + 3)]
    assert lines == [[REFUSAL]] * LINES_EACH + [[]] * 3

    (counted,) = denials.rest()

    assert (counted.client_id, counted.user, counted.count) == (None, None, 3)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 10)), max_size=300))
def test_every_refusal_is_in_a_line_or_in_a_number(steps: list[tuple[str, float]]) -> None:
    """Whoever is refused when: nothing is left out, and no window has more lines than it may."""
    denials, now, lines, counted = Denials(), 0.0, 0, 0
    for who, seconds in steps:
        now += seconds
        for record in denials.take(who, REFUSAL, now):
            lines += record.count is None
            counted += record.count or 0
    counted += sum(record.count or 0 for record in denials.rest())

    assert lines + counted == len(steps)
    assert lines <= 4 * LINES_EACH * (now // WINDOW_SECONDS + 1)
