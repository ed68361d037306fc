"""Comparing systems: each one against the floor, in interleaved pairs, under the same orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.bench.audience import Audience
from tests.bench.machine import Cores
from tests.bench.order import Order
from tests.bench.peers import NotInstalled, Peer
from tests.bench.processes import NoAnswer
from tests.bench.progress import tell
from tests.bench.side import Run, Side
from tests.bench.systems import FanwireRunning, FloorRunning, Running, start

__all__ = ["FANWIRE", "FLOOR", "Mode", "Outcome", "Stage", "compete"]

FANWIRE, FLOOR = "fanwire", "floor (bare send)"
# What one run of a slow system may cost; its rate stays, it gets fewer events.
_CPU_SECONDS_AT_MOST = 1.5
_WARM_UPS = 2

# A system's run and the floor's beside it; a peer's latency alone is measured without.
Pair = tuple[Run, Run | None]


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to send; `recipients` is how many clients get an event.

    *at_most* is what fanwire may cost as a multiple of the floor. *is_cost* and *is_latency* say whether its
    CPU and its p99 are to be below those of every peer.
    """

    name: str
    title: str
    order: Order
    recipients: int
    at_most: float | None = None
    is_cost: bool = True
    is_latency: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Clients, and what they are sent."""

    name: str
    audience: Audience
    modes: tuple[Mode, ...]


@dataclass(slots=True)
class Outcome:
    """Pairs of a system's run and the floor's, by mode and system; and what could not be measured."""

    pairs: dict[str, dict[str, list[Pair]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, mode: Mode, system: str, pair: Pair) -> None:
        """Note one pair."""
        self.pairs.setdefault(mode.name, {}).setdefault(system, []).append(pair)


def compete(
    stages: Sequence[Stage], peers: Sequence[Peer], pairs: Mapping[bool, int], cores: Cores
) -> Outcome:
    """Measure fanwire and *peers*, one after the other.

    *pairs* says how many pairs with the floor to run, for a peer (True) and for fanwire (False).
    """
    outcome = Outcome()
    for peer, count in _turns(peers, pairs):
        name = FANWIRE if peer is None else peer.name
        tell(f"  {name}")
        try:
            if peer is not None:
                peer.version()
            _measure(name, start(peer, cores), stages, count, cores, outcome)
        except NotInstalled as error:
            outcome.failures[name] = f"not installed: {error}"
        except (NoAnswer, OSError) as error:
            outcome.failures[name] = f"{type(error).__name__}: {error}"
    return outcome


def _turns(peers: Sequence[Peer], pairs: Mapping[bool, int]) -> list[tuple[Peer | None, int]]:
    """Return who runs when, and how many pairs: fanwire before all others and again behind them.

    A machine that other work slows down for a while would else favour one side of the comparison.
    """
    if not peers or pairs[False] == 1:
        return [(None, pairs[False]), *((peer, pairs[True]) for peer in peers)]
    later = pairs[False] // 2
    return [(None, pairs[False] - later), *((peer, pairs[True]) for peer in peers), (None, later)]


def _measure(
    name: str, running: Running, stages: Sequence[Stage], pairs: int, cores: Cores, outcome: Outcome
) -> None:
    with running, FloorRunning(cores) as floor:
        for stage in stages:
            tell(f"    {stage.name}")
            with _sides(stage, running, floor) as (side, floor_side):
                affordable = {mode.name: _affordable(side, mode) for mode in stage.modes}
                for pair in range(pairs):
                    for mode in stage.modes:
                        bare = floor_side if mode.is_cost or name == FANWIRE else None
                        outcome.add(mode, name, _pair(side, bare, affordable[mode.name], mode, pair % 2 == 1))


@contextmanager
def _sides(stage: Stage, running: Running, floor: FloorRunning) -> Iterator[tuple[Side, Side]]:
    """Open the clients of both."""
    with running.open(stage.audience) as load, floor.open(stage.audience) as floor_load:
        batches = None
        if isinstance(running, FanwireRunning):
            batches = partial(running.rig.edge.metric, "fanwire_batches_total")
        yield (
            Side(running.pid, load, running.publish, batches, running.broker_pid),
            Side(floor.pid, floor_load, partial(_floor_publish, floor, stage)),
        )


def _floor_publish(floor: FloorRunning, stage: Stage, order: Order) -> None:
    # Where everyone is on all channels, an order for several of them goes to everyone.
    floor.publish(order, order.resources if "%d" in stage.audience.channels[0] else 1)


def _affordable(side: Side, mode: Mode) -> Order:
    """Let the server warm up, and return the order, cut where this server would need very long for it."""
    order = mode.order.of(1)
    for _ in range(_WARM_UPS):
        cost = side.run(order, mode.recipients).us_per_delivery
        order = mode.order.of(min(mode.order.events, _CPU_SECONDS_AT_MOST * 1e6 / (cost * mode.recipients)))
    return order


def _pair(side: Side, floor: Side | None, order: Order, mode: Mode, is_floor_last: bool) -> Pair:
    """Run both; who begins alternates."""
    if floor is None:
        return side.run(order, mode.recipients), None
    if is_floor_last:
        ours = side.run(order, mode.recipients)
        return ours, floor.run(order, mode.recipients)
    bare = floor.run(order, mode.recipients)
    return side.run(order, mode.recipients), bare
