"""Writes the tables of docs/guides/performance.md from the last report: `python -m tests.bench.tables`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.programs import BUILD

__all__ = ["BEGIN", "END", "filled", "main", "tables_of"]

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "performance.md"
BEGIN, END = "<!-- figures: written by tests.bench.tables -->", "<!-- end of figures -->"
_MACHINE = ("cpu", "cores", "memory", "kernel", "python", "broker", "uvloop")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables between the page's marks, and the charts beside it; 1 where there is no report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tables", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    parser.add_argument("--report", type=Path, default=BUILD / "report.json", help="the report to read")
    options = parser.parse_args(arguments)
    if not options.report.exists():
        print(f"no {options.report.name} yet: run the benchmark first", file=sys.stderr)
        return 1
    report = json.loads(options.report.read_text())
    options.page.write_text(filled(options.page.read_text(), tables_of(report)))
    charts = options.page.parent / "charts"
    charts.mkdir(exist_ok=True)
    for section in report["sections"]:
        for chart in section["charts"]:
            name = f"{chart['name']}.svg"
            shutil.copyfile(options.report.parent / "charts" / name, charts / name)
    return 0


def filled(page: str, tables: str) -> str:
    """Return the page with *tables* between its marks; raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def tables_of(report: Mapping[str, Any]) -> str:
    """Return what was measured where, every target with its figure, and the comparisons."""
    machine = report["machine"]
    shown = "; ".join(f"{name} {machine[name]}" for name in _MACHINE if name in machine)
    lines = [f"Measured on: {shown}.", "", *(f"- {note}" for note in report["notes"]), ""]
    lines += [*_targets(report["sections"]), ""]
    for section in report["sections"]:
        lines += _comparison(section)
    return "\n".join(lines)


def _targets(sections: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| scenario | what | median | at most | |"
    yield "|---|---|---|---|---|"
    for section in sections:
        if section["failure"] is not None:
            yield f"| {section['title']} | not measured: {section['failure'].splitlines()[0]} | | | |"
        for figure in section["figures"]:
            if figure["at_most"] is not None:
                median, most = (_shown(figure[key], figure["unit"]) for key in ("median", "at_most"))
                row = (section["title"], figure["name"], median, most, figure["verdict"])
                yield f"| {' | '.join(row)} |"


def _shown(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}".strip() if value < 1000 else f"{value:,.0f} {unit}".strip()


def _comparison(section: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of the systems, with its chart."""
    if not section["table"]:
        return
    yield from (f"### {section['title']}", "", *section["conditions"], "")
    head, rows = section["table"]["head"], section["table"]["rows"]
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""
    for chart in section["charts"]:
        yield from (f"![{chart['title']}](charts/{chart['name']}.svg)", "")


if __name__ == "__main__":
    sys.exit(main())
