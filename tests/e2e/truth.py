"""What a connection ought to have received, worked out from the contract alone (PROTOCOL §6).

Knows nothing of the edge: it compares what was written with what came, for every topic: each event once
per channel, in the order of the log, or a gap that covers it before any later event of the topic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fanwire_protocol import parse_position
from tests.e2e.listener import Frame, Listener

__all__ = ["Report", "Written", "check", "is_on", "is_told"]


@dataclass(frozen=True, slots=True)
class Written:
    """An event that the log confirmed, at `position`, and the channels on which it is published."""

    topic: str
    event_id: str
    position: str
    channels: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """What was found: frames of events, gaps by reason, frames that only a gap told of, and the rest."""

    delivered: int = 0
    covered: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    missing: list[Written] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _History:
    """How positions follow each other: the broker's identities as they came, and where logs ended."""

    lives: Sequence[str]
    renewals: Sequence[str] = ()

    def is_after(self, position: str, other: str) -> bool:
        return self._order(position) > self._order(other)

    def covers(self, gap: Frame, position: str) -> bool:
        """Tell whether *position* lies after the gap's `from` and not after its `to`."""
        start, end = gap.get("from", "0-0~" + self.lives[0]), gap["to"]
        if not self.is_after(end, start):
            # The log was begun anew: what is told of is what the old one had.
            end = next((last for last in self.renewals if not self.is_after(start, last)), end)
        return self.is_after(position, start) and not self.is_after(position, end)

    def _order(self, position: str) -> tuple[int, int, int]:
        parsed = parse_position(position)
        return self.lives.index(parsed.broker), *parsed.key


def is_on(name: str, channel: str) -> bool:
    """Tell whether a subscription to *name* takes what is published on *channel*."""
    return channel.startswith(name[:-1]) if name.endswith(":*") else channel == name


def is_told(listener: Listener, event: Written) -> bool:
    """Tell whether a gap that came covers *event*."""
    history = _History(_lives(listener.frames, [event]))
    gaps = [gap for gap in listener.gaps if gap["topic"] == event.topic]
    return any(history.covers(gap, event.position) for gap in gaps)


def check(
    listener: Listener, written: Sequence[Written], *, ended: bool = False, renewals: Sequence[str] = ()
) -> Report:
    """Compare; raises AssertionError for what is foreign, came twice or out of order.

    *written* is in the order of the log for each topic. With *ended* the connection was cut, and the
    rest of the log need not have come. What neither came in its turn nor was covered by a gap before is
    reported as `missing`: a broken promise. A `pong` promises that all up to its positions came before.
    *renewals* are the last positions of logs that were removed; a gap that goes back covers up to there.
    """
    frames = listener.frames
    history = _History(_lives(frames, written), renewals)
    names = _names(frames)
    _refuse_foreign(frames)
    report = Report()
    for topic in sorted({each.topic for each in written} | {_topic(f) for f in frames if "offset" in f}):
        due = [
            (each, channel)
            for each in written
            if each.topic == topic
            for channel in each.channels
            if any(is_on(name, channel) and _has_begun(begins, each, history) for name, begins in names)
        ]
        walk = _Walk(topic, due, history, report)
        for frame in frames:
            walk.take(frame)
        if not ended:
            walk.account_for(len(due))
    return report


class _Walk:
    """Goes through the frames of one topic beside what is due."""

    def __init__(
        self, topic: str, due: Sequence[tuple[Written, str]], history: _History, report: Report
    ) -> None:
        self._topic = topic
        self._due = due
        self._place = {(each.event_id, channel): index for index, (each, channel) in enumerate(due)}
        self._history = history
        self._report = report
        self._gaps: list[Frame] = []
        self._next = 0

    def take(self, frame: Frame) -> None:
        """Take the next frame of the connection."""
        if frame["type"] == "pong":
            self._take_pong(frame["payload"]["positions"].get(self._topic))
        elif _topic(frame) != self._topic:
            return
        elif frame["type"] == "gap":
            self._gaps.append(frame["payload"])
            self._report.gaps[frame["payload"]["reason"]] += 1
        else:
            self._take_event(frame)

    def account_for(self, until: int) -> None:
        """Note what came before *until* in the log and was passed over."""
        for each, _ in self._due[self._next : until]:
            if any(self._history.covers(gap, each.position) for gap in self._gaps):
                self._report.covered += 1
            else:
                self._report.missing.append(each)
        self._next = max(self._next, until)

    def _take_event(self, frame: Frame) -> None:
        index = self._place.get((frame["eventId"], frame["channel"]))
        assert index is not None, f"never due here: {frame}"
        assert index >= self._next, f"twice or out of order: {frame}"
        self.account_for(index)
        self._next = index + 1
        self._report.delivered += 1

    def _take_pong(self, position: str | None) -> None:
        until = self._next
        while (
            position is not None
            and until < len(self._due)
            and not self._history.is_after(self._due[until][0].position, position)
        ):
            until += 1
        self.account_for(until)


def _lives(frames: Sequence[Frame], written: Sequence[Written]) -> list[str]:
    """Return the broker's identities in the order in which the connection heard of them."""
    heard: list[str] = []
    for frame in frames:
        payload = frame["payload"]
        if frame["type"] in ("connected", "subscribed", "pong"):
            heard.extend(payload["positions"].values())
        elif frame["type"] == "gap":
            heard.extend(payload[end] for end in ("from", "to") if end in payload)
    heard.extend(each.position for each in written)
    return list(dict.fromkeys(parse_position(position).broker for position in heard))


def _has_begun(begins: Mapping[str, str], each: Written, history: _History) -> bool:
    # A topic that was not there yet is delivered from its first entry.
    begin = begins.get(each.topic)
    return begin is None or history.is_after(each.position, begin)


def _names(frames: Sequence[Frame]) -> list[tuple[str, Mapping[str, str]]]:
    """Return each confirmed channel or pattern with the positions after which its delivery begins."""
    return [
        (name, frame["payload"]["positions"])
        for frame in frames
        if frame["type"] in ("connected", "subscribed")
        for name in frame["payload"]["channels"]
    ]


def _refuse_foreign(frames: Sequence[Frame]) -> None:
    known: list[str] = []
    for frame in frames:
        if frame["type"] in ("connected", "subscribed"):
            known.extend(frame["payload"]["channels"])
        elif "offset" in frame and frame["type"] != "gap":
            assert any(is_on(name, frame["channel"]) for name in known), f"not subscribed: {frame}"


def _topic(frame: Frame) -> str:
    """Return the topic that a frame came from, empty for the edge's own frames."""
    topic: str = frame.get("offset", "").rpartition("@")[0]
    return topic
