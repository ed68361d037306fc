"""What a client may conclude from the frames of one connection, checked against the truth.

An independent model of PROTOCOL §6: it knows nothing of logs, pages and replays. For each channel and topic
it keeps up to which entry everything is settled: given, told of by a gap, or not due.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fanwire_edge.core.stream import Stream
from fanwire_protocol.channels import role_channel
from fanwire_protocol.commands import Authenticate, Since, Subscribe
from fanwire_protocol.frames import FRAME_TYPES, Frame, decode_frame
from fanwire_protocol.position import Position, parse_offset, parse_position
from tests.edge.model_broker import Happened, Life, ModelBroker
from tests.edge.model_world import TOKENS, Client, Moment

__all__ = ["Witness"]

# A broker's identity and a number of entries of one topic.
Place = tuple[str, int]


class Witness:
    """The client's side of one connection to any edge of *broker*."""

    def __init__(self, broker: ModelBroker, client: Client) -> None:
        self._broker = broker
        self._client = client
        self._at_byte = 0
        self.on: set[str] = set()
        self.held: dict[str, Position] = {}
        self.history: list[dict[str, Position]] = []
        self.frames: list[Frame] = []
        self.is_over = False
        # The numbers of commands that were answered with an error, or were refreshes that succeeded.
        self._replied: set[int] = set()
        # By channel and topic: from where on everything is due, and up to where it is settled.
        self._begun: dict[tuple[str, str], Place] = {}
        self._settled: dict[tuple[str, str], Place] = {}
        self._given: set[tuple[str, str, int, str]] = set()
        # What gaps told of as trimmed, by topic: after the first place, up to the second.
        self._trimmed: dict[str, list[tuple[Place, Place]]] = {}
        # Topics of which a gap has to come next.
        self._debts: dict[str, Position | None] = {}
        # How far the frames of each topic went since the last answer.
        self._passed: dict[str, Place] = {}

    def watch(self) -> None:
        """Walk over the frames that came since the last time."""
        received = self._client.received
        for text, end in _texts(received, self._at_byte):
            self._at_byte = end
            if self.is_over:
                return
            frame = decode_frame(text)
            self.frames.append(frame)
            self._take(frame, self._client.moment(end))
            self.history.append(dict(self.held))

    def _take(self, frame: Frame, moment: Moment) -> None:
        payload: Any = frame.payload
        match frame.type:
            case "connected":
                self._answer(payload, self._client.since, moment)
            case "subscribed":
                command = self._client.asked[int(str(frame.reply_to))]
                assert isinstance(command, Subscribe)
                self._answer(payload, command.since, moment)
            case "authenticated":
                self._refreshed(payload)
                self._replied.add(int(str(frame.reply_to)))
            case "unsubscribed":
                self.on.difference_update(payload["channels"])
            case "pong":
                for topic, text in payload["positions"].items():
                    self._hold(topic, parse_position(text))
            case "gap":
                self._gap(payload, moment)
            case "disconnect":
                self.is_over = True
            case "error":
                self._replied.add(int(str(frame.reply_to)))
            case _:
                assert frame.type not in FRAME_TYPES
                self._event(frame)

    # Answers

    def _answer(self, payload: Any, since: Since | None, moment: Moment) -> None:
        starts = {topic: parse_position(text) for topic, text in payload["positions"].items()}
        assert (payload["recovered"] is None) == (since is None)
        assert not self._debts
        new = set(payload["channels"]) - self.on
        for topic, start in starts.items():
            begun = self._judge(topic, start, since, moment)
            for channel in payload["channels"]:
                if channel in new:
                    self._begun[channel, topic] = self._settled[channel, topic] = begun
                elif since is not None and begun[0] == self._place_of(channel, topic, start)[0]:
                    self._begun[channel, topic] = min(begun, self._begun.get((channel, topic), begun))
                    self._settled[channel, topic] = min(begun, self._place_of(channel, topic, start))
        assert payload["recovered"] is (None if since is None else not self._debts)
        self.on |= new
        for topic, start in starts.items():
            if topic not in self._debts:
                self._hold(topic, start)
            self._passed.pop(topic, None)

    def _refreshed(self, payload: Any) -> None:
        """Other roles: what is new begins here, at the positions that the frame tells."""
        assert not self._debts
        assert payload["recovered"] is None
        joined = set(payload["channels"])
        new = joined - self.on
        left = {name for name in self.on if ":role:" in name} - joined
        assert left <= self._doubtful(), "a role that the token has was left"
        self.on -= left
        for topic, text in payload["positions"].items():
            start = parse_position(text)
            for channel in new:
                self._begun[channel, topic] = self._settled[channel, topic] = self._place(topic, start)
        self.on |= new
        for topic, text in payload["positions"].items():
            self._hold(topic, parse_position(text))
            self._passed.pop(topic, None)

    def _doubtful(self) -> set[str]:
        """Return the channels of roles that the next token to be answered does not have: they may have been
        left already."""
        for number, command in self._client.asked.items():
            if isinstance(command, Authenticate) and number not in self._replied:
                principal = TOKENS.get(command.token)
                if principal is not None and principal.user == "u-1":
                    kept = {role_channel("acme", role) for role in principal.roles}
                    return {name for name in self.on if ":role:" in name} - kept
        return set()

    def _judge(self, topic: str, start: Position, since: Since | None, moment: Moment) -> Place:
        """Return from where on everything is due; where a gap has to come, that is noted."""
        place = self._place(topic, start)
        if since is None:
            return place
        asked = since.get(topic)
        if asked == start:
            return place
        if asked is None:
            # The beginning, or up to where a gap will tell.
            if place[1]:
                self._debts[topic] = start
                self._check_unnamed(topic, start, since, moment)
            return place
        assert asked.broker != start.broker or asked.key < start.key, "delivery begins after what one has"
        self._debts[topic] = start
        return self._place(topic, asked) if asked.broker == start.broker else place

    def _check_unnamed(self, topic: str, start: Position, since: Since, moment: Moment) -> None:
        life = self._life(topic, start)
        youngest = max((position.key for position in since.values()), default=(0, 0))
        if start.broker == moment.broker and not moment.removed.get(Stream(topic, 0), 0):
            first = Position(life.ever[0].entry_id, start.broker)
            assert first.key <= youngest, "a topic that is young enough is read from its first entry"

    # Frames with a position

    def _event(self, frame: Frame) -> None:
        assert frame.offset is not None
        assert frame.channel is not None
        offset = parse_offset(frame.offset)
        topic, broker = offset.topic, offset.position.broker
        assert topic not in self._debts, "a gap comes before any later event"
        happened = self._happened(frame, topic, offset.position)
        assert frame.channel in happened.channels
        matching = [name for name in self.on if _matches(name, frame.channel)]
        assert matching, "nobody asked for it"
        begun = [self._begun.get((name, topic), (broker, 0)) for name in matching]
        assert any((broker, happened.number) >= place for place in begun), "it was held already"
        key = broker, topic, happened.head, frame.channel
        assert key not in self._given or self._may_be_news(topic, broker, happened), "it came twice"
        before = self._passed.get(topic, (broker, 0))
        assert before <= (broker, happened.number), "out of order"
        self._passed[topic] = broker, happened.number
        self._settle(topic, (broker, happened.number))
        self._given.add(key)
        self._hold(topic, offset.position)

    def _may_be_news(self, topic: str, broker: str, happened: Happened) -> bool:
        """Tell whether what makes an entry a copy was trimmed, as far as a gap told: nobody read it then."""
        life = self._broker.lives[broker][Stream(topic, 0)]
        trimmed = self._trimmed.get(topic, ())
        return all(
            any(start < (broker, each.number + 1) <= end for start, end in trimmed)
            for each in life.ever[: happened.number]
            if self._broker.is_copy_of(happened, each)
        )

    def _happened(self, frame: Frame, topic: str, position: Position) -> Happened:
        """Return the entry of a frame; one on several channels carries the position before it."""
        life = self._life(topic, position)
        number = life.number_at(position.id)
        if number:
            at = life.ever[number - 1]
            if (at.event_id, at.entry_id, len(at.channels)) == (frame.event_id, position.id, 1):
                return at
        behind = life.ever[number]
        assert behind.event_id == frame.event_id
        assert len(behind.channels) > 1
        return behind

    def _gap(self, payload: Any, moment: Moment) -> None:
        topic, end = payload["topic"], parse_position(payload["to"])
        start = parse_position(payload["from"]) if "from" in payload else None
        debt = self._debts.pop(topic, None)
        assert debt in (None, end)
        place = self._place(topic, end)
        if start is not None:
            if any(self._place_of(name, topic, end)[0] == start.broker for name in self.on):
                self._settle(topic, self._place(topic, start))
            self._check_needed(topic, start, end, moment)
            if payload["reason"] == "trimmed":
                self._trimmed.setdefault(topic, []).append((self._place(topic, start), place))
        for name in self.on:
            settled = self._place_of(name, topic, end)
            self._settled[name, topic] = max(settled, place) if settled[0] == place[0] else place
            if settled[0] != place[0]:
                self._begun[name, topic] = place
        self._passed.pop(topic, None)
        self.held[topic] = end

    def _check_needed(self, topic: str, start: Position, end: Position, moment: Moment) -> None:
        """A gap is told only where the stream does not prove what it is about."""
        if not start.broker == end.broker == moment.broker:
            return
        life, number = self._life(topic, start), self._place(topic, start)[1]
        removed = moment.removed.get(Stream(topic, 0), 0)
        is_entry = start.id == (life.ever[number - 1].entry_id if number else "0-0")
        has_it = number > removed or number == removed == 0
        assert not (is_entry and has_it), "a gap that is none"

    def _hold(self, topic: str, position: Position) -> None:
        """A position says that all before it was given, on every answered channel."""
        assert topic not in self._debts, "a position before the gap hides it"
        self._settle(topic, self._place(topic, position))
        self.held[topic] = position

    def _settle(self, topic: str, until: Place) -> None:
        life = self._broker.lives[until[0]][Stream(topic, 0)]
        doubtful = self._doubtful()
        for name in self.on:
            settled = self._settled.get((name, topic), (until[0], 0))
            assert settled[0] == until[0], "another broker's position without a gap before"
            for each in life.ever[settled[1] : until[1]] if name not in doubtful else ():
                for channel in each.channels:
                    if _matches(name, channel) and not each.is_copy:
                        key = until[0], topic, each.number, channel
                        assert key in self._given, f"hidden: {topic} {each} on {name}"
            self._settled[name, topic] = max(settled, until)

    # Places

    def _life(self, topic: str, position: Position) -> Life:
        return self._broker.lives[position.broker].setdefault(Stream(topic, 0), Life())

    def _place(self, topic: str, position: Position) -> Place:
        return position.broker, self._life(topic, position).number_at(position.id)

    def _place_of(self, name: str, topic: str, position: Position) -> Place:
        return self._settled.get((name, topic), (position.broker, 0))


def _matches(name: str, channel: str) -> bool:
    return name == channel or (name.endswith(":*") and channel.startswith(name[:-1]))


def _texts(data: bytes, at: int) -> Iterator[tuple[bytes, int]]:
    """Yield the payload of every whole text frame from *at* on, with the place behind it."""
    while len(data) >= at + 2:
        opcode, size, body = data[at], data[at + 1], at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(data) < body + width:
                return
            size, body = int.from_bytes(data[body : body + width], "big"), body + width
        if len(data) < body + size:
            return
        at = body + size
        if opcode == 0x81:
            yield data[body:at], at
