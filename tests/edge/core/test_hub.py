"""Who is subscribed to what."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.hub import NO_NUMBER, Hub, Lag
from fanwire_edge.core.replay import Replay
from tests.edge.core.pieces import JOBS, ORDERS, READABLE, A, B, Readable, Recorder, by_key, place


def test_subscribing_twice_is_the_same_as_once() -> None:
    """The member is there once, counted once, and gone after leaving once."""
    hub, member = Hub(), Recorder()

    hub.subscribe(member, A)
    hub.subscribe(member, A)

    assert (by_key(hub), hub.subscriptions) == ({A: {member: None}}, 1)
    assert hub.unsubscribe(member, A) is True
    assert hub.unsubscribe(member, A) is False
    assert (by_key(hub), hub.subscriptions) == ({}, 0)


def test_who_leaves_is_on_nothing_and_the_others_stay() -> None:
    """A key whose last member left is gone, so that nothing is encoded for nobody."""
    hub = Hub()
    leaving, staying = Recorder(hub, {A, B}), Recorder(hub, {A})

    hub.leave(leaving)
    hub.leave(leaving)

    assert (by_key(hub), hub.subscriptions, leaving.keys) == ({A: {staying: None}}, 1, ())


def test_one_that_is_behind_is_so_until_it_is_level_or_leaves() -> None:
    """It stays on its keys; each of these is a change."""
    hub = Hub()
    member, other = Recorder(hub, {A}), Recorder(hub, {A})
    lag = Lag(0, {}, 0.0)

    hub.hold(member, lag)
    hub.subscribe(member, B)
    assert (member.lag, hub.held) == (lag, 1)
    lag.hold(b"abc")
    lag.hold(b"de")
    assert lag.size_bytes == 5

    hub.release(member)
    assert by_key(hub) == {A: {member: None, other: None}, B: {member: None}}
    assert (member.lag, hub.held) == (None, 0)

    hub.hold(member, lag)
    hub.leave(member)
    assert (member.lag, hub.held, by_key(hub)) == (None, 0, {A: {other: None}})


def test_the_places_of_a_lag_are_those_on_the_wire() -> None:
    """A replay that is not over holds its streams back; the others are where the log was read up to."""
    positions = {ORDERS: place(9), JOBS: place(9)}
    replay = Replay({A}, {ORDERS: place(4), JOBS: place(9)}, positions)

    assert Lag(0, positions, 0.0).places == positions
    assert Lag(0, positions, 0.0, replay=replay).places == {ORDERS: place(4), JOBS: place(9)}


def test_who_is_alone_on_many_keys_has_one_mapping_for_all_of_them() -> None:
    """Where somebody joins one of the keys, the others stay as they are; and so when that one leaves."""
    hub = Hub()
    first = Recorder(hub, {A})
    second = Recorder(hub, {A})
    for key in ("x", "y", "z"):
        hub.subscribe(first, key)
    assert by_key(hub)["x"] is by_key(hub)["y"] is by_key(hub)["z"]

    hub.subscribe(second, "y")
    hub.unsubscribe(first, "z")
    assert by_key(hub) == {
        A: {first: None, second: None},
        "x": {first: None},
        "y": {first: None, second: None},
    }
    hub.unsubscribe(second, "y")
    assert by_key(hub) == {A: {first: None, second: None}, "x": {first: None}, "y": {first: None}}


def test_a_crowd_is_as_it_is_until_the_hub_changes() -> None:
    """Whoever has a number and is live can be sent to at once; each change makes another crowd."""
    hub = Hub()
    members = [Recorder(hub, {A}) for _ in range(4)]
    for number, member in enumerate(members):
        member.number = number + 10
    hub.hold(members[1], Lag(0, {}, 0.0))
    members[2].number = NO_NUMBER
    hub.redirect()

    crowd = hub.crowd(READABLE, A)
    assert (crowd.members, list(crowd.numbers)) == ((members[0], members[3]), [10, 13])
    assert crowd.others == [members[1], members[2]]
    assert hub.crowd(READABLE, A) is crowd
    assert hub.crowd(READABLE, B).members == hub.crowd(Readable("msgpack"), A).members == ()

    for number in range(1024):
        hub.crowd(READABLE, str(number))
    assert hub.crowd(READABLE, A) is not crowd

    changes: list[Callable[[], object]] = [
        lambda: hub.subscribe(members[0], B),
        lambda: hub.unsubscribe(members[0], B),
        lambda: hub.hold(members[0], Lag(0, {}, 0.0)),
        lambda: hub.release(members[0]),
        lambda: hub.leave(members[0]),
        hub.redirect,
    ]
    for change in changes:
        before = hub.crowd(READABLE, A)
        change()
        assert hub.crowd(READABLE, A) is not before


def test_a_member_may_be_on_hundreds_of_keys() -> None:
    """Looking one up does not become slower with them; leaving takes off all."""
    hub, keys = Hub(), [f"key-{number}" for number in range(40)]
    member = Recorder(hub, keys)

    for key in keys[:30]:
        assert hub.unsubscribe(member, key)
    assert (set(member.keys), len(member.keys), type(member.keys)) == (set(keys[30:]), 10, set)

    hub.leave(member)
    assert (by_key(hub), hub.subscriptions, len(member.keys)) == ({}, 0, 0)


def test_who_speaks_different_dialects_stands_apart() -> None:
    """A dialect that nobody speaks any more is gone; a channel counts once, whoever is on it."""
    hub, other = Hub(), Readable("msgpack")
    assert (hub.by_dialect, hub.channels) == ({}, 0)

    first, second = Recorder(hub, {A, B}), Recorder(hub, {A}, other)
    assert hub.by_dialect == {
        READABLE: {A: {first: None}, B: {first: None}},
        other: {A: {second: None}},
    }
    assert hub.channels == 2

    hub.leave(second)
    assert (list(hub.by_dialect), hub.channels) == ([READABLE], 2)


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
    assert {(members.index(m), key) for key, on in by_key(hub).items() for m in on} == model  # type: ignore[arg-type]
    assert (hub.subscriptions, all(by_key(hub).values())) == (len(model), True)
