"""Promises of the fan-out and of connections that are live or behind (PROTOCOL §6 "Delivery").

Whatever is published, subscribed, split, interrupted and drained: each connection gets each event once for
each channel it is on, in the order of the topic's log; and wherever its bytes are cut, no position that the
client holds by then hides an event that did not reach it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core import fanout, reading
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.stream import Stream
from fanwire_protocol.commands import Command, Ping, Subscribe, Unsubscribe
from fanwire_protocol.event import Event
from tests.edge.core.memory_edge import DIALECTS, MemoryEdge, MemoryMember
from tests.edge.core.observer import Observer
from tests.edge.core.pieces import event, texts_in

PARTITIONS = 2
TENANTS = ("acme", "globex", "t-2")
STREAMS = (
    *(Stream(topic, partition) for topic in ("orders", "jobs", "direct") for partition in range(PARTITIONS)),
    Stream("system", 0),
)
GENEROUS = 10**9


@dataclass(frozen=True, slots=True)
class Published:
    """What somebody publishes; `size` is that of the payload."""

    topic: str
    tenant: str
    resource: tuple[str, str] | None
    to: tuple[str, ...] | None
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that are read at once, and what happens between the writes of their delivery.

    The first `lost` are trimmed before the edge could read them.
    """

    published: tuple[Published, ...]
    interruptions: tuple[tuple[int, str, str], ...]
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Act:
    """What one member does, or what happens to it."""

    member: int
    what: str
    name: str


class World:
    """An edge and the members that joined it."""

    def __init__(self, log_bytes: int) -> None:
        self.edge = MemoryEdge(STREAMS, PARTITIONS, log_bytes)
        self.members: list[MemoryMember] = []
        self._ids = itertools.count(1)

    def join(self, tenant: str, high_water: int) -> None:
        patterns = (f"tenant:{tenant}:resource:*",)
        principal = Principal("u-1", tenant, roles=("staff",), patterns=patterns)
        dialect = DIALECTS[len(self.members) % len(DIALECTS)]
        self.members.append(MemoryMember(self.edge, principal, high_water, dialect))

    def act(self, act: Act) -> None:
        member = self.members[act.member % len(self.members)]
        match act.what:
            case "drain a little":
                member.drain(300)
            case "drain":
                member.drain(GENEROUS)
            case "turn":
                member.carry_on()
            case "close":
                member.close()
            case _:
                member.take(self._command(act, member.session.principal.tenant))

    def _command(self, act: Act, tenant: str) -> Command:
        if act.what == "ping":
            return Ping()
        name = f"tenant:{tenant}:{act.name}"
        return Subscribe((name,)) if act.what == "subscribe" else Unsubscribe((name,))

    def deliver(self, batch: Batch) -> None:
        for number, published in enumerate(batch.published):
            tenant = None if published.topic == "system" else published.tenant
            stream = next(s for s in STREAMS if s.topic == published.topic and s.feeds(published.tenant, 2))
            happened: Event = event(
                next(self._ids),
                tenant=tenant,
                resource=published.resource if tenant else None,
                to=published.to if tenant else ("all",),
                payload="x" * published.size,
            )
            if number < batch.lost:
                self.edge.lose(stream, [happened])
            else:
                self.edge.publish(stream, happened)
        self.edge.deliver(self._interruption(*each) for each in batch.interruptions)

    def _interruption(self, member: int, what: str, name: str) -> Callable[[], None]:
        return lambda: self.act(Act(member, what, name))

    def settle(self) -> None:
        """Let everyone read until all is level, and ask where they stand."""
        for member in self.members:
            while not member.is_closed and (member.lag is not None or member.is_paused):
                member.drain(GENEROUS)
                member.carry_on()
            member.take(Ping())

    def observe(self, member: MemoryMember, size: int | None = None) -> Observer:
        """Return what the client of *member* saw of the first *size* bytes."""
        tenant = member.session.principal.tenant
        streams = self.edge.truth.streams
        seen = Observer({s.topic: streams[s] for s in STREAMS if s.feeds(tenant, PARTITIONS)})
        seen.watch(bytes(member.wire[:size]))
        return seen


RESOURCES = [("orders", "1"), ("orders", "2"), ("jobs", "1")]
TARGETS = [("all",), ("user", "u-1"), ("role", "staff"), ("connection", "c-1"), ("user", "u-2")]
NAMES = ["resource:orders:1", "resource:orders:2", "resource:orders:*", "resource:*", "resource:jobs:1"]
published = st.builds(
    Published,
    st.sampled_from(["orders", "orders", "jobs", "direct", "system"]),
    st.sampled_from(TENANTS),
    st.sampled_from([None, *RESOURCES]),
    st.sampled_from([None, None, *TARGETS]),
    st.sampled_from([0, 0, 150, 40_000]),
)
members = st.integers(0, 3)
whats = st.sampled_from(
    ["subscribe"] * 4 + ["unsubscribe", "ping", "drain", "drain a little", "turn", "turn", "close"]
)
interruptions = st.lists(st.tuples(members, whats, st.sampled_from(NAMES)), max_size=4).map(tuple)
batches = st.builds(
    Batch,
    st.lists(published, max_size=8).map(tuple),
    interruptions,
    st.sampled_from([0, 0, 0, 1, 2]),
)
acts = st.builds(Act, members, whats, st.sampled_from(NAMES))
joins = st.tuples(st.sampled_from(TENANTS), st.sampled_from([200, 3000, 60_000, GENEROUS]))
steps = st.lists(st.one_of(batches, batches, acts, acts, joins), max_size=25)


def live_through(
    first: Sequence[tuple[str, int]], steps: Sequence[Batch | Act | tuple[str, int]], log_bytes: int
) -> World:
    with pytest.MonkeyPatch.context() as patch:
        # A look at the clock after every member and short portions, so that few of each show everything.
        patch.setattr(fanout, "_STRIDE", 1)
        patch.setattr(reading, "_MAX_RECORDS", 2)
        world = World(log_bytes)
        for tenant, high_water in first:
            world.join(tenant, high_water)
        for step in steps:
            match step:
                case Batch():
                    world.deliver(step)
                case Act():
                    world.act(step)
                case (tenant, high_water):
                    world.join(tenant, high_water)
        world.settle()
    return world


@settings(deadline=None)
@given(st.lists(joins, min_size=1, max_size=3), steps)
def test_each_event_comes_once_in_order_and_no_position_hides_one(
    first: list[tuple[str, int]], steps: list[Batch | Act | tuple[str, int]]
) -> None:
    """Live, behind, and whatever is said and done meanwhile; in the end nothing is left undelivered."""
    world = live_through(first, steps, GENEROUS)

    for member in world.members:
        seen = world.observe(member)
        assert (member.mask, seen.begun) == (0, {}) or member.is_closed
        if not member.is_closed:
            assert seen.settled == seen.held == {topic: len(log) for topic, log in seen.topics.items()}


@settings(deadline=None)
@given(st.lists(joins, min_size=1, max_size=3), steps, st.floats(0, 1))
def test_a_cut_anywhere_leaves_a_client_that_knows_what_it_lacks(
    first: list[tuple[str, int]], steps: list[Batch | Act | tuple[str, int]], where: float
) -> None:
    """Also where the log is so short that a slow connection is closed; half a frame counts as none."""
    world = live_through(first, steps, 20_000)

    for member in world.members:
        size = int(len(member.wire) * where)
        seen = world.observe(member, size)
        whole = list(texts_in(bytes(member.wire)))
        assert list(texts_in(bytes(member.wire[:size]))) == whole[: seen.frames]
