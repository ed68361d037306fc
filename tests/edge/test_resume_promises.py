"""Promises of resuming (PROTOCOL §6 "Resume", "Duplicates", "Live or behind", "positions").

Two edges follow one broker, each with little memory, and each began when it liked. Clients come with
whatever positions, read at any pace, are cut anywhere and come back to either edge, while events are
published, twice at times, while the broker trims its streams, and is replaced. What they are given is
checked frame by frame against everything that was ever published.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanwire_edge.core import follower, log, reading, replay
from fanwire_edge.core.policy import Policy
from fanwire_edge.core.stream import Stream
from fanwire_protocol.commands import Authenticate, Ping, Since, Subscribe, Unsubscribe
from fanwire_protocol.event import encode_event
from fanwire_protocol.position import Position
from tests.edge.core.pieces import event
from tests.edge.model_broker import ModelBroker
from tests.edge.model_witness import Witness
from tests.edge.model_world import TOKENS, Client, EdgeLimits, ModelEdge

# What fails is made smaller for up to five minutes, and without that nobody can tell what it was.
pytestmark = pytest.mark.timeout(420)

WINDOW_SECONDS = 2
GENEROUS = 10**9
NAMES = tuple(
    f"tenant:acme:{name}"
    for name in (
        "resource:orders:1",
        "resource:orders:2",
        "resource:orders:*",
        "resource:*",
        "user:u-1",
        "role:clerk",
        "all",
    )
)


@dataclass(frozen=True, slots=True)
class Publish:
    """An event of a topic: what it is about, to whom it goes, and how long after the one before."""

    topic: str
    resource: tuple[str, str] | None
    to: tuple[str, ...] | None
    wait_ms: int
    size: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """The event that was published so many events ago, once more."""

    ago: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Break:
    """An entry that is no event."""

    topic: str


@dataclass(frozen=True, slots=True)
class Trim:
    """The broker keeps so many entries of a topic."""

    topic: str
    keep: int


@dataclass(frozen=True, slots=True)
class FailOver:
    """The broker is replaced by one that lacks the last entries, or all."""

    lost: int | None


@dataclass(frozen=True, slots=True)
class Register:
    """A topic is registered, and one edge hears of it."""

    edge: int


@dataclass(frozen=True, slots=True)
class Gate:
    """An edge's reading of the log, or of history, is held up, or goes on."""

    edge: int
    is_history: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class Since_:
    """Positions to come with: those of a client, now or some frames ago, and what is wrong with them."""

    client: int
    ago: int
    twist: str


@dataclass(frozen=True, slots=True)
class Come:
    """A client connects, after it has lost its connection where it had one."""

    client: int
    edge: int
    since: Since_ | None
    high_water: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A client sends a command."""

    client: int
    what: str
    names: tuple[str, ...]
    since: Since_ | None


@dataclass(frozen=True, slots=True)
class Show:
    """A client shows another token."""

    client: int
    token: str


@dataclass(frozen=True, slots=True)
class Read:
    """So many bytes reach a client."""

    client: int
    size: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The event loops run on."""

    rounds: int


Step = Publish | Repeat | Break | Trim | FailOver | Register | Gate | Come | Ask | Show | Read | Turn


