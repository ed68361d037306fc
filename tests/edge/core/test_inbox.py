"""What waits for its turn, and how much of it."""

from __future__ import annotations

import pytest

from fanwire_edge.core.inbox import MAX_KEPT, MAX_PROBES, Inbox


def _emptied(inbox: Inbox[str]) -> list[str]:
    found = []
    while inbox:
        found.append(inbox.first)
        inbox.drop_first()
    return found


def test_signs_of_life_come_before_everything_else() -> None:
    """Each kind in the order in which it came."""
    inbox: Inbox[str] = Inbox()
    for message, is_sign in (("a", False), ("ping 1", True), ("b", False), ("ping 2", True)):
        assert inbox.add(message, is_sign=is_sign)

    assert inbox.is_first_sign
    assert len(inbox) == 4
    assert _emptied(inbox) == ["ping 1", "ping 2", "a", "b"]
    assert not inbox.is_first_sign
    with pytest.raises(IndexError):
        _ = inbox.first


def test_many_probes_are_as_good_as_a_few() -> None:
    """None of them is too much, and only so many wait."""
    inbox: Inbox[str] = Inbox()

    assert all(inbox.add("probe", is_sign=True, is_probe=True) for _ in range(10 * MAX_KEPT))
    assert len(inbox) == MAX_PROBES
    assert inbox.add("ping", is_sign=True)
    assert len(inbox) == MAX_PROBES + 1


@pytest.mark.parametrize("is_sign", [True, False])
def test_of_everything_else_only_so_much_waits(is_sign: bool) -> None:
    """What does not fit is told to whoever adds it, and is not kept."""
    inbox: Inbox[str] = Inbox()

    assert all(inbox.add("message", is_sign=is_sign) for _ in range(MAX_KEPT))
    assert not inbox.add("one more", is_sign=is_sign)
    assert not inbox.add("one more", is_sign=not is_sign)
    assert len(inbox) == MAX_KEPT
