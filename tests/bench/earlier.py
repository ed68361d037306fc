"""The report of an earlier run, of which a new one replaces only what it measured again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.chart import Chart
from tests.bench.report import Figure, Section, Table

__all__ = ["with_earlier"]

_KEPT = "Kept from an earlier run: "


def with_earlier(sections: Sequence[Section], report: Path) -> list[Section]:
    """Return *sections* in the place of those with their titles in *report*, whose others are kept."""
    if not report.exists():
        return list(sections)
    document = json.loads(report.read_text())
    when = next((note for note in document["notes"] if note.startswith("Measured")), "at an unknown time")
    fresh = {section.title: section for section in sections}
    kept = []
    for each in document["sections"]:
        if each["title"] in fresh:
            kept.append(fresh.pop(each["title"]))
        elif each["failure"] is None:
            kept.append(_section(each, when))
    return [*kept, *fresh.values()]


def _section(found: Mapping[str, Any], when: str) -> Section:
    conditions = tuple(found["conditions"])
    if not any(line.startswith(_KEPT) for line in conditions):
        conditions = (*conditions, f"{_KEPT}{when}")
    figures = (
        Figure(each["name"], each["unit"], tuple(each["values"]), each["at_most"])
        for each in found["figures"]
    )
    table = found["table"]
    return Section(
        found["title"],
        conditions,
        tuple(figures),
        table=table and Table(tuple(table["head"]), tuple(map(tuple, table["rows"])), found["runs"]),
        charts=tuple(Chart(each["name"], each["title"], "", ()) for each in found["charts"]),
    )
