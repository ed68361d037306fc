"""The checker: reads a history and judges every client in it. Pure but for the lines that are handed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fanwire_cli.history.accuser import Accuser, pack_line
from fanwire_cli.history.journal import Journal
from fanwire_cli.history.parsing import InvalidLine, parse_line
from fanwire_cli.history.report import Findings, Kind, Report
from fanwire_cli.history.session import Session
from fanwire_cli.history.truth import Truth

__all__ = ["InvalidHistory", "Source", "check_history"]


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a history; all lines of one client stand in one, in the order in which they happened."""

    name: str
    lines: Iterable[str]


class InvalidHistory(ValueError):
    """A line cannot be read as an operation; the text names file, line and field."""


def check_history(sources: Iterable[Source], *, limit: int = 100) -> Report:
    """Judge a history, keeping details of *limit* anomalies of each kind. Raises InvalidHistory."""
    journal = Journal()
    names: list[str] = []
    lines = 0
    for source in sources:
        lines += _read(source, len(names), journal)
        names.append(source.name)
    truth = Truth(journal)
    findings = Findings(limit)
    sessions = _judge(journal, truth, Accuser(truth, findings, names))
    counts = {kind: findings.counts[kind] for kind in Kind}
    return Report({"lines": lines, **_statistics(journal, sessions)}, counts, findings.kept)


def _read(source: Source, number: int, journal: Journal) -> int:
    count = 0
    for count, line in enumerate(source.lines, 1):
        try:
            journal.take(parse_line(line), pack_line(number, count))
        except InvalidLine as error:
            raise InvalidHistory(f"{source.name}:{count}: {error}") from error
    return count


def _judge(journal: Journal, truth: Truth, accuser: Accuser) -> Sequence[Mapping[str, int]]:
    figures = []
    for client, track in journal.tracks.items():
        # One session at a time is held in memory.
        session = Session(client, truth, accuser)
        session.run(track)
        figures.append(
            {"frames": session.frames, "repeats": session.repeats, "told by gaps": len(session.told)}
        )
    return figures


def _statistics(journal: Journal, sessions: Sequence[Mapping[str, int]]) -> Mapping[str, int]:
    events = journal.events
    return {
        "events confirmed": sum(event.acked is not None for event in events),
        "events in doubt": sum(event.exists and event.acked is None for event in events),
        "clients": len(sessions),
        "connections": len(journal.connections),
        **{name: sum(each[name] for each in sessions) for name in ("frames", "repeats", "told by gaps")},
    }
