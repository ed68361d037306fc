"""A small world that keeps the promise: a log, a server and clients, and the history they leave behind.

Knows PROTOCOL §6 and nothing of the checker. Every method is one thing that can happen; `wander` lets
things happen at random.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

__all__ = ["Client", "Line", "World", "resource"]

Line = dict[str, Any]
TOPICS = ("orders", "invoices")
TENANTS = ("acme", "globex")


def resource(tenant: str, topic: str, id_: str) -> str:
    """Return the channel of one resource."""
    return f"tenant:{tenant}:resource:{topic}:{id_}"


def _is_on(name: str, channel: str) -> bool:
    return channel.startswith(name[:-1]) if name.endswith(":*") else channel == name


@dataclass(slots=True)
class _Entry:
    """An entry of a topic's log; `number` orders it, `is_repeat` marks a publisher's second attempt."""

    number: int
    event_id: str
    tenant: str
    channels: tuple[str, ...]
    is_repeat: bool = False
    key: str | None = None


@dataclass(slots=True)
class _Topic:
    entries: list[_Entry] = field(default_factory=list)
    trimmed: int = 0

    @property
    def last(self) -> int:
        return self.entries[-1].number if self.entries else self.trimmed


@dataclass(slots=True)
class Client:
    """A session: what it wants, its connection if there is one, what it holds and has seen.

    `is_steady` tells that it never left a channel, came back without `since`, or was told of a gap. Where it
    `conflates`, the server leaves out what later events stand for.
    """

    name: str
    tenant: str
    wanted: list[str]
    connection: str = ""
    connections: int = 0
    names: list[str] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    sent: set[tuple[str, str]] = field(default_factory=set)
    known: set[tuple[str, str]] = field(default_factory=set)
    is_steady: bool = True
    conflates: bool = False
    skipped: int = 0


class World:
    """Everything at once, under one clock. `lines` is the history so far."""

    def __init__(self, wants: Sequence[tuple[str, Sequence[str]]], *, conflates: bool = False) -> None:
        self.lines: list[Line] = []
        self._now = 0
        self._lives = 1
        self._stamp: str | None = None
        self._events = 0
        self._number = 1000
        self._topics = {topic: _Topic() for topic in TOPICS}
        self.clients = [Client(f"c{n}", tenant, list(names)) for n, (tenant, names) in enumerate(wants)]
        # Only then keys are drawn, for other worlds to stay as they are.
        self._has_keys = conflates
        for client in self.clients:
            client.conflates = conflates
            self.grant(client)

    def rest(self, seconds: float) -> None:
        """Let time pass."""
        self._now += int(seconds * 1e9)

    def revoke(self, tenant: str, user: str | None = None, channels: Sequence[str] | None = None) -> None:
        """Take rights away, without any server that cares."""
        self._write("revoke", tenant=tenant, user=user, channels=channels)

    def grant(self, client: Client) -> None:
        """Give a client its rights."""
        rights = [f"tenant:{client.tenant}:resource:*", f"tenant:{client.tenant}:user:u-1"]
        self._write("authorized", client=client.name, tenant=client.tenant, channels=rights)

    def _write(self, op: str, **fields: Any) -> None:
        self._now += 1000
        self.lines.append({"op": op, "time": self._now, **fields})

    def _position(self, number: int) -> str:
        return f"{number}-0~{self._life}"

    @property
    def _life(self) -> str:
        return f"{self._lives:08x}"[::-1]

    # Publishers and the log

    def publish(
        self,
        tenant: str,
        topic: str,
        *ids: str,
        user: bool = False,
        outcome: str = "confirmed",
        key: str | None = None,
    ) -> str:
        """Publish one event on a resource's channel (the first of *ids*), and the user's where *user*.

        *outcome* is `confirmed`, `repeated` (its first attempt's reply was lost), `in doubt` (written, not
        confirmed), `vanished` (neither written nor known) or `refused`.
        """
        self._events += 1
        event_id = f"e-{self._events}"
        channels = [resource(tenant, topic, id_) for id_ in ids]
        channels += [f"tenant:{tenant}:user:u-1"] if user else []
        who: Mapping[str, Any] = {"publisher": "p", "topic": topic, "tenant": tenant, "event_id": event_id}
        self._write("publish", **who, channels=channels, **({} if key is None else {"key": key}))
        if outcome in ("refused", "vanished"):
            self._write("publish_failed", **who, definite=outcome == "refused")
            return event_id
        number = self._add(topic, event_id, tenant, channels, key=key)
        if outcome == "repeated":
            number = self._add(topic, event_id, tenant, channels, is_repeat=True, key=key)
        if outcome == "in doubt":
            self._write("publish_failed", **who, definite=False)
        else:
            life, self._stamp = self._stamp or self._life, None
            self._write("published", **who, position=f"{number}-0~{life}")
        return event_id

    def _add(
        self,
        topic: str,
        event_id: str,
        tenant: str,
        channels: Sequence[str],
        *,
        is_repeat: bool = False,
        key: str | None = None,
    ) -> int:
        self._number += 1
        entry = _Entry(self._number, event_id, tenant, tuple(channels), is_repeat, key)
        self._topics[topic].entries.append(entry)
        return self._number

    def fail_over(self, lost: int, step_back: int = 0) -> None:
        """Let another broker take over that lacks the last *lost* entries of each topic; tell everyone.

        Its ids may begin *step_back* lower. Where nothing is lost, a publisher stamps its next event with
        the identity of before.
        """
        before = self._life
        self._lives += 1
        # Nobody stamps an identity that is two brokers old.
        self._stamp = None if lost else before
        for log in self._topics.values():
            del log.entries[max(0, len(log.entries) - lost) :]
        if lost:
            lowest = max(log.last for log in self._topics.values())
            self._number = max(lowest, self._number - step_back)
        for client in self.clients:
            if client.connection:
                for topic in TOPICS:
                    start = f"{client.cursors[topic]}-0~{before}"
                    self._gap(client, topic, start, "failover")

    def trim(self, topic: str, kept: int) -> None:
        """Remove all but *kept* entries; who has not read them is told."""
        log = self._topics[topic]
        gone = log.entries[: _past_repeats(log.entries, max(0, len(log.entries) - kept))]
        if not gone:
            return
        log.trimmed = gone[-1].number
        del log.entries[: len(gone)]
        for client in self.clients:
            if client.connection and client.cursors[topic] < log.trimmed:
                self._gap(client, topic, self._position(client.cursors[topic]), "trimmed", log.trimmed)

    def overflow(self, client: Client, topic: str, kept: int) -> None:
        """Drop all but the newest *kept* entries that a client has not read, and tell it."""
        unread = [entry for entry in self._topics[topic].entries if entry.number > client.cursors[topic]]
        start = self._position(client.cursors[topic])
        self._gap(client, topic, start, "overflow", unread[-kept - 1].number)

    def _gap(
        self, client: Client, topic: str, start: str | None, reason: str, end: int | None = None
    ) -> None:
        number = self._topics[topic].last if end is None else end
        to = self._position(number)
        fields = {"topic": topic, "to": to, "reason": reason, **({} if start is None else {"from": start})}
        self._write("gap", connection=client.connection, **fields)
        client.cursors[topic] = number
        client.positions[topic] = to
        client.is_steady = False

    def dump(self) -> None:
        """Read the log as it is."""
        for topic, log in self._topics.items():
            for entry in log.entries:
                where = {"topic": topic, "tenant": entry.tenant, "position": self._position(entry.number)}
                key = {} if entry.key is None else {"key": entry.key}
                self._write("entry", event_id=entry.event_id, **where, **key)

    # Clients

    def connect(self, client: Client, *, afresh: bool = False, subscribe: bool = True) -> None:
        """Open a connection; the server joins the user's channel. *afresh* forgets where it stood.

        Without *subscribe* it is cut before its subscriptions are answered.
        """
        client.connections += 1
        client.connection = f"{client.name}-{client.connections}"
        client.names.clear()
        client.sent.clear()
        client.skipped = 0
        since = {} if afresh else dict(client.positions)
        client.is_steady = client.is_steady and not (afresh and client.positions)
        self._write("connect", client=client.name, connection=client.connection)
        client.cursors = {topic: log.last for topic, log in self._topics.items()}
        kept = dict(client.positions)
        self._join(client, [f"tenant:{client.tenant}:user:u-1"], since)
        if subscribe:
            self._join(client, client.wanted, since)
        else:
            # What was not answered keeps the positions of the connection before.
            client.positions = kept
            self.close(client)

    def _join(self, client: Client, names: Sequence[str], since: Mapping[str, str]) -> None:
        unproven = [topic for topic in TOPICS if topic in since and self._cursor(topic, since[topic]) is None]
        recovered = None if not since else not unproven
        starts = {topic: client.cursors[topic] for topic in TOPICS}
        if recovered:
            starts.update({topic: self._cursor(topic, since[topic]) or 0 for topic in since})
        positions = {topic: self._position(number) for topic, number in starts.items()}
        self._write(
            "subscribed",
            connection=client.connection,
            channels=list(names),
            positions=positions,
            recovered=recovered,
        )
        client.names.extend(names)
        client.positions.update(positions)
        for topic in TOPICS:
            if recovered is False:
                client.cursors[topic] = max(client.cursors[topic], starts[topic])
                self._gap(client, topic, since.get(topic), "unknown_position", client.cursors[topic])
            self._send(client, topic, starts[topic], client.cursors[topic], names)

    def _cursor(self, topic: str, position: str) -> int | None:
        id_, _, life = position.partition("~")
        number = int(id_.partition("-")[0])
        is_proven = life == self._life and number >= self._topics[topic].trimmed
        return number if is_proven else None

    def deliver(self, client: Client, topic: str, count: int, *, cut_within: bool = False) -> None:
        """Send the next *count* entries; *cut_within* ends the connection in the midst of the last one."""
        unread = [e for e in self._topics[topic].entries if e.number > client.cursors[topic]]
        entries = unread[: _past_repeats(unread, count)]
        if entries:
            self._send(client, topic, client.cursors[topic], entries[-1].number, client.names, cut_within)
            client.cursors[topic] = entries[-1].number

    def _send(
        self,
        client: Client,
        topic: str,
        after: int,
        up_to: int,
        names: Sequence[str],
        cut_within: bool = False,
    ) -> None:
        before = after
        for entry in self._topics[topic].entries:
            if not after < entry.number <= up_to:
                before = entry.number if entry.number <= after else before
                continue
            channels = [c for c in entry.channels if any(_is_on(name, c) for name in names)]
            number = entry.number if len(entry.channels) == 1 else before
            # The second attempt counts only where the first was removed before anybody read it.
            firsts = {e.event_id for e in self._topics[topic].entries if not e.is_repeat}
            for channel in () if entry.is_repeat and entry.event_id in firsts else channels:
                if entry.is_repeat and (channel, entry.event_id) in client.known:
                    continue
                if client.conflates and self._is_replaced(topic, entry, channel):
                    client.skipped += (channel, entry.event_id) not in client.sent
                    continue
                self._frame(client, topic, entry, channel, number)
                if cut_within and entry.number == up_to:
                    self.close(client)
                    return
            before = entry.number

    def _is_replaced(self, topic: str, entry: _Entry, channel: str) -> bool:
        same = (
            each for each in self._topics[topic].entries if each.key == entry.key and channel in each.channels
        )
        return entry.key is not None and any(
            each.number > entry.number and each.event_id != entry.event_id for each in same
        )

    def _frame(self, client: Client, topic: str, entry: _Entry, channel: str, number: int) -> None:
        key = (channel, entry.event_id)
        if key in client.sent:
            return
        client.sent.add(key)
        position = self._position(number)
        client.positions[topic] = position
        repeat = {"repeat": True} if key in client.known else {}
        client.known.add(key)
        self._write(
            "event",
            connection=client.connection,
            channel=channel,
            type="changed",
            event_id=entry.event_id,
            offset=f"{topic}@{position}",
            **repeat,
        )

    def ping(self, client: Client) -> None:
        """Let the server tell the positions of what it sent."""
        positions = {topic: self._position(number) for topic, number in client.cursors.items()}
        client.positions.update(positions)
        skipped, client.skipped = client.skipped, 0
        told = {"skipped": skipped} if skipped else {}
        self._write("positions", connection=client.connection, positions=positions, **told)

    def leave(self, client: Client, name: str) -> None:
        """Unsubscribe for good."""
        client.names.remove(name)
        client.wanted.remove(name)
        client.is_steady = False
        self._write("unsubscribed", connection=client.connection, channels=[name])

    def join(self, client: Client, name: str, since: Mapping[str, str] | None = None) -> None:
        """Subscribe to one more name."""
        client.wanted.append(name)
        self._join(client, [name], since or {})

    def close(self, client: Client, code: int = 1006) -> None:
        """End the connection."""
        self._write("closed", connection=client.connection, code=code)
        client.connection = ""

    def finish(self, *, dump: bool = True) -> list[Line]:
        """Deliver everything to everyone, end all clients and return the history."""
        until = self._now
        for client in self.clients:
            if not client.connection:
                self.connect(client)
            for topic in TOPICS:
                self.deliver(client, topic, 1_000_000)
            if client.conflates:
                self.ping(client)
            self.close(client, 1000)
            self._write("end", client=client.name, until=until)
        if dump:
            self.dump()
        return self.lines

    # Chance

    def wander(self, chance: Random, steps: int) -> None:
        """Let *steps* things happen."""
        for _ in range(steps):
            client = chance.choice(self.clients)
            if chance.random() < 0.5:
                self._publish_something(chance)
            elif not client.connection:
                self.connect(client, afresh=chance.random() < 0.1, subscribe=chance.random() < 0.9)
            else:
                chance.choices(_DEEDS, weights=_WEIGHTS)[0](self, client, chance)

    def _publish_something(self, chance: Random) -> None:
        outcomes = ("confirmed", "repeated", "in doubt", "vanished", "refused")
        [outcome] = chance.choices(outcomes, weights=(12, 1, 1, 1, 1))
        ids = chance.sample(("1", "2", "3"), chance.choice((1, 1, 1, 2)))
        tenant, topic = chance.choice(TENANTS), chance.choice(TOPICS)
        key = chance.choice(("a", "b", None)) if self._has_keys else None
        self.publish(tenant, topic, *ids, user=chance.random() < 0.2, outcome=outcome, key=key)


def _past_repeats(entries: Sequence[_Entry], count: int) -> int:
    """Return *count*, or more, so that no second attempt begins what follows.

    Where a client begins between two attempts, nobody can tell afterwards which one counts.
    """
    while 0 < count < len(entries) and entries[count].is_repeat:
        count += 1
    return count


def _some(world: World, client: Client, chance: Random) -> None:
    is_cut = chance.random() < 0.2
    world.deliver(client, chance.choice(TOPICS), chance.randint(1, 6), cut_within=is_cut)


def _switch(world: World, client: Client, chance: Random) -> None:
    others = [name for name in client.names if name in client.wanted]
    name = resource(client.tenant, chance.choice(TOPICS), "1")
    if name not in client.names:
        world.join(client, name, dict(client.positions) if chance.random() < 0.5 else None)
    elif others:
        world.leave(client, chance.choice(others))


_DEEDS: Sequence[Callable[[World, Client, Random], None]] = (
    _some,
    lambda world, client, chance: world.ping(client),
    lambda world, client, chance: world.close(client),
    _switch,
    lambda world, client, chance: world.trim(chance.choice(TOPICS), chance.randint(0, 3)),
    lambda world, client, chance: world.fail_over(chance.choice((0, 0, 1, 2)), chance.randint(0, 3)),
)
_WEIGHTS = (12, 3, 3, 1, 0.5, 0.25)
