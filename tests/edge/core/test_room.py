"""What an entrypoint stands for."""

from __future__ import annotations

from fanwire_edge.core.room import PLAIN, Room


def test_who_came_through_no_entrypoint_is_in_a_room_without_channels() -> None:
    """And is told nothing more."""
    assert (PLAIN.channels, PLAIN.fields) == ((), {})
    assert Room(("tenant:acme:resource:orders:1",)) != PLAIN
