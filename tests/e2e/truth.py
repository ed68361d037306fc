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

__all__ = ["Report", "Written", "check", "is_on"]

# The identities of the broker in the order in which they lived; positions of one are compared by id.
Lives = Sequence[str]


@dataclass(frozen=True, slots=True)
class Written:
    """An event that the log confirmed, at `position`, and the channels on which it is published."""

    topic: str
    event_id: str
    position: str
    channels: tuple[str, ...]


@dataclass(slots=True)
class Report:
    """What was found: frames of events, gaps by reason, and events that only a gap told of."""

    delivered: int = 0
    covered: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    missing: list[Written] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Name:
    """A channel or pattern that the connection is on, and where its delivery begins."""

    name: str
    begins: Mapping[str, str]


def is_on(name: str, channel: str) -> bool:
    """Tell whether a subscription to *name* takes what is published on *channel*."""
    return channel.startswith(name[:-1]) if name.endswith(":*") else channel == name


def check(listener: Listener, written: Sequence[Written], *, ended: bool = False) -> Report:
    """Compare; raises AssertionError with the first difference.

    *written* is in the order of the log for each topic. With *ended* the connection was cut, and the
    rest of the log need not have come. What neither came in its turn nor was covered by a gap before is
    reported as `missing`: a broken promise. A `pong` promises that all up to its positions came before.
    """
    frames = listener.frames
    lives = _lives(frames, written)
    names = _names(frames)
    _refuse_foreign(frames, names)
    report = Report()
    for topic in sorted({each.topic for each in written} | {_topic(f) for f in frames if "offset" in f}):
        log = [each for each in written if each.topic == topic]
        _check_topic(topic, log, names, frames, lives, report, ended)
    return report


def _check_topic(
    topic: str,
    log: Sequence[Written],
    names: Sequence[_Name],
    frames: Sequence[Frame],
    lives: Lives,
    report: Report,
    ended: bool,
) -> None:
    due = [
        (each, channel)
        for each in log
        for channel in each.channels
        if any(is_on(name.name, channel) and _begun(name, each, lives) for name in names)
    ]
    place = {(each.event_id, channel): index for index, (each, channel) in enumerate(due)}
    gaps: list[Frame] = []
    at = 0
    for frame in frames:
        if frame["type"] == "pong" and topic in frame["payload"]["positions"]:
            told = frame["payload"]["positions"][topic]
            until = next(
                (i for i in range(at, len(due)) if _after(due[i][0].position, told, lives)), len(due)
            )
            _skip(due[at:until], gaps, lives, report)
            at = until
        if "offset" not in frame or _topic(frame) != topic:
            continue
        if frame["type"] == "gap":
            gaps.append(frame["payload"])
            report.gaps[frame["payload"]["reason"]] += 1
            continue
        index = place.get((frame["eventId"], frame["channel"]))
        assert index is not None, f"never due here: {frame}"
        assert index >= at, f"twice or out of order: {frame}"
        _skip(due[at:index], gaps, lives, report)
        report.delivered += 1
        at = index + 1
    if not ended:
        _skip(due[at:], gaps, lives, report)


def _skip(
    skipped: Sequence[tuple[Written, str]], gaps: Sequence[Frame], lives: Lives, report: Report
) -> None:
    for each, _ in skipped:
        if any(_covers(gap, each.position, lives) for gap in gaps):
            report.covered += 1
        else:
            report.missing.append(each)


def _lives(frames: Sequence[Frame], written: Sequence[Written]) -> Lives:
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


def _covers(gap: Frame, position: str, lives: Lives) -> bool:
    """Tell whether *position* lies after the gap's `from` and not after its `to`, across lives too."""
    start = gap.get("from")
    return (start is None or _after(position, start, lives)) and not _after(position, gap["to"], lives)


def _after(position: str, other: str, lives: Lives) -> bool:
    return _order(position, lives) > _order(other, lives)


def _order(position: str, lives: Lives) -> tuple[int, int, int]:
    parsed = parse_position(position)
    return lives.index(parsed.broker), *parsed.key


def _begun(name: _Name, each: Written, lives: Lives) -> bool:
    # A topic that was not there yet is delivered from its first entry.
    begins = name.begins.get(each.topic)
    return begins is None or _after(each.position, begins, lives)


def _names(frames: Sequence[Frame]) -> list[_Name]:
    return [
        _Name(name, frame["payload"]["positions"])
        for frame in frames
        if frame["type"] in ("connected", "subscribed")
        for name in frame["payload"]["channels"]
    ]


def _refuse_foreign(frames: Sequence[Frame], names: Sequence[_Name]) -> None:
    known: list[str] = []
    for frame in frames:
        if frame["type"] in ("connected", "subscribed"):
            known.extend(frame["payload"]["channels"])
        elif "offset" in frame and frame["type"] != "gap":
            assert any(is_on(name, frame["channel"]) for name in known), f"not subscribed: {frame}"


def _topic(frame: Frame) -> str:
    topic: str = frame["offset"].rpartition("@")[0]
    return topic
