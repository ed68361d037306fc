"""The life of a connection."""

from __future__ import annotations

from fanwire_edge.core.state import State


def test_a_connection_is_alive_until_its_end_begins_and_served_once_it_was_greeted() -> None:
    """Whoever has not joined yet keeps its commands; whoever has not said who it is, may do so."""
    assert {state for state in State if state.is_alive} == {State.OPENING, State.ANTEROOM, State.OPEN}
    assert {state for state in State if state.is_served} == {State.ANTEROOM, State.OPEN}
