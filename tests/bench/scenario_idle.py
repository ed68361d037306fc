"""Connections that only wait: what one costs in memory, here and in every peer."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.audience import Audience
from tests.bench.chart import Bar, Chart
from tests.bench.contest import FANWIRE
from tests.bench.machine import Memory, memory_of
from tests.bench.order import Order
from tests.bench.peers import NotInstalled, Peer
from tests.bench.processes import NoAnswer
from tests.bench.progress import tell
from tests.bench.report import Figure, Section, Table, number
from tests.bench.rig import Plan
from tests.bench.steady import STEADY_KB, STEADY_SECONDS, steady_memory
from tests.bench.systems import FanwireRunning, Running, start

__all__ = ["idle"]

KB_AT_MOST = 5.0
# Work that comes and goes (a poll of the topics, a request to the ops port) has a task of its own.
TASKS_AT_MOST = 5.0
_PLACES = ("b:%d", "c:%d", "d:%d")
_SETTLE_SECONDS = 20.0
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What all connections of one system cost. *broadcast_ms* is fanwire's, None elsewhere."""

    rss_kb: float
    pss_kb: float
    opened_per_second: float
    before_mb: float
    after_mb: float
    tasks: float = 0.0
    broadcast_ms: float | None = None


def idle(plan: Plan) -> Section:
    """Compare every server with all connections and without; prove afterwards that fanwire's are alive."""
    costs: dict[str, Cost] = {}
    failures: dict[str, str] = {}
    for peer in (None, *(plan.peers if plan.full else ())):
        name = FANWIRE if peer is None else peer.name
        tell(f"  {name}")
        try:
            costs[name] = _measured(plan, peer)
        except NotInstalled as error:
            failures[name] = f"not installed: {error}"
        except (NoAnswer, OSError) as error:
            failures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    if FANWIRE not in costs:
        return Section("Idle connections", (), failure=failures[FANWIRE])
    bars = [
        Bar(name, cost.rss_kb, cost.rss_kb, cost.rss_kb, "ours" if name == FANWIRE else "peer")
        for name, cost in costs.items()
    ]
    return Section(
        f"Idle: {plan.idle_connections:,} connections, authenticated, three subscriptions each",
        (
            "Memory (RSS) of a fresh server against the same with all connections, once it changed by less "
            f"than {STEADY_KB} KB in {STEADY_SECONDS:g} s; the kernel's part is not counted. One broadcast "
            "then reached all of fanwire's.",
        ),
        tuple(_figures(costs)),
        table=_table(costs, failures),
        charts=(Chart("idle", "Memory per idle connection", "KB", bars),),
    )


def _measured(plan: Plan, peer: Peer | None) -> Cost:
    if peer is not None:
        peer.version()
    count = plan.idle_connections
    with start(peer, plan.cores) as running:
        before, tasks_before = _settled(running), _tasks(running)
        with running.open(Audience(count, _PLACES, sample=count, deadline_seconds=240)) as load:
            after, tasks_after = _settled(running), _tasks(running)
            broadcast_ms = None
            if isinstance(running, FanwireRunning):
                running.rig.edge.await_connections(count, _PATIENCE_SECONDS)
                load.go()
                running.publish(Order(events=1, rate=1, resources=0))
                broadcast_ms = load.await_events(count, _PATIENCE_SECONDS)["latency"]["max"] / 1e3
            return Cost(
                (after.rss - before.rss) / count,
                (after.pss - before.pss) / count,
                count / load.opening["ready_seconds"],
                before.rss / 1024,
                after.rss / 1024,
                tasks_after - tasks_before,
                broadcast_ms,
            )


def _tasks(running: Running) -> float:
    return running.rig.edge.metric("fanwire_tasks") if isinstance(running, FanwireRunning) else 0.0


def _figures(costs: dict[str, Cost]) -> list[Figure]:
    ours = costs[FANWIRE]
    figures = [Figure("memory per connection (RSS)", "KB", (ours.rss_kb,), KB_AT_MOST)]
    peers = {name: cost.rss_kb for name, cost in costs.items() if name != FANWIRE}
    if peers:
        best, least = min(peers.items(), key=lambda item: item[1])
        name = f"memory per connection, below the best peer's ({best})"
        figures.append(Figure(name, "KB", (ours.rss_kb,), least))
    return [
        *figures,
        Figure("memory per connection (PSS)", "KB", (ours.pss_kb,)),
        Figure("tasks more than without connections", "", (ours.tasks,), TASKS_AT_MOST),
        Figure("opened and subscribed per second", "/s", (ours.opened_per_second,)),
        Figure("broadcast to all of them: the last one after", "ms", (ours.broadcast_ms or 0.0,)),
    ]


def _table(costs: dict[str, Cost], failures: dict[str, str]) -> Table:
    head = ("system", "per connection", "empty", "with all", "opened per second")
    rows = [
        (
            f"**{name}**" if name == FANWIRE else name,
            f"{number(cost.rss_kb)} KB",
            f"{cost.before_mb:.0f} MB",
            f"{cost.after_mb:.0f} MB",
            f"{cost.opened_per_second:,.0f}",
        )
        for name, cost in costs.items()
    ]
    rows += [(name, why, "", "", "") for name, why in failures.items()]
    runs = {name: {"rss_kb": cost.rss_kb, "pss_kb": cost.pss_kb} for name, cost in costs.items()}
    return Table(head, tuple(rows), {"systems": runs, "failures": failures})


def _settled(running: Running) -> Memory:
    """Return the server's memory once it has stopped changing; that of a peer's collector may never."""
    try:
        return steady_memory(running.pid, _SETTLE_SECONDS)
    except NoAnswer:
        if isinstance(running, FanwireRunning):
            raise
        return memory_of(running.pid)
