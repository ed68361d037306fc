"""Numbers of records: an ascending list whose oldest are forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.numbers import Numbers

bounds = st.integers(-1, 60)


@given(st.sets(st.integers(0, 50)), st.integers(0, 50), st.booleans(), bounds, bounds, st.integers(0, 5))
def test_what_was_forgotten_is_as_if_it_had_never_been(
    added: set[int], forgotten: int, is_trimmed: bool, start: int, stop: int, at_most: int
) -> None:
    """For every question, before and after its room is given back."""
    numbers = Numbers()
    numbers.extend(sorted(added))
    numbers.head = min(forgotten, len(added))
    left = sorted(added)[numbers.head :]
    if is_trimmed:
        numbers.trim()
        assert (list(numbers), numbers.head) == (left, 0)

    expected = [number for number in left if start <= number < stop]
    assert list(numbers.between(start, stop)) == expected
    assert list(numbers.backwards(start, stop)) == expected[::-1]
    assert numbers.count_between(start, stop) == len(expected)
    assert list(numbers.slice(start, stop, at_most)) == expected[:at_most]
    assert numbers.last_before(stop) == max((number for number in left if number < stop), default=None)
    beyond = [number for number in left if number >= max(start, stop)]
    assert numbers.first_where(start, lambda number: number >= stop, 99) == (beyond[0] if beyond else 99)
