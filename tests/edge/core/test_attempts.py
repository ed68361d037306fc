"""Attempts: who had all of its attempts, and what an edge counts by itself."""

from __future__ import annotations

from fanwire_edge.core.attempts import Attempts


def test_an_address_has_so_many_attempts_within_a_minute_of_its_first() -> None:
    """The fourth of three waits for the end of the minute, and then there are three again."""
    attempts = Attempts(3)

    assert [attempts.count("a", 10.0 + number) for number in range(5)] == [0, 0, 0, 57, 56]
    assert attempts.count("b", 12.0) == 0
    assert [attempts.count("a", 70.0) for _ in range(4)] == [0, 0, 0, 60]


def test_who_is_known_to_be_over_is_refused_for_as_long_as_was_told() -> None:
    """Then it is unknown again."""
    attempts = Attempts(3)
    attempts.block("a", 10.0, 5.0)

    assert [attempts.wait("a", now) for now in (10.0, 14.0, 15.0, 16.0)] == [5, 1, 0, 0]
    assert attempts.wait("b", 10.0) == 0


def test_memory_is_bounded_and_keeps_who_is_not_over() -> None:
    """At the capacity those go whose time has passed; where that is nobody's, all of them."""
    attempts = Attempts(1, capacity=4)
    for number in range(3):
        attempts.block(f"old-{number}", 10.0, 1.0)
        attempts.count(f"old-{number}", 10.0)
    attempts.block("young", 10.0, 300.0)
    attempts.count("young", 60.0)

    attempts.block("one more", 80.0, 300.0)
    attempts.count("one more", 80.0)
    assert attempts.wait("young", 80.0) == 230
    assert attempts.count("young", 80.0) == 40

    for number in range(4):
        attempts.block(f"flood-{number}", 80.0, 300.0)
        attempts.count(f"flood-{number}", 80.0)
    assert attempts.wait("young", 80.0) == 0
    assert attempts.count("young", 80.0) == 0
