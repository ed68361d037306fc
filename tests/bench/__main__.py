"""Measures fanwire, the floor and the peers on this machine; writes its report into build/bench."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from tests.bench.earlier import with_earlier
from tests.bench.machine import Cores, describe_machine, raise_file_limit, run_on
from tests.bench.peers import PEERS, NotInstalled
from tests.bench.processes import NoAnswer
from tests.bench.programs import BUILD, compile_program
from tests.bench.progress import tell
from tests.bench.report import Report, Section
from tests.bench.rig import Plan, Scenario
from tests.bench.scenario_breadth import breadth
from tests.bench.scenario_fanout import STAGES, contests
from tests.bench.scenario_handshakes import handshakes
from tests.bench.scenario_hostile import hostile
from tests.bench.scenario_idle import idle
from tests.bench.scenario_latency import latency
from tests.bench.scenario_memory import memory
from tests.bench.scenario_slow import slow_clients
from tests.bench.scenario_storm import resume_storm
from tests.bench.scenario_unwanted import unwanted

SCENARIOS: Mapping[str, Scenario] = {
    "latency": latency,
    "unwanted": unwanted,
    "breadth": breadth,
    "idle": idle,
    "memory": memory,
    "handshakes": handshakes,
    "slow": slow_clients,
    "storm": resume_storm,
    "hostile": hostile,
}
NAMES = (*STAGES, *SCENARIOS)
SHORT = ("fanout", "unwanted", "idle")
MOST_CLIENTS = max(stage.audience.count for stage in STAGES.values())
_SPARE_FILES = 500
_NUMBERS = {
    "pairs": (7, 5, "pairs of fanwire and floor"),
    "peer_pairs": (3, 2, "pairs of a peer and floor"),
    "rounds": (3, 1, "rounds of the other scenarios"),
    "connections": (15_000, 5000, "idle connections"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenarios; 1 where one could not be measured or, with --strict, where a target is missed."""
    options = _options(arguments)
    plan, notes = _plan(options)
    for program in ("load", "floor", "storm"):
        compile_program(program)
    machine = describe_machine()
    run_on(plan.cores.load)
    began = time.monotonic()
    wanted = options.scenarios or (NAMES if options.full else SHORT)
    sections = list(_sections(wanted, plan))
    if options.add:
        sections = with_earlier(sections, BUILD / "report.json")
    notes.append(f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, in {time.monotonic() - began:.0f} s.")
    report = Report(machine, [*notes, *_peers(plan)], sections)
    report.write(BUILD)
    print(report.as_markdown())
    print(f"Written to {BUILD}/report.md, report.json and charts")
    return 1 if report.has_failed or (options.strict and report.missed) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", help=f"some of {', '.join(NAMES)}; by default {', '.join(SHORT)}"
    )
    parser.add_argument(
        "--full", action="store_true", help="all scenarios, every peer in each, long runs: 40 minutes"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument(
        "--add", action="store_true", help="keep what the last report has beyond these scenarios"
    )
    parser.add_argument("--peers", default="all", help="peers by name, with commas between them; all, none")
    for name, (full, short, what) in _NUMBERS.items():
        text = f"{what} (with --full {full}, else {short})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=text)
    options = parser.parse_args(arguments)
    for name in options.scenarios:
        if name not in NAMES:
            parser.error(f"no scenario {name!r}; known: {', '.join(NAMES)}")
    known = {"all": PEERS, "none": ()} | {peer.name: (peer,) for peer in PEERS}
    chosen = options.peers.split(",")
    if not known.keys() >= set(chosen):
        parser.error(f"no such peer: {options.peers}; known: {', '.join(known)}")
    options.peers = tuple(peer for name in chosen for peer in known[name])
    for name, (full, short, _) in _NUMBERS.items():
        if getattr(options, name) is None:
            setattr(options, name, full if options.full else short)
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is at least 1")
    return options


def _plan(options: argparse.Namespace) -> tuple[Plan, list[str]]:
    """Return what this machine can do of what was asked, and what has to be said about it."""
    cores = Cores.choose()
    notes = [
        f"Server on core {cores.server}; load generator, publisher and Redis on core {cores.load}.",
        "The edge runs with its defaults, but for the rate of admitting, of sending away and of a tenant's "
        "commands, and with log level WARNING; uvloop where installed, no compression.",
        "Single runs vary by 30 % on shared machines: compare medians, and ratios of interleaved pairs.",
    ]
    if not cores.are_apart:
        notes.append("**Only one core**: server and load take turns, and no figure here means much.")
    files = raise_file_limit(max(options.connections, MOST_CLIENTS) + _SPARE_FILES)
    connections = min(options.connections, files - _SPARE_FILES)
    if connections < options.connections:
        notes.append(
            f"**Only {files} open files**: {connections} instead of {options.connections} idle ones."
        )
    numbers = (options.pairs, options.peer_pairs, options.rounds, connections)
    return Plan(cores, options.full, *numbers, options.peers), notes


def _sections(wanted: Sequence[str], plan: Plan) -> Iterator[Section]:
    """Measure what is wanted; a scenario that cannot be measured is a section that says why."""
    stages = [name for name in wanted if name in STAGES]
    if stages:
        tell(", ".join(stages))
        yield from contests(plan, stages)
    for name in wanted:
        if name not in SCENARIOS:
            continue
        tell(name)
        try:
            yield SCENARIOS[name](plan)
        except (NoAnswer, OSError) as error:
            yield Section(name, (), failure=f"{type(error).__name__}: {error}")


def _peers(plan: Plan) -> list[str]:
    """Name every peer with its version and how it is configured, or why it is not here."""
    notes = []
    for peer in plan.peers:
        try:
            notes.append(f"{peer.name}: {peer.version()}. {peer.conditions}.")
        except NotInstalled as error:
            notes.append(
                f"{peer.name}: **not installed**: {error}. `python -m tests.bench.peers` installs it."
            )
    return notes


if __name__ == "__main__":
    sys.exit(main())