class World:
    """Everything that is."""

    def __init__(self, limits: EdgeLimits) -> None:
        self.broker = ModelBroker(WINDOW_SECONDS * 1000)
        self.limits = limits
        self.topics = {"orders", "jobs"}
        self.edges: dict[int, ModelEdge] = {}
        self.clients: dict[int, tuple[Client, Witness]] = {}
        self.witnesses: list[Witness] = []
        self.published: list[tuple[Stream, bytes]] = []
        self.stack = AsyncExitStack()

    async def live(self, step: Step) -> None:  # noqa: C901  # one case for each step
        match step:
            case Publish(topic, resource, to, wait_ms, size):
                self.broker.now_ms += wait_ms
                happened = event(len(self.published), resource=resource, to=to, payload="x" * size)
                self._add(Stream("direct" if resource is None and to else topic, 0), encode_event(happened))
            case Repeat(ago, wait_ms):
                if ago < len(self.published):
                    self.broker.now_ms += wait_ms
                    self._add(*self.published[-1 - ago])
            case Break(topic):
                self.broker.add(Stream(topic, 0), b"\xc1")
            case Trim(topic, keep):
                self.broker.trim(Stream(topic, 0), keep)
            case FailOver(lost):
                self.broker.fail_over(lost)
            case Register(number):
                self.topics.add("late")
                if number in self.edges:
                    self.edges[number].topics.found({"late"})
                    self.broker.wake()
            case Gate(number, is_history, is_open):
                if number in self.edges:
                    edge = self.edges[number]
                    gate = edge.archive.gate if is_history else edge.tail.gate
                    gate.open() if is_open else gate.shut()
            case Turn(rounds):
                await _turn(rounds)
            case _:
                await self._act(step)

    def _add(self, stream: Stream, data: bytes) -> None:
        self.published.append((stream, data))
        self.broker.add(stream, data)

    async def _act(self, step: Come | Ask | Show | Read) -> None:
        if isinstance(step, Come):
            await self._come(step)
        elif step.client in self.clients:
            client, _ = self.clients[step.client]
            if isinstance(step, Read):
                client.drain(step.size)
            elif isinstance(step, Show):
                client.send(Authenticate(step.token))
            elif step.what == "ping":
                client.send(Ping())
            elif step.what == "unsubscribe":
                client.send(Unsubscribe(step.names))
            else:
                client.send(Subscribe(step.names, self._since(step.since)))

    async def _come(self, step: Come) -> None:
        edge = await self._edge(step.edge)
        if edge is None:
            return
        since = self._since(step.since)
        if step.client in self.clients:
            client, witness = self.clients[step.client]
            client.cut()
            witness.watch()
        # As the door does: a connection joins between two deliveries.
        await edge.edge.settled()
        client = Client(edge, step.high_water, since)
        witness = Witness(self.broker, client)
        self.clients[step.client] = client, witness
        self.witnesses.append(witness)
        client.open()

    async def _edge(self, number: int) -> ModelEdge | None:
        if number not in self.edges:
            edge = ModelEdge(self.broker, self.limits, self.topics)
            self.edges[number] = await self.stack.enter_async_context(edge)
            await _turn(100)
        edge = self.edges[number]
        return edge if edge.edge.positions else None

    def _since(self, since: Since_ | None) -> Since | None:
        if since is None or since.client not in self.clients:
            return None
        _, witness = self.clients[since.client]
        witness.watch()
        if not witness.history:
            return None
        held = dict(witness.history[max(0, len(witness.history) - 1 - since.ago)])
        match since.twist:
            case "beginning":
                return {topic: Position("0-0", position.broker) for topic, position in held.items()}
            case "foreign":
                return {topic: Position(position.id, "ffffffff") for topic, position in held.items()}
            case "between":
                return {topic: self._behind(topic, position) for topic, position in held.items()}
            case "missing":
                held.pop("orders", None)
            case "one":
                held = {topic: position for topic, position in held.items() if topic == "jobs"}
        return held

    def _behind(self, topic: str, position: Position) -> Position:
        """Return a place that is no entry's, where the stream goes on behind it."""
        time_ms, sequence = position.key
        between = Position(f"{time_ms}-{sequence + 7}", position.broker)
        last_id = self.broker.life(Stream(topic, 0)).last_id
        return between if between.key < Position(last_id, self.broker.short).key else position

    async def settle(self) -> None:
        """Let everything go on until all is level, and ask everyone where they stand."""
        for edge in self.edges.values():
            edge.tail.gate.open()
            edge.archive.gate.open()
        await _turn(10)
        # What is removed to the last entry is told of when the next one comes.
        for topic in sorted(self.topics):
            await self.live(Publish(topic, ("orders", "1"), ("user", "u-1"), 1, 0))
            await self.live(Publish(topic, None, ("user", "u-1"), 1, 0))
        for role in ("clerk", "boss"):
            await self.live(Publish("direct", None, ("role", role), 1, 0))
        await self._until_level()
        for client, _ in self.clients.values():
            if not client.is_closed:
                client.send(Ping())
        await self._until_level()

    async def _until_level(self) -> None:
        for _ in range(600):
            self.broker.wake()
            await _turn(10)
            for client, _ in self.clients.values():
                client.drain(GENEROUS)
            if all(edge.is_level for edge in self.edges.values()) and all(
                client.is_level for client, _ in self.clients.values()
            ):
                return
        raise AssertionError("it never ends")

    def check(self) -> None:
        """Everyone who is still there stands at the end."""
        for witness in self.witnesses:
            witness.watch()
        for client, witness in self.clients.values():
            if client.is_closed:
                continue
            assert witness.frames[-1].type == "pong"
            for topic, position in witness.held.items():
                assert position.broker == self.broker.short
                assert position.id == self.broker.life(Stream(topic, 0)).last_id


