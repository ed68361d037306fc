"""The session's promise: whatever is cut wherever, its positions never hide an undelivered event.

A model server speaks PROTOCOL §6 over a log in memory. It writes bytes; a cut takes away any suffix of
what the client has not read yet. The check after every step: each event that is due on an answered
channel was yielded, or is covered by a yielded gap, or comes when the session resumes from where it
stands. The server refuses channels for now, or whole commands, and lets permissions expire, as it likes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fanwire_client._effects import Deliver, Postponed, Ready
from fanwire_client._events import Event, Gap
from fanwire_client._session import Session
from fanwire_protocol.channels import covers
from fanwire_protocol.commands import Ping, Subscribe, Unsubscribe, decode_command
from fanwire_protocol.frames import Frame, decode_frame, encode_frame
from fanwire_protocol.position import Position
from tests.client.wire import (
    ORDERS,
    A,
    B,
    connected,
    error,
    event,
    expired,
    gap,
    offset,
    place,
    pong,
    subscribed,
)

OTHER = "tenant:acme:resource:bills:1"
WIDE = "tenant:acme:resource:*"
PUBLISHED = (A, B, OTHER)
WANTED = (A, B, OTHER, ORDERS, WIDE)
TOPICS = ("orders", "billing")
# Among what is refused: every command that asks for channels.
COMMANDS = "commands"
# All of the bytes, none, or a cut somewhere between.
SHARES = st.one_of(st.just(1.0), st.floats(0, 1))


class Log:
    """Entries of each topic; the entry *n* stands at index n - 1 and is the set of channels it is on."""

    def __init__(self) -> None:
        self.entries: dict[str, list[tuple[str, ...]]] = {topic: [] for topic in TOPICS}
        self.trimmed = dict.fromkeys(TOPICS, 0)

    def heads(self) -> dict[str, int]:
        """Return the number of the last entry of each topic."""
        return {topic: len(entries) for topic, entries in self.entries.items()}

    def after(self, topic: str, number: int) -> Iterable[tuple[int, tuple[str, ...]]]:
        """Return the entries after *number* that are left, with their numbers."""
        start = max(number, self.trimmed[topic])
        return enumerate(self.entries[topic][start:], start + 1)


def numbers(places: Mapping[str, Position] | None) -> dict[str, int]:
    """Return positions as numbers of entries."""
    return {topic: max(0, position.time_ms - 1000) for topic, position in (places or {}).items()}


class ModelConnection:
    """A server's side of a connection; `wire` is what it has written, *refused* what it refuses for now."""

    def __init__(self, log: Log, refused: Set[str] = frozenset()) -> None:
        self.wire = b""
        self._log = log
        self._refused = refused
        self._names: set[str] = set()
        self._sent = log.heads()
        self._write(connected({topic: place(n) for topic, n in self._sent.items()}))

    def _write(self, item: Frame) -> None:
        self.wire += encode_frame(item) + b"\n"

    def command(self, data: bytes) -> None:
        """Carry out one command."""
        match decode_command(data):
            case Subscribe(channels, since, reply_to):
                assert type(reply_to) is int
                self._subscribe(channels, None if since is None else numbers(since), reply_to)
            case Unsubscribe(channels):
                self._names.difference_update(channels)
            case Ping():
                self._write(pong(**self._sent))

    def pump(self) -> None:
        """Send everything that came since."""
        self._replay(dict(self._sent), self._names)

    def expire(self, name: str) -> None:
        """Let a permission expire; what came for the channel since is not sent."""
        if name in self._names:
            self._names.remove(name)
            self._write(expired(name))

    def _subscribe(self, asked: tuple[str, ...], since: dict[str, int] | None, reply_to: int) -> None:
        if COMMANDS in self._refused:
            self._write(error("rate_limited", reply_to=reply_to))
            return
        for name in asked:
            if name in self._refused:
                self._write(error("unavailable", name, reply_to))
        channels = [name for name in asked if name not in self._refused]
        if channels:
            self._join(channels, since, reply_to)

    def _join(self, channels: list[str], since: dict[str, int] | None, reply_to: int) -> None:
        self.pump()
        self._names.update(channels)
        proven = since is not None and all(n >= self._log.trimmed[topic] for topic, n in since.items())
        start = since if since is not None and proven else self._log.heads()
        told = {topic: place(n) for topic, n in start.items()}
        recovered = None if since is None else proven
        self._write(subscribed(channels, told, recovered=recovered, reply_to=reply_to))
        if since is not None and not proven:
            for topic, n in since.items():
                self._write(gap(topic, n, self._log.heads()[topic]))
        self._replay(start, set(channels))

    def _replay(self, start: Mapping[str, int], names: set[str]) -> None:
        for topic, number in start.items():
            if number < self._log.trimmed[topic]:
                self._sent[topic] = self._log.trimmed[topic]
                self._write(gap(topic, number, self._sent[topic]))
            for index, channels in self._log.after(topic, number):
                on = [channel for channel in channels if any(covers(name, channel) for name in names)]
                for left, channel in zip(range(len(on) - 1, -1, -1), on, strict=True):
                    at = offset(topic, index - 1 if left else index)
                    self._write(event(channel, f"{topic}-{index}", at))
                self._sent[topic] = index


