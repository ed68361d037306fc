"""Lines that wait: bounded twice, in order, and what did not fit is counted."""

from __future__ import annotations

import pytest

from fanwire_edge.core.backlog import Backlog


def test_lines_come_out_as_they_went_in() -> None:
    """They stay until they are struck."""
    backlog = Backlog(10, 100)
    for line in (b"one", b"two", b"three"):
        assert backlog.add(line)

    assert backlog.oldest(2) == [b"one", b"two"]
    assert len(backlog) == 3
    backlog.strike(2)
    assert backlog.oldest(10) == [b"three"]


@pytest.mark.parametrize(("max_lines", "max_bytes"), [(2, 100), (10, 6)], ids=["lines", "bytes"])
def test_what_does_not_fit_is_lost_and_counted_once(max_lines: int, max_bytes: int) -> None:
    """What is there stays, and struck lines leave room."""
    backlog = Backlog(max_lines, max_bytes)
    kept = [backlog.add(line) for line in (b"one", b"two", b"six", b"ten")]
    assert kept == [True, True, False, False]

    assert (backlog.take_lost(), backlog.take_lost()) == (2, 0)
    assert backlog.oldest(10) == [b"one", b"two"]
    backlog.strike(1)
    assert backlog.add(b"new")
