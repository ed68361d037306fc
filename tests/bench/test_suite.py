"""The whole suite in small: fanwire against the floor, and what a report makes of its figures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.audience import Audience
from tests.bench.chart import Bar, Chart
from tests.bench.contest import FANWIRE, Mode, Outcome, Stage, compete
from tests.bench.earlier import with_earlier
from tests.bench.machine import Cores
from tests.bench.order import Order
from tests.bench.peers import PEERS, NotInstalled
from tests.bench.report import Report, Section
from tests.bench.scenario_fanout import STAGES, contests, section_of
from tests.bench.side import Run
from tests.bench.tables import BEGIN, END, filled
from tests.bench.tables import main as tables

MODE = Mode("tiny", "1 → 20", Order(20, 100), 20, at_most=1.15, is_latency=True)
ROOMS = Mode("rooms", "4 channels x 5", Order(16, 200, 4, resources=4), 5)
SVG = "{http://www.w3.org/2000/svg}"


def missing() -> str:
    """A version of something that is not there."""
    raise NotInstalled("no program")


def test_suite_measures_fanwire_and_floor_and_names_what_is_missing() -> None:
    """Two stages with a real edge give pairs of runs; a peer that is not there is said to be missing."""
    stages = (
        Stage("one", Audience(20, ("b:1",)), (MODE,)),
        Stage("four", Audience(20, ("b:%d",), groups=4), (ROOMS,)),
    )
    outcome = compete(stages, [replace(PEERS[0], version=missing)], {True: 1, False: 2}, Cores.choose())

    assert outcome.failures == {PEERS[0].name: "not installed: no program"}
    for mode in (MODE, ROOMS):
        pairs = outcome.pairs[mode.name][FANWIRE]
        assert len(pairs) == 2
        for ours, bare in pairs:
            assert bare is not None
            assert ours.frame_bytes == bare.frame_bytes == 204
            assert ours.us_per_delivery > 0 < bare.us_per_delivery
    text = section_of(MODE, outcome).as_markdown()
    assert f"| {PEERS[0].name} | not installed: no program |" in text
    assert "| **fanwire** |" in text


def run(us_per_delivery: float, p99_ms: float = 1.0) -> Run:
    """Return a run with these figures."""
    return Run(us_per_delivery, 0.1, p99_ms / 2, p99_ms, p99_ms * 2, 10.0, 204.0, 1.0)


@pytest.fixture
def outcome() -> Outcome:
    """Fanwire at 1.2 times the floor, one peer at 1.1 times with a worse p99, one at 3 times."""
    found = Outcome()
    for _ in range(3):
        found.add(MODE, FANWIRE, (run(6.0, 2.0), run(5.0)))
        found.add(MODE, "quick", (run(11.0, 9.0), run(10.0)))
        found.add(MODE, "slow", (run(15.0, 5.0), run(5.0)))
    found.failures["gone"] = "NoAnswer: it ended\nand more"
    return found


def test_targets_are_the_floor_and_the_best_peer(outcome: Outcome) -> None:
    """Ratios to the floor beside each decide about CPU, p99 about latency; misses say by how much."""
    section = section_of(MODE, outcome)
    verdicts = {figure.name: (figure.median, figure.at_most, figure.verdict) for figure in section.figures}

    assert verdicts["CPU per delivery, fanwire / floor"] == (1.2, 1.15, "MISSED by 0.05 times (4%)")
    peer = verdicts["CPU per delivery over the floor's, below the best peer's (quick)"]
    assert peer == (1.2, 1.1, "MISSED by 0.10 times (9%)")
    assert verdicts["p99 at equal load, below the best peer's (slow)"] == (2.0, 5.0, "met")
    assert "| gone | NoAnswer: it ended |" in section.as_markdown()


def test_without_fanwire_there_is_no_comparison() -> None:
    """A section without fanwire's own runs is a failure."""
    found = Outcome(failures={FANWIRE: "NoAnswer: no"})
    assert section_of(MODE, found).failure == "NoAnswer: no"