class Resumption(RuleBasedStateMachine):
    """A client that subscribes, is cut and comes back, while events are published and trimmed."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.session = Session()
        self.refused: set[str] = set()
        self.rounds: list[int] = []
        self.connection = ModelConnection(self.log, self.refused)
        self.unread = 0
        self.numbers: dict[str, int] = {}
        self.starts: dict[str, dict[str, int]] = {}
        self.yielded: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self.gaps: dict[int, list[Gap]] = defaultdict(list)

    @initialize(names=st.sets(st.sampled_from(WANTED), min_size=1))
    def begin_answered(self, names: set[str]) -> None:
        """Begin where the interesting part does: with subscriptions that have been answered."""
        for name in sorted(names):
            self.subscribe(name)
        for _ in range(2):
            self.exchange(1.0, False)

    @rule(
        topic=st.sampled_from(TOPICS),
        channels=st.lists(st.sets(st.sampled_from(PUBLISHED), min_size=1), min_size=1, max_size=5),
    )
    def publish(self, topic: str, channels: list[set[str]]) -> None:
        self.log.entries[topic] += [tuple(sorted(entry)) for entry in channels]

    @rule(topic=st.sampled_from(TOPICS))
    def trim(self, topic: str) -> None:
        self.log.trimmed[topic] = len(self.log.entries[topic])

    @rule(name=st.sampled_from(WANTED))
    def subscribe(self, name: str) -> None:
        if name not in self.numbers:
            self.numbers[name] = self.session.subscribe([name])

    @rule(name=st.sampled_from(WANTED))
    def unsubscribe(self, name: str) -> None:
        if name in self.numbers:
            self.session.unsubscribe(self.numbers.pop(name))
            self.starts.pop(name, None)

    @rule(names=st.sets(st.sampled_from((*WANTED, COMMANDS))))
    def refuse(self, names: set[str]) -> None:
        self.refused.clear()
        self.refused.update(names)

    @rule(name=st.sampled_from(WANTED))
    def expire(self, name: str) -> None:
        self.connection.expire(name)

    @rule()
    def ask_again(self) -> None:
        """Let the round be due that waits longest."""
        if self.rounds:
            self.session.ask_again(self.rounds.pop(0))

    @rule(share=SHARES, is_pinging=st.booleans())
    def exchange(self, share: float, is_pinging: bool) -> None:
        """Let the client read some bytes and send what is due, and the server answer."""
        self.read(share)
        if is_pinging:
            self.session.ping()
        for command in self.session.commands():
            self.connection.command(command)
        self.connection.pump()

    @rule(share=SHARES)
    def cut(self, share: float) -> None:
        """Lose what the client has not read, from any byte on, and come back."""
        self.read(share)
        self.session.lost(1006)
        self.connection, self.unread = ModelConnection(self.log, self.refused), 0
        self.rounds.clear()
        self.exchange(1.0, False)

    def read(self, share: float) -> None:
        """Let the client read a share of the bytes; what is no whole frame waits."""
        end = self.unread + round(share * (len(self.connection.wire) - self.unread))
        whole = self.connection.wire.rfind(b"\n", 0, end) + 1
        for line in self.connection.wire[self.unread : whole].splitlines():
            self.take(decode_frame(line))
        self.unread = max(self.unread, whole)

    def take(self, item: Frame) -> None:
        for effect in self.session.receive(item):
            match effect:
                case Deliver(Event(channel=str(channel), event_id=event_id), to):
                    for number in to:
                        self.yielded[number].append((channel, event_id))
                case Deliver(Gap() as hole, to):
                    for number in to:
                        self.gaps[number].append(hole)
                case Ready(number):
                    self.begin(number, item)
                case Postponed(number):
                    self.rounds.append(number)

    def begin(self, number: int, answer: Frame) -> None:
        """Note where the first answer of a subscription says that its events begin."""
        name = next(name for name, wanted in self.numbers.items() if wanted == number)
        match answer.payload:
            case {"positions": dict(told)} if name not in self.starts:
                self.starts[name] = {topic: int(text.split("-")[0]) for topic, text in told.items()}

    def due(self, name: str) -> Iterable[tuple[str, int, str]]:
        """Return (topic, number, channel) of every event that was published since *name* began."""
        for topic, start in self.starts[name].items():
            for number, channels in enumerate(self.log.entries[topic], 1):
                if number > max(0, start - 1000):
                    yield from ((topic, number, item) for item in channels if covers(name, item))

    def is_told(self, name: str, topic: str, number: int, channel: str) -> bool:
        """Tell whether an event was yielded or is covered by a yielded gap."""
        subscription = self.numbers[name]
        if (channel, f"{topic}-{number}") in self.yielded[subscription]:
            return True
        return any(
            hole.topic == topic and bound(hole.from_) < number <= bound(hole.to)
            for hole in self.gaps[subscription]
        )

    @invariant()
    def positions_hide_nothing(self) -> None:
        for name in self.starts:
            resumed = numbers(self.session.since(name))
            for topic, number, channel in self.due(name):
                is_ahead = number > resumed[topic]
                assert is_ahead or self.is_told(name, topic, number, channel), (name, topic, number)

    @invariant()
    def nothing_is_yielded_twice(self) -> None:
        for items in self.yielded.values():
            assert len(items) == len(set(items))

    def teardown(self) -> None:
        """A connection that is not cut brings everything that is due, once nothing is refused any more."""
        self.refused.clear()
        self.exchange(1.0, False)
        while self.rounds:
            self.ask_again()
        self.everything_is_told()
        self.cut(0.5)
        self.everything_is_told()

    def everything_is_told(self) -> None:
        self.exchange(1.0, False)
        self.read(1.0)
        assert all(self.session.is_ready(number) for number in self.numbers.values())
        for name in self.starts:
            for due in self.due(name):
                assert self.is_told(name, *due), (name, due)
        self.positions_hide_nothing()
        self.nothing_is_yielded_twice()


def bound(text: str | None) -> int:
    """Return the number of the entry at a position as gaps carry it."""
    assert text is not None
    return max(0, int(text.split("-")[0]) - 1000)


TestResumption = Resumption.TestCase
TestResumption.settings = settings(
    max_examples=200,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def play(session: Session, log: Log, limit: int | None) -> tuple[list[str], int]:
    """Play one connection, of which only *limit* bytes arrive; return the yielded ids and all its bytes."""
    connection = ModelConnection(log)
    seen: list[str] = []
    written = 0
    for _ in range(2):
        fresh = connection.wire[written:limit]
        written = len(connection.wire)
        for line in fresh[: fresh.rfind(b"\n") + 1].splitlines():
            effects = session.receive(decode_frame(line))
            items = [effect.item for effect in effects if isinstance(effect, Deliver)]
            seen += [item.event_id for item in items if isinstance(item, Event)]
        for command in session.commands():
            connection.command(command)
    session.lost(1006)
    return seen, written


def test_cut_at_every_byte_of_a_resume() -> None:
    """One absence, its resume cut at each byte: everything arrives once, in order."""
    size, length = 0, 1
    while size <= length:
        log, session = Log(), Session()
        session.subscribe([A])
        play(session, log, None)
        log.entries["orders"] += [(A, B)] * 3 + [(B,), (A,)]

        seen, length = play(session, log, size)
        rest, _ = play(session, log, None)

        size += 1
        assert seen + rest == ["orders-1", "orders-2", "orders-3", "orders-5"]
