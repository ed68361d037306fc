"""`make bench`: measures an edge on this machine and writes build/bench/report.json and report.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.bench.machine import Cores, describe_machine, raise_file_limit, run_on
from tests.bench.processes import NoAnswer
from tests.bench.programs import BUILD, compile_program
from tests.bench.report import Report, Section
from tests.bench.rig import Plan, Scenario
from tests.bench.scenario_fanout import fan_out
from tests.bench.scenario_handshakes import handshakes
from tests.bench.scenario_idle import idle
from tests.bench.scenario_latency import latency
from tests.bench.scenario_slow import slow_clients

SCENARIOS: dict[str, Scenario] = {
    "fanout": fan_out,
    "latency": latency,
    "handshakes": handshakes,
    "idle": idle,
    "slow": slow_clients,
}
_SPARE_FILES = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; 1 where one could not be measured or, with --strict, where a target is missed."""
    options = _options(arguments)
    plan, notes = _plan(options)
    for program in ("load", "floor"):
        compile_program(program)
    machine = describe_machine()
    run_on(plan.cores.load)
    began = time.monotonic()
    sections = [_measured(name, plan) for name in options.scenarios or SCENARIOS]
    notes.append(f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {time.monotonic() - began:.0f} s.")
    report = Report(machine, notes, sections)
    report.write(BUILD)
    print(report.as_markdown())
    print(f"Written to {BUILD}/report.md and report.json")
    return 1 if report.has_failed or (options.strict and report.missed) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", help=f"some of {', '.join(SCENARIOS)}; by default all")
    parser.add_argument(
        "--full", action="store_true", help="60 s for each run with slow clients: 7 minutes more"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--pairs", type=int, default=7, help="pairs of edge and floor (default 7)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the other scenarios (default 3)")
    parser.add_argument("--connections", type=int, default=15_000, help="idle connections (default 15000)")
    options = parser.parse_args(arguments)
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}; known: {', '.join(SCENARIOS)}")
    if min(options.pairs, options.rounds, options.connections) < 1:
        parser.error("--pairs, --rounds and --connections are at least 1")
    return options


def _plan(options: argparse.Namespace) -> tuple[Plan, list[str]]:
    """Return what this machine can do of what was asked, and what has to be said about it."""
    cores = Cores.choose()
    notes = [
        f"Server on core {cores.server}; load generator, publisher and Redis on core {cores.load}.",
        "Single runs vary by 30 % on shared machines: compare medians, and ratios of interleaved pairs.",
    ]
    if not cores.are_apart:
        notes.append("**Only one core**: server and load take turns, and no figure here means much.")
    files = raise_file_limit(options.connections + _SPARE_FILES)
    connections = min(options.connections, files - _SPARE_FILES)
    if connections < options.connections:
        notes.append(
            f"**Only {files} open files**: {connections} instead of {options.connections} idle ones."
        )
    return Plan(cores, options.full, options.pairs, options.rounds, connections), notes


def _measured(name: str, plan: Plan) -> Section:
    """Run one scenario; one that cannot be measured is a section that says why."""
    print(f"{name} …", file=sys.stderr, flush=True)
    try:
        return SCENARIOS[name](plan)
    except (NoAnswer, OSError) as error:
        return Section(name, (), failure=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