def test_the_report_holds_every_run_and_draws_the_medians(outcome: Outcome, tmp_path: Path) -> None:
    """JSON has every run of every system, Markdown a table of all targets, and a chart a bar for each."""
    report = Report({"cpu": "some"}, [], [section_of(MODE, outcome)])
    report.write(tmp_path)

    document = json.loads((tmp_path / "report.json").read_text())
    systems = document["sections"][0]["runs"]["systems"]
    assert [found["us_per_delivery"] for found in systems["quick"]] == [11.0] * 3
    text = (tmp_path / "report.md").read_text()
    assert "| 1 → 20 | CPU per delivery, fanwire / floor | 1.20 times | ≤ 1.15 times | MISSED" in text
    assert "![1 → 20: CPU per delivery](charts/tiny.svg)" in text
    drawing = ElementTree.parse(tmp_path / "charts" / "tiny.svg").getroot()
    labels = [element.text for element in drawing.iter(f"{SVG}text") if element.get("text-anchor")]
    assert labels == ["floor (bare send)", "fanwire", "quick", "slow"]


def test_bars_are_as_long_as_their_values() -> None:
    """Twice the value is twice the length; text is escaped."""
    chart = Chart("c", "a < b", "µs", [Bar("x & y", 2.0, 1, 3), Bar("z", 4.0, 4, 4, "ours")])
    drawing = ElementTree.fromstring(chart.as_svg())
    widths = [float(element.get("width") or 0) for element in drawing.iter(f"{SVG}rect")][1:]

    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert "x & y" in [element.text for element in drawing.iter(f"{SVG}text")]


def test_every_stage_asks_for_what_its_clients_hear() -> None:
    """The recipients of each mode follow from its clients and their channels."""
    for stage in STAGES.values():
        for mode in stage.modes:
            channels = mode.order.resources if "%d" in stage.audience.channels[0] else 1
            assert stage.audience.count == mode.recipients * channels, mode.name
    assert callable(contests)
    assert Section("t", ()).table is None


def test_the_guide_gets_its_tables_from_the_report(outcome: Outcome, tmp_path: Path) -> None:
    """What stood between the marks is replaced; targets, comparisons and charts come from the report."""
    sections = [section_of(MODE, outcome), Section("Broken", (), failure="NoAnswer: no\nmore")]
    Report({"cpu": "some"}, ["Quiet."], sections).write(tmp_path)
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text(f"Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")

    assert tables(["--page", str(page), "--report", str(tmp_path / "report.json")]) == 0

    text = page.read_text()
    assert text.startswith(f"Before\n\n{BEGIN}\n\nMeasured on: cpu some.\n\n- Quiet.\n")
    assert text.endswith(f"\n{END}\n\nAfter\n")
    assert "old" not in text
    assert "| 1 → 20 | CPU per delivery, fanwire / floor | 1.2 times | 1.15 times | MISSED" in text
    assert "| Broken | not measured: NoAnswer: no | | | |" in text
    assert "| **fanwire** | 6.00 µs | 1.20 |" in text
    assert (page.parent / "charts" / "tiny.svg").exists()


def test_tables_need_a_report_and_a_page_with_marks(tmp_path: Path) -> None:
    """Without a report nothing is written; a page without marks is not guessed at."""
    assert tables(["--report", str(tmp_path / "none.json")]) == 1
    with pytest.raises(ValueError, match="has no"):
        filled("text", "tables")


def test_a_scenario_can_be_measured_again(outcome: Outcome, tmp_path: Path) -> None:
    """What is measured again replaces its section; the others stay, with their drawings and their age."""
    first = [section_of(MODE, outcome), Section("Again", ("Old.",)), Section("Broken", (), failure="no")]
    Report({}, ["Measured at noon."], first).write(tmp_path)
    drawing = (tmp_path / "charts" / "tiny.svg").read_text()

    again = with_earlier([Section("Again", ("New.",)), Section("More", ())], tmp_path / "report.json")
    Report({}, [], again).write(tmp_path)

    assert [section.title for section in again] == ["1 → 20", "Again", "More"]
    assert again[0].figures == first[0].figures
    assert again[0].conditions[-1] == "Kept from an earlier run: Measured at noon."
    assert again[1].conditions == ("New.",)
    assert (tmp_path / "charts" / "tiny.svg").read_text() == drawing
    assert with_earlier(first, tmp_path / "none.json") == first
