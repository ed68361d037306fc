"""Crowds: who can be sent to at once."""

from __future__ import annotations

from fanwire_edge.core.crowd import Crowd
from fanwire_edge.core.hub import NO_NUMBER, Lag
from tests.edge.core.pieces import Recorder


def test_only_who_is_live_and_has_a_number_can_be_sent_to_at_once() -> None:
    """The numbers are those of the members, in their order."""
    live, behind, full, other = members = [Recorder() for _ in range(4)]
    live.number, behind.number, full.number, other.number = 7, 8, NO_NUMBER, 0
    behind.lag = Lag(0, {}, 0.0)

    crowd = Crowd(members)

    assert (crowd.members, list(crowd.numbers), crowd.others) == ((live, other), [7, 0], [behind, full])
    assert (Crowd(()).members, len(Crowd(()).numbers), Crowd(()).others) == ((), 0, [])
