"""What a client may conclude from the frames that reached it, checked against the truth.

An independent model of PROTOCOL §6: it knows nothing of hubs, logs and batches. It walks over the frames
of one connection and keeps, for each topic, how many entries of the topic's log are settled: given on
every channel that the connection was on, covered by a gap, or not due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fanwire_protocol.frames import FRAME_TYPES, Frame, decode_frame
from fanwire_protocol.position import Position, parse_offset, parse_position
from tests.edge.core.memory_edge import Happened
from tests.edge.core.pieces import texts_in


class Observer:
    """The client's side of one connection; *topics* are the logs that feed it."""

    def __init__(self, topics: Mapping[str, Sequence[Happened]]) -> None:
        self.topics = topics
        self.on: set[str] = set()
        self.settled: dict[str, int] = {}
        self.held: dict[str, int] = {}
        # The entry of which some frames came and others have to come next, and how many came.
        self.begun: dict[str, tuple[int, int]] = {}
        self.frames = 0

    def watch(self, data: bytes) -> None:
        """Walk over the whole frames at the beginning of *data*."""
        for text in texts_in(data):
            self.frames += 1
            self._take(decode_frame(text))
            self._check_held()

    def _take(self, frame: Frame) -> None:
        payload: Any = frame.payload
        match frame.type:
            case "connected":
                self.on.update(payload["channels"])
                self._place(payload["positions"], first=True)
            case "subscribed":
                self._place(payload["positions"])
                self.on.update(payload["channels"])
            case "unsubscribed":
                assert self.on.issuperset(payload["channels"])
                self.on.difference_update(payload["channels"])
            case "pong":
                self._place(payload["positions"])
            case "gap":
                self._gap(payload["topic"], payload["from"], payload["to"])
            case "error":
                pass
            case _:
                assert frame.type not in FRAME_TYPES
                self._event(frame)

    def _place(self, positions: Mapping[str, str], *, first: bool = False) -> None:
        """A position says that all before it is settled; nothing that is due may lie in between."""
        assert positions.keys() == self.topics.keys(), "every topic that can feed the connection is named"
        for topic, text in positions.items():
            number = self._number(topic, parse_position(text))
            if first:
                self.settled[topic] = number
            else:
                assert topic not in self.begun, "the frames of an entry come together"
                self._settle(topic, number)
            self.held[topic] = number

    def _settle(self, topic: str, number: int) -> None:
        between = sorted((self.settled[topic], number))
        assert not any(map(self._due, self.topics[topic][slice(*between)])), "an event was hidden"
        self.settled[topic] = max(between)

    def _gap(self, topic: str, start: str, end: str) -> None:
        assert topic not in self.begun
        self._settle(topic, self._number(topic, parse_position(start)))
        self.settled[topic] = self.held[topic] = self._number(topic, parse_position(end))

    def _event(self, frame: Frame) -> None:
        assert frame.offset is not None
        offset = parse_offset(frame.offset)
        topic = offset.topic
        number, came = self.begun.pop(topic, (-1, 0))
        if number < 0:
            ids = [happened.event_id for happened in self.topics[topic]]
            number = ids.index(frame.event_id)
            assert number >= self.settled[topic], "an event came twice, or late"
            self._settle(topic, number)
        happened = self.topics[topic][number]
        due = self._due(happened)
        assert (frame.event_id, frame.channel) == (happened.event_id, due[came]), "in the routes' order"
        if came + 1 == len(due):
            self.settled[topic] = number + 1
        else:
            self.begun[topic] = (number, came + 1)
        self.held[topic] = self._number(topic, offset.position)

    def _check_held(self) -> None:
        """Were the connection cut here: nothing undelivered is hidden, and next to nothing comes again."""
        for topic, held in self.held.items():
            settled = self.settled[topic]
            assert held <= settled, "a position hides an undelivered event"
            again = [each for each in self.topics[topic][held:settled] if self._due(each)]
            assert len(again) <= 1
            assert all(len(each.channels) > 1 for each in again)

    def _due(self, happened: Happened) -> list[str]:
        return [channel for channel in happened.channels if self._is_on(channel)]

    def _is_on(self, channel: str) -> bool:
        return channel in self.on or any(
            pattern.endswith(":*") and channel.startswith(pattern[:-1]) for pattern in self.on
        )

    def _number(self, topic: str, position: Position) -> int:
        """Return how many entries lie at or before *position*, which is one of theirs or the beginning."""
        number = sum(1 for each in self.topics[topic] if each.position.key <= position.key)
        assert position.id == (self.topics[topic][number - 1].position.id if number else "0-0")
        return number
