"""What is remembered, for how long, and how much of it."""

from __future__ import annotations

from fanwire_edge.core.memo import Memo


def test_a_value_is_kept_until_its_time() -> None:
    """At its end it is gone, and no memory of it stays."""
    memo: Memo[str] = Memo(10)
    memo.keep(b"a", "value", now=1.0, until=3.0)

    assert memo.recall(b"a", 2.9) == "value"
    assert memo.recall(b"b", 2.9) is None
    assert memo.recall(b"a", 3.0) is None
    assert len(memo) == 0


def test_what_is_over_already_is_not_kept_and_takes_the_old_value_along() -> None:
    """Zero seconds of memory are no memory."""
    memo: Memo[str] = Memo(10)
    memo.keep(b"a", "old", now=1.0, until=3.0)
    memo.keep(b"a", "new", now=2.0, until=2.0)

    assert memo.recall(b"a", 2.0) is None


def test_the_least_recently_needed_is_forgotten_first() -> None:
    """However many come, no more than the limit stay."""
    memo: Memo[int] = Memo(2)
    memo.keep(b"a", 1, now=0.0, until=9.0)
    memo.keep(b"b", 2, now=0.0, until=9.0)
    memo.recall(b"a", 1.0)
    memo.keep(b"c", 3, now=1.0, until=9.0)

    assert [memo.recall(key, 1.0) for key in (b"a", b"b", b"c")] == [1, None, 3]
    assert len(memo) == 2
