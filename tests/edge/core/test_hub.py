"""Who is subscribed to what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.hub import Hub, Lag
from fanwire_edge.core.replay import Replay
from tests.edge.core.pieces import JOBS, ORDERS, A, B, Recorder, place


def test_subscribing_twice_is_the_same_as_once() -> None:
    """The member is there once, counted once, and gone after leaving once."""
    hub, member = Hub(), Recorder()

    hub.subscribe(member, A)
    hub.subscribe(member, A)

    assert (hub.by_key, hub.subscriptions) == ({A: {member: member.write}}, 1)
    assert hub.unsubscribe(member, A) is True
    assert hub.unsubscribe(member, A) is False
    assert (hub.by_key, hub.subscriptions) == ({}, 0)


def test_who_leaves_is_on_nothing_and_the_others_stay() -> None:
    """A key whose last member left is gone, so that nothing is encoded for nobody."""
    hub = Hub()
    leaving, staying = Recorder(hub, {A, B}), Recorder(hub, {A})

    hub.leave(leaving)
    hub.leave(leaving)

    assert (hub.by_key, hub.subscriptions, leaving.keys) == ({A: {staying: staying.write}}, 1, set())


def test_the_bytes_of_one_that_is_behind_go_to_its_lag() -> None:
    """On every key it is on or joins meanwhile, until it is level; who leaves is not behind any more."""
    hub = Hub()
    member, other = Recorder(hub, {A}), Recorder(hub, {A})
    lag = Lag(0, {}, 0.0)

    hub.hold(member, lag)
    hub.subscribe(member, B)
    for sinks in hub.by_key.values():
        sinks[member](b"abc")
    assert (member.writes, lag.size_bytes, hub.held) == ([], 6, 1)

    hub.release(member)
    assert hub.by_key == {A: {member: member.write, other: other.write}, B: {member: member.write}}
    assert (member.lag, hub.held) == (None, 0)

    hub.hold(member, lag)
    hub.leave(member)
    assert (member.lag, hub.held, hub.by_key) == (None, 0, {A: {other: other.write}})


def test_the_places_of_a_lag_are_those_on_the_wire() -> None:
    """A replay that is not over holds its streams back; the others are where the log was read up to."""
    positions = {ORDERS: place(9), JOBS: place(9)}
    replay = Replay({A}, {ORDERS: place(4), JOBS: place(9)}, positions)

    assert Lag(0, positions, 0.0).places == positions
    assert Lag(0, positions, 0.0, replay=replay).places == {ORDERS: place(4), JOBS: place(9)}


steps = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.sampled_from("+-x")))


@given(steps)
def test_the_hub_is_the_inverse_of_its_members_keys(steps: list[tuple[int, str, str]]) -> None:
    """Whatever is joined and left, both sides agree, and the count with them."""
    hub, members = Hub(), [Recorder() for _ in range(3)]
    model: set[tuple[int, str]] = set()
    for number, key, step in steps:
        if step == "+":
            hub.subscribe(members[number], key)
            model.add((number, key))
        elif step == "-":
            assert hub.unsubscribe(members[number], key) is ((number, key) in model)
            model.discard((number, key))
        else:
            hub.leave(members[number])
            model = {pair for pair in model if pair[0] != number}

    assert {(n, key) for n, member in enumerate(members) for key in member.keys} == model
    assert {(members.index(m), key) for key, on in hub.by_key.items() for m in on} == model  # type: ignore[arg-type]
    assert (hub.subscriptions, all(hub.by_key.values())) == (len(model), True)
