"""Fan-out in its forms, and one event to one client: fanwire, the floor and every peer under equal orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from tests.bench.audience import Audience
from tests.bench.chart import Bar, Chart
from tests.bench.contest import FANWIRE, FLOOR, Mode, Outcome, Pair, Stage, compete
from tests.bench.order import Order
from tests.bench.report import Figure, Section, Table, number
from tests.bench.rig import Plan
from tests.bench.side import Run

__all__ = ["STAGES", "contests", "section_of"]

# Rates keep the edge's core busy for about 40 %: a core that mostly sleeps finds its caches cold, which costs
# the edge more than the floor, and one that never sleeps merges events that came one at a time. "Equal load"
# is a rate that all but the slowest can follow.
STAGES: Mapping[str, Stage] = {
    "fanout": Stage(
        "fanout",
        Audience(1000, ("b:1",)),
        (
            Mode("fanout-1", "1 → 1,000, one at a time", Order(150, 100), 1000, at_most=1.15),
            Mode("fanout-8", "1 → 1,000, batches of 8", Order(960, 80, 8), 1000, at_most=1.35),
            Mode(
                "fanout-p99", "1 → 1,000 at equal load", Order(60, 20), 1000, is_cost=False, is_latency=True
            ),
        ),
    ),
    "five": Stage(
        "five",
        Audience(1000, tuple(f"b:{number}" for number in range(5))),
        (Mode("five", "five channels per client, batches of 8", Order(960, 80, 8, resources=5), 1000),),
    ),
    "one": Stage(
        "one",
        Audience(1000, ("b:%d",), sample=1000),
        (
            Mode(
                "one",
                "fan-out 1 at equal load: 1,000 channels, one client each",
                Order(3000, 1000, resources=1000),
                1,
                is_cost=False,
                is_latency=True,
            ),
        ),
    ),
    "wide": Stage(
        "wide",
        Audience(10_000, ("b:1",), sample=1000),
        (Mode("wide", "1 → 10,000, one at a time", Order(12, 4), 10_000, is_latency=True),),
    ),
    "rooms": Stage(
        "rooms",
        Audience(10_000, ("b:%d",), groups=1000, sample=1000),
        (
            Mode("rooms-1", "1,000 channels x 10, one at a time", Order(2000, 1000, resources=1000), 10),
            Mode("rooms-8", "1,000 channels x 10, batches of 8", Order(4000, 250, 8, resources=1000), 10),
        ),
    ),
}
_HEAD = (
    "system", "CPU per delivery", "/ floor", "min … max", "p50", "p99", "p99.9", "broker CPU", "load busy",
)  # fmt: skip


def contests(plan: Plan, names: Sequence[str]) -> list[Section]:
    """Measure the stages *names*; every server is started once for all of them."""
    stages = [STAGES[name] if plan.full else _short(STAGES[name]) for name in names]
    outcome = compete(stages, plan.peers, {False: plan.pairs, True: plan.peer_pairs}, plan.cores)
    return [section_of(mode, outcome) for stage in stages for mode in stage.modes]


def _short(stage: Stage) -> Stage:
    """Return the same with half the events."""
    halved = tuple(replace(mode, order=mode.order.of(mode.order.events / 2)) for mode in stage.modes)
    return replace(stage, modes=halved)


def section_of(mode: Mode, outcome: Outcome) -> Section:
    """Return what the systems did in one mode, and the targets that follow from it."""
    found = outcome.pairs.get(mode.name, {})
    if FANWIRE not in found:
        return Section(mode.title, (), failure=outcome.failures.get(FANWIRE, "it was not measured"))
    return Section(
        mode.title,
        (
            f"{mode.order.events_per_second:,} events/s in groups of {mode.order.batch}, "
            f"{mode.order.frame_bytes}-byte frames, {mode.recipients:,} deliveries each. / floor: median of "
            "interleaved pairs; a slower system gets fewer events at the same rate.",
        ),
        tuple(_figures(mode, found)),
        table=_table(found, outcome),
        charts=(_chart(mode, found),),
    )


def _by_system(found: Mapping[str, list[Pair]]) -> dict[str, list[Run]]:
    """Return every system's runs, the floor's beside fanwire among them."""
    runs = {name: [ours for ours, _ in pairs] for name, pairs in found.items()}
    return {FLOOR: [bare for _, bare in found[FANWIRE] if bare], **runs}


def _ratios(pairs: Sequence[Pair]) -> tuple[float, ...]:
    return tuple(ours.us_per_delivery / bare.us_per_delivery for ours, bare in pairs if bare)


def _figures(mode: Mode, found: Mapping[str, list[Pair]]) -> list[Figure]:
    ours = _ratios(found[FANWIRE])
    figures = []
    if mode.at_most is not None:
        figures.append(Figure("CPU per delivery, fanwire / floor", "times", ours, mode.at_most))
    peers = {name: pairs for name, pairs in found.items() if name != FANWIRE}
    if mode.is_cost and peers:
        best, most = _least({name: median(_ratios(pairs)) for name, pairs in peers.items()})
        figures.append(
            Figure(f"CPU per delivery over the floor's, below the best peer's ({best})", "times", ours, most)
        )
    if mode.is_latency and peers:
        best, most = _least({name: median(run.p99_ms for run, _ in pairs) for name, pairs in peers.items()})
        p99s = tuple(run.p99_ms for run, _ in found[FANWIRE])
        figures.append(Figure(f"p99 at equal load, below the best peer's ({best})", "ms", p99s, most))
    batches = tuple(run.events_per_batch for run, _ in found[FANWIRE])
    return [*figures, Figure("events per batch, fanwire", "", batches)]


def _least(values: Mapping[str, float]) -> tuple[str, float]:
    return min(values.items(), key=lambda item: item[1])


def _table(found: Mapping[str, list[Pair]], outcome: Outcome) -> Table:
    rows = []
    for name, runs in _by_system(found).items():
        costs = [run.us_per_delivery for run in runs]
        ratios = _ratios(found[name]) if name in found else (1.0,)
        latency = [
            f"{number(median(getattr(run, mark) for run in runs))} ms"
            for mark in ("p50_ms", "p99_ms", "p999_ms")
        ]
        broker = median(run.broker_us for run in runs)
        spread = f"{number(min(costs))} … {number(max(costs))}"
        busy = f"{median(run.load_share for run in runs):.0f} %"
        cost = f"{number(median(costs))} µs"
        shown = f"**{name}**" if name == FANWIRE else name
        ratio = number(median(ratios)) if ratios else ""
        rows.append((shown, cost, ratio, spread, *latency, f"{number(broker)} µs" if broker else "", busy))
    blank = ("",) * (len(_HEAD) - 2)
    rows += [
        (name, why.partition("\n")[0], *blank) for name, why in outcome.failures.items() if name not in found
    ]
    runs_of = {name: [run.as_json() for run in runs] for name, runs in _by_system(found).items()}
    floors = {name: [bare.us_per_delivery for _, bare in pairs if bare] for name, pairs in found.items()}
    return Table(
        _HEAD, tuple(rows), {"systems": runs_of, "floor_us_beside": floors, "failures": outcome.failures}
    )


def _chart(mode: Mode, found: Mapping[str, list[Pair]]) -> Chart:
    mark, unit = ("p99_ms", "ms") if not mode.is_cost else ("us_per_delivery", "µs")
    what = "p99 latency" if not mode.is_cost else "CPU per delivery"
    bars = []
    for name, runs in _by_system(found).items():
        values = [getattr(run, mark) for run in runs]
        kind = {FANWIRE: "ours", FLOOR: "floor"}.get(name, "peer")
        bars.append(Bar(name, median(values), min(values), max(values), kind))
    return Chart(mode.name, f"{mode.title}: {what}", unit, bars)
