"""The accuser: puts names, positions and lines to what was found."""

from __future__ import annotations

from collections.abc import Sequence

from fanwire_cli.history.gaps import Gap
from fanwire_cli.history.records import LINE_BITS
from fanwire_cli.history.report import Anomaly, Findings, Kind
from fanwire_cli.history.truth import Truth

__all__ = ["Accuser", "pack_line"]

_SHOWN_LINES_OF_PUBLISHER = 3


def pack_line(source: int, line: int) -> int:
    """Return one number for a line of a source."""
    return source << LINE_BITS | line


class Accuser:
    """Writes anomalies into *findings*; *sources* are the names of the files."""

    def __init__(self, truth: Truth, findings: Findings, sources: Sequence[str]) -> None:
        self._truth = truth
        self._findings = findings
        self._sources = sources

    def accuse(
        self,
        kind: Kind,
        text: str,
        client: str,
        connection: str | None,
        pair: int,
        lines: Sequence[int],
        offset: int | None = None,
    ) -> None:
        """Note an anomaly of an event; *offset* is the number of the one that its frame carried."""
        if not self._findings.has_room(kind):
            return
        event = self._truth.event(pair)
        places = [] if offset is None else [self._truth.offsets[offset].position]
        places.extend(event.places())
        where = (*lines, *event.lines[:_SHOWN_LINES_OF_PUBLISHER])
        anomaly = Anomaly(
            kind=kind,
            text=text,
            client=client,
            connection=connection,
            topic=event.topic,
            channel=self._truth.channel(pair),
            event_id=event.event_id,
            positions=tuple(dict.fromkeys(map(str, places))),
            lines=tuple(map(self._name, where)),
        )
        self._findings.kept.append(anomaly)

    def accuse_gap(self, client: str, gap: Gap) -> None:
        """Note a false gap."""
        if not self._findings.has_room(Kind.FALSE_GAP):
            return
        told = gap.told
        anomaly = Anomaly(
            kind=Kind.FALSE_GAP,
            text=f"nothing can be missing in this gap ({told.reason})",
            client=client,
            connection=told.connection,
            topic=told.topic,
            channel=told.channel,
            event_id=None,
            positions=tuple(str(place) for place in (told.start, told.to) if place is not None),
            lines=(self._name(gap.line),),
        )
        self._findings.kept.append(anomaly)

    def _name(self, line: int) -> str:
        return f"{self._sources[line >> LINE_BITS]}:{line & (1 << LINE_BITS) - 1}"
