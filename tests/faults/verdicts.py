"""The verdict on a recorded run, and the one thing that is not held against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fanwire_cli.history import Report, Source, check_history
from fanwire_cli.history.report import Anomaly, Kind
from fanwire_protocol import parse_position

__all__ = ["judge"]

_ALL = 1_000_000


def judge(paths: Sequence[Path], seen: Sequence[Mapping[str, Any]]) -> tuple[Report, int]:
    """Return the report on a history, and how many duplicates were told; *seen* are the clients' lines.

    Raises AssertionError with everything else that is wrong. A duplicate was told where the broker lost the
    event, or may have, before its publisher knew of it, and the retry added it to the log of the next life:
    who had it from the life before gets it again, behind a `failover` gap of its topic.
    """
    sources = [Source(path.name, path.read_text(encoding="utf-8").splitlines()) for path in paths]
    report = check_history(sources, limit=_ALL)
    wrong = [each for each in report.anomalies if each.kind.is_error]
    told = [each for each in wrong if _was_told(each, seen)]
    assert len(told) == len(wrong), str(report)
    return report, len(told)


def _was_told(anomaly: Anomaly, seen: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the event came once in each of two lives of the broker, with a gap between them."""
    if anomaly.kind is not Kind.DUPLICATE:
        return False
    steps = list(_steps(anomaly, seen))
    brokers = [broker for broker in steps if broker is not None]
    first, last = steps.index(brokers[0]), len(steps) - 1 - steps[::-1].index(brokers[-1])
    return len(brokers) == len(set(brokers)) == 2 and None in steps[first:last]


def _steps(anomaly: Anomaly, seen: Sequence[Mapping[str, Any]]) -> Iterator[str | None]:
    """Yield the broker of each frame of the event on its connection, and None for each `failover` gap."""
    for line in seen:
        if line.get("connection") != anomaly.connection:
            continue
        if line["op"] == "gap" and (line["topic"], line["reason"]) == (anomaly.topic, "failover"):
            yield None
        elif line["op"] == "event" and (line["channel"], line["event_id"]) == (
            anomaly.channel,
            anomaly.event_id,
        ):
            yield parse_position(line["offset"].rpartition("@")[2]).broker