async def _turn(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def live_through(steps: Sequence[Step], limits: EdgeLimits) -> World:
    world = World(limits)
    async with world.stack:
        for step in steps:
            await world.live(step)
        await world.settle()
        world.check()
    return world


topics = st.sampled_from(["orders", "orders", "orders", "orders", "jobs", "late"])
waits = st.sampled_from([0, 0, 0, 0, 1, 300, 1000, 2500])
publish = st.builds(
    Publish,
    topics,
    st.sampled_from([("orders", "1"), ("orders", "1"), ("orders", "2"), ("jobs", "1"), None]),
    st.sampled_from([None, None, None, ("user", "u-1"), ("role", "clerk"), ("role", "boss"), ("all",)]),
    waits,
    st.sampled_from([0, 0, 0, 200]),
)
repeat = st.builds(Repeat, st.sampled_from([0, 0, 1, 2, 4, 7]), waits)
trim = st.builds(Trim, topics, st.sampled_from([0, 1, 2, 4, 6, 9]))
fail_over = st.tuples(st.builds(FailOver, st.sampled_from([0, 0, 2, None])), repeat).map(list)
clients = st.integers(0, 1)
edges = st.integers(0, 1)
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(tuple)
ages = st.sampled_from([0, 0, 0, 1, 2, 4, 8, 16])
twists = st.sampled_from(["", "", "", "", "", "beginning", "foreign", "between", "missing", "one"])
present = st.builds(Since_, clients, ages, twists)
perhaps = st.one_of(st.none(), present, present)
come = st.builds(Come, clients, edges, perhaps, st.sampled_from([200, 900, 5000, GENEROUS]))
resume = st.builds(Ask, clients, st.just("subscribe"), names, present)
ask = st.builds(Ask, clients, st.sampled_from(["subscribe"] * 3 + ["unsubscribe", "ping"]), names, perhaps)
ping = st.builds(Ask, clients, st.just("ping"), st.just(()), st.none())
turn = st.builds(Turn, st.sampled_from([1, 2, 5, 12, 40]))
read = st.builds(Read, clients, st.sampled_from([150, 600, GENEROUS, GENEROUS]))
show = st.builds(Show, clients, st.sampled_from([*TOKENS, *TOKENS, "nonsense"]))
others = st.one_of(
    show,
    st.builds(Break, topics),
    trim,
    st.builds(Register, edges),
    st.builds(Gate, edges, st.booleans(), st.booleans()),
)
burst = st.lists(st.one_of(publish, publish, publish, repeat), min_size=1, max_size=8)
calm = st.lists(st.one_of(burst, burst, come, resume, resume, ask, turn, turn, read, others), max_size=30)
stormy = st.lists(
    st.one_of(burst, burst, come, resume, resume, ask, turn, turn, read, others, fail_over), max_size=30
)


@st.composite
def comebacks(draw: st.DrawFn) -> list[Step]:
    """A client sees some events, goes away, misses some, and comes back, more than once."""
    steps: list[Step] = [*draw(burst), Come(0, draw(edges), None, GENEROUS), Turn(40)]
    steps += [Ask(0, "subscribe", draw(names), None), *draw(burst), Turn(40), Read(0, GENEROUS)]
    for _ in range(draw(st.integers(1, 3))):
        steps += draw(burst)
        steps += draw(st.lists(st.one_of(turn, others, burst.map(lambda each: each[0])), max_size=3))
        client, edge = draw(clients), draw(edges)
        since = draw(present)
        steps.append(
            Come(
                client,
                edge,
                draw(st.one_of(st.none(), st.just(since))),
                draw(st.sampled_from([200, 900, GENEROUS])),
            )
        )
        for _ in range(draw(st.integers(1, 3))):
            steps.append(Ask(client, "subscribe", draw(names), draw(st.one_of(st.just(since), present))))
            steps += draw(st.lists(st.one_of(turn, read, ping, ping, publish, others), max_size=4))
        steps += [
            Turn(draw(st.sampled_from([1, 5, 40]))),
            Read(client, draw(st.sampled_from([300, 900, GENEROUS]))),
        ]
    return steps


@st.composite
def renewals(draw: st.DrawFn) -> list[Step]:
    """A client shows other tokens while events come for its roles, and comes back from where it stood."""
    steps: list[Step] = [Come(0, 0, None, draw(st.sampled_from([200, 900, GENEROUS]))), Turn(40)]
    steps += [Ask(0, "subscribe", draw(names), None)]
    to_roles = st.builds(
        Publish,
        topics,
        st.sampled_from([("orders", "1"), None]),
        st.sampled_from([("role", "clerk"), ("role", "boss"), ("all",)]),
        waits,
        st.sampled_from([0, 0, 200]),
    )
    for _ in range(draw(st.integers(1, 4))):
        steps += draw(st.lists(st.one_of(to_roles, publish), max_size=5))
        steps += [Show(0, draw(st.sampled_from(list(TOKENS)))), Turn(draw(st.sampled_from([1, 12, 40])))]
        steps += draw(st.lists(st.one_of(to_roles, to_roles, publish, turn, read, ping, ask), max_size=8))
        if draw(st.booleans()):
            since = draw(present)
            steps += [Read(0, GENEROUS), Come(0, draw(edges), since, GENEROUS), Turn(40), Read(0, GENEROUS)]
            steps += [*draw(st.lists(to_roles, max_size=3)), Turn(draw(st.sampled_from([1, 40])))]
            steps += [Show(0, "boss"), *draw(st.lists(st.one_of(to_roles, turn, read), max_size=3))]
            steps.append(Ask(0, "subscribe", ("tenant:acme:role:boss",), since))
    return steps


policies = st.sampled_from([Policy.CATCH_UP, Policy.CATCH_UP, Policy.DISCONNECT])
budgets = st.sampled_from([1, 8000, GENEROUS])
page_entries = st.sampled_from([1, 3, 7])
limits = st.one_of(
    st.builds(
        EdgeLimits,
        st.sampled_from([1, 4000, 12_000, GENEROUS]),
        budgets,
        st.just(WINDOW_SECONDS),
        page_entries,
        st.just(100),
        policies,
    ),
    # Where nobody leaves the memory once he is live, what was read in pages tells all about copies.
    st.builds(
        EdgeLimits, st.just(GENEROUS), budgets, st.just(WINDOW_SECONDS), page_entries, st.just(0), policies
    ),
)


def _flat(steps: Sequence[Step | Sequence[Step]]) -> list[Step]:
    flat: list[Step] = [Come(0, 0, None, GENEROUS)]
    for step in steps:
        if isinstance(step, Sequence):
            flat.extend(step)
        else:
            flat.append(step)
    return flat


def _run(steps: Sequence[Step | Sequence[Step]], limits: EdgeLimits) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Short portions, so that few entries show everything.
        patch.setattr(replay, "_MAX_RECORDS", 2)
        patch.setattr(replay, "BATCH_BYTES", 700)
        patch.setattr(reading, "_MAX_RECORDS", 2)
        patch.setattr(log, "_MAX_PASSED_OVER", 3)
        # Days of the broker pass within a millisecond of ours: no proof outlasts its read.
        patch.setattr(follower, "PROOF_SECONDS", -1.0)
        logging.disable(logging.CRITICAL)
        try:
            asyncio.run(live_through(_flat(steps), limits))
        finally:
            logging.disable(logging.NOTSET)


ABOUT = ("orders", "1")
# The last copy is within the window of the one before alone, and that one was trimmed unread.
COPY_OF_WHAT_WAS_TRIMMED: list[Step] = [
    Ask(0, "subscribe", ("tenant:acme:resource:orders:1",), None),
    Publish("orders", ABOUT, None, 0, 0),
    Turn(40),
    Publish("orders", ABOUT, None, 0, 0),
    Repeat(1, 1),
    Repeat(0, 2000),
    Publish("orders", ABOUT, None, 0, 0),
    Trim("orders", 3),
    Turn(40),
]


@settings(deadline=None, max_examples=150)
@given(comebacks(), limits)
@example(COPY_OF_WHAT_WAS_TRIMMED, EdgeLimits(GENEROUS, GENEROUS, WINDOW_SECONDS, 7, 100))
def test_whoever_comes_back_is_given_what_it_lacks_once_and_in_order_or_is_told(
    steps: list[Step], limits: EdgeLimits
) -> None:
    """From memory, from pages and from both, whatever the broker trims meanwhile; no position hides an event,
    no gap is told of what the broker still has, and every replay comes to its end."""
    _run(steps, limits)


@settings(deadline=None, max_examples=100)
@given(calm, limits)
def test_whatever_happens_in_whatever_order(steps: list[Step | list[Step]], limits: EdgeLimits) -> None:
    """The same, without a plot."""
    _run(steps, limits)


@settings(deadline=None, max_examples=80)
@given(renewals(), limits)
def test_whoever_shows_another_token_is_given_what_its_roles_are_due(
    steps: list[Step], limits: EdgeLimits
) -> None:
    """From the answer on, which tells the place; nothing of what it was on before is lost or comes twice."""
    _run(steps, limits)


@settings(deadline=None, max_examples=100)
@given(stormy, limits)
def test_also_where_the_broker_is_replaced(steps: list[Step | list[Step]], limits: EdgeLimits) -> None:
    """By one that kept the log, or lost its end, or all of it."""
    _run(steps, limits)
