"""Opening connections: how many a second, and what one costs, here and in every peer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from tests.bench.audience import Audience
from tests.bench.chart import Bar, Chart
from tests.bench.contest import FANWIRE
from tests.bench.machine import cpu_seconds, open_files
from tests.bench.peers import NotInstalled, Peer
from tests.bench.processes import NoAnswer, poll_until
from tests.bench.progress import tell
from tests.bench.report import Figure, Section, Table, number
from tests.bench.rig import Plan
from tests.bench.systems import Running, start

__all__ = ["handshakes"]

CONNECTIONS = 3000
IN_FLIGHT = 64
_CLOSE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round of opening all connections."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def handshakes(plan: Plan) -> Section:
    """Open connections with a JWT each and one subscription, close them, and do it again."""
    rounds: dict[str, list[Round]] = {}
    failures: dict[str, str] = {}
    for peer in (None, *(plan.peers if plan.full else ())):
        name = FANWIRE if peer is None else peer.name
        tell(f"  {name}")
        try:
            rounds[name] = _measured(plan, peer)
        except NotInstalled as error:
            failures[name] = f"not installed: {error}"
        except (NoAnswer, OSError) as error:
            failures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    if FANWIRE not in rounds:
        return Section("Connects per second", (), failure=failures[FANWIRE])
    bars = [
        Bar(
            name,
            median(each.cpu_us for each in found),
            min(each.cpu_us for each in found),
            max(each.cpu_us for each in found),
            "ours" if name == FANWIRE else "peer",
        )
        for name, found in rounds.items()
    ]
    ours = rounds[FANWIRE]
    return Section(
        "Connects per second with JWT",
        (
            f"{CONNECTIONS:,} connections, {IN_FLIGHT} at a time, an HS256 token of a user of its own each "
            "(nats-server: a static token; nchan: none), one subscription confirmed (nchan: part of the "
            f"upgrade); {plan.rounds} rounds.",
        ),
        (
            Figure("connected and subscribed per second", "/s", tuple(each.per_second for each in ours)),
            Figure("CPU per connection", "µs", tuple(each.cpu_us for each in ours)),
            Figure("handshake p50", "ms", tuple(each.p50_ms for each in ours)),
            Figure("handshake p99", "ms", tuple(each.p99_ms for each in ours)),
        ),
        table=_table(rounds, failures),
        charts=(Chart("handshakes", "CPU to connect, authenticate and subscribe", "µs", bars),),
    )


def _measured(plan: Plan, peer: Peer | None) -> list[Round]:
    if peer is not None:
        peer.version()
    found = []
    with start(peer, plan.cores) as running:
        files = open_files(running.pid)
        for _ in range(plan.rounds):
            began = cpu_seconds(running.pid)
            with running.open(Audience(CONNECTIONS, ("b:1",), in_flight=IN_FLIGHT)) as load:
                found.append(
                    Round(
                        CONNECTIONS / load.opening["ready_seconds"],
                        (cpu_seconds(running.pid) - began) / CONNECTIONS * 1e6,
                        load.opening["handshake"]["p50"] / 1e3,
                        load.opening["handshake"]["p99"] / 1e3,
                    )
                )
            _await_closed(running, files)
    return found


def _await_closed(running: Running, files: int) -> None:
    """Wait until the server has closed its side of all connections."""
    poll_until(
        lambda: open_files(running.pid) < files + CONNECTIONS // 10,
        "closed",
        _CLOSE_SECONDS,
        every_seconds=0.1,
    )
    # What it does behind a close is no part of the next round.
    spent = cpu_seconds(running.pid)
    for _ in range(50):
        time.sleep(0.1)
        spent, before = cpu_seconds(running.pid), spent
        if spent - before < 0.01:
            return


def _table(rounds: dict[str, list[Round]], failures: dict[str, str]) -> Table:
    head = ("system", "per second", "CPU each", "handshake p50", "p99")
    rows = [
        (
            f"**{name}**" if name == FANWIRE else name,
            f"{median(each.per_second for each in found):,.0f}",
            f"{number(median(each.cpu_us for each in found))} µs",
            f"{number(median(each.p50_ms for each in found))} ms",
            f"{number(median(each.p99_ms for each in found))} ms",
        )
        for name, found in rounds.items()
    ]
    rows += [(name, why, "", "", "") for name, why in failures.items()]
    runs = {name: {"cpu_us": [each.cpu_us for each in found]} for name, found in rounds.items()}
    return Table(head, tuple(rows), {"systems": runs, "failures": failures})
