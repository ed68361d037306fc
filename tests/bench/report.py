"""The report: figures with their targets, as JSON and as Markdown. A miss is always shown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.chart import Chart

__all__ = ["Figure", "Report", "Section", "Table", "number"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity: a value for each run, and what its median may be *at_most*."""

    name: str
    unit: str
    values: tuple[float, ...]
    at_most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_missed(self) -> bool:
        return self.at_most is not None and self.median > self.at_most

    @property
    def verdict(self) -> str:
        """Say `met` or `missed by …`; empty where there is no target."""
        if self.at_most is None:
            return ""
        if not self.is_missed:
            return "met"
        excess = self.median - self.at_most
        share = f" ({excess / self.at_most:.0%})" if self.at_most else ""
        return f"MISSED by {number(excess)}{_unit(self.unit)}{share}"

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON report says about it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
            "at_most": self.at_most,
            "verdict": self.verdict,
        }

    def as_row(self) -> str:
        """Return its row of the table."""
        target = "" if self.at_most is None else f"≤ {number(self.at_most)}{_unit(self.unit)}"
        spread = f"{number(min(self.values))} … {number(max(self.values))}" if len(self.values) > 1 else ""
        median = f"**{number(self.median)}**{_unit(self.unit)}"
        return f"| {self.name} | {median} | {spread} | {len(self.values)} | {target} | {self.verdict} |"


@dataclass(frozen=True, slots=True)
class Table:
    """What several systems did under the same conditions; *runs* holds every run's values for the JSON."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    runs: Mapping[str, Any]

    def as_markdown(self) -> list[str]:
        """Return the lines of the table."""
        lines = [f"| {' | '.join(self.head)} |", "|---" * len(self.head) + "|"]
        return lines + [f"| {' | '.join(row)} |" for row in self.rows]


@dataclass(frozen=True, slots=True)
class Section:
    """The figures of one scenario under its conditions, or why there are none."""

    title: str
    conditions: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    failure: str | None = None
    table: Table | None = None
    charts: tuple[Chart, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return what the JSON report says about it."""
        return {
            "title": self.title,
            "conditions": list(self.conditions),
            "figures": [figure.as_json() for figure in self.figures],
            "table": {"head": self.table.head, "rows": self.table.rows} if self.table else None,
            "runs": dict(self.table.runs) if self.table else {},
            "charts": [{"name": chart.name, "title": chart.title} for chart in self.charts],
            "failure": self.failure,
        }

    def as_markdown(self) -> str:
        """Return it as a table under a heading."""
        lines = [f"## {self.title}", "", *self.conditions, ""]
        if self.failure is not None:
            lines += ["**FAILED**, so there are no figures:", "", "```", self.failure, "```", ""]
        if self.table:
            lines += [*self.table.as_markdown(), ""]
        for chart in self.charts:
            lines += [f"![{chart.title}](charts/{chart.name}.svg)", ""]
        if self.figures:
            lines += ["| figure | median | min … max | runs | target | |", "|---|---|---|---|---|---|"]
            lines += [figure.as_row() for figure in self.figures]
            lines.append("")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Report:
    """All sections, and the machine they were measured on."""

    machine: Mapping[str, str]
    notes: Sequence[str]
    sections: Sequence[Section]

    @property
    def has_failed(self) -> bool:
        return any(section.failure is not None for section in self.sections)

    @property
    def missed(self) -> list[Figure]:
        return [figure for section in self.sections for figure in section.figures if figure.is_missed]

    def as_json(self) -> str:
        """Return the report as a JSON document."""
        document = {
            "machine": dict(self.machine),
            "notes": list(self.notes),
            "sections": [section.as_json() for section in self.sections],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def as_markdown(self) -> str:
        """Return the report as Markdown, its summary first."""
        machine = [f"- {name}: {value}" for name, value in self.machine.items()]
        notes = [f"- {note}" for note in self.notes]
        head = ["# Benchmark", "", self._summary(), "", *self._targets(), *machine, "", *notes, ""]
        return "\n".join(head) + "\n" + "\n".join(section.as_markdown() for section in self.sections)

    def write(self, folder: Path) -> None:
        """Write `report.json` and `report.md` into *folder*."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(self.as_json())
        (folder / "report.md").write_text(self.as_markdown())
        charts = folder / "charts"
        charts.mkdir(exist_ok=True)
        # Of an earlier run there are no bars any more; its drawing is there.
        for chart in (chart for section in self.sections for chart in section.charts if chart.bars):
            (charts / f"{chart.name}.svg").write_text(chart.as_svg())

    def _targets(self) -> list[str]:
        """Return every target in one table, as stage 3 asks for them."""
        rows = [
            f"| {section.title} | {figure.name} | {number(figure.median)}{_unit(figure.unit)} "
            f"| ≤ {number(figure.at_most)}{_unit(figure.unit)} | {figure.verdict} |"
            for section in self.sections
            for figure in section.figures
            if figure.at_most is not None
        ]
        if not rows:
            return []
        return ["| scenario | what | median | target | |", "|---|---|---|---|---|", *rows, ""]

    def _summary(self) -> str:
        targets = [
            figure for section in self.sections for figure in section.figures if figure.at_most is not None
        ]
        lines = [f"{len(targets) - len(self.missed)} of {len(targets)} targets met."]
        lines += [f"**Missed**: {figure.name}: {figure.verdict}." for figure in self.missed]
        lines += [f"**Failed**: {section.title}." for section in self.sections if section.failure is not None]
        return "\n".join(lines)


def number(value: float) -> str:
    """Return a value with the digits that mean something."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{2 if abs(value) < 10 else 1}f}"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
