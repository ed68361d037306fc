"""The guard, with leases in memory: what it holds, renews and gives back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from fanwire_edge.adapters.memory_leases import MemoryLeases
from fanwire_edge.core.leases import ConnectionLimits, GuardLimits
from fanwire_edge.core.principal import Principal
from fanwire_edge.edge import Edge
from fanwire_edge.guard import Guard
from fanwire_edge.ports import TailLost
from fanwire_edge.refusal import Refused
from fanwire_protocol.codes import HandshakeError
from tests.edge.model_broker import ModelBroker
from tests.edge.model_world import EdgeLimits, ModelEdge
from tests.kit.wait import eventually

ALICE = Principal("alice", "acme")
LEASE_SECONDS = 1.0


class SlowLeases(MemoryLeases):
    """Leases that answer when they are allowed to, or not at all."""

    def __init__(self, clock: Callable[[], float], lease_seconds: float, attempts: int) -> None:
        super().__init__(clock, lease_seconds, attempts)
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_away = False
        self.asked = 0
        self.renewing: Mapping[str, Sequence[str]] = {}

    async def attempt(self, address: str) -> float:
        """Count an attempt, in time."""
        self.asked += 1
        if self.is_away:
            raise TailLost("away")
        return await super().attempt(address)

    async def take(self, subject: str, limit: int, name: str, replaced: str | None) -> float:
        """Take a lease, and tell of it in time."""
        if self.is_away:
            raise TailLost("away")
        wait = await super().take(subject, limit, name, replaced)
        await self.may_answer.wait()
        return wait

    async def renew(self, held: Mapping[str, Sequence[str]]) -> Collection[str]:
        """Renew leases when that is allowed."""
        self.renewing = held
        await self.may_answer.wait()
        return await super().renew(held)


@pytest.fixture
async def leases() -> SlowLeases:
    """Leases that end after a second."""
    return SlowLeases(time.monotonic, LEASE_SECONDS, 3)


def guard_of(
    leases: SlowLeases, user: int = 0, tenant: int = 0, *, is_open: bool = True, clock: float | None = None
) -> Guard:
    """Return the guard of an edge with these limits, and three attempts a minute."""
    edge = _edge()
    limits = GuardLimits(ConnectionLimits(user=user, tenant=tenant), 3, LEASE_SECONDS, is_open)
    return Guard(edge, leases, limits, time.monotonic if clock is None else lambda: clock)


def _edge() -> Edge:
    return ModelEdge(ModelBroker(60_000), EdgeLimits(10**6, 10**6, 60, 100, 10), {"orders"}).edge


@asynccontextmanager
async def running(guard: Guard) -> AsyncIterator[None]:
    """Run *guard* until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(guard.run())
        try:
            yield
        finally:
            task.cancel()


async def has_room(leases: SlowLeases, subject: str, limit: int = 1) -> bool:
    """Tell whether another one finds a place, and take none."""
    wait = await leases.take(subject, limit, "probe", None)
    leases.give_back(subject, "probe")
    return not wait


async def test_who_gives_up_while_it_waits_holds_nothing(leases: SlowLeases) -> None:
    """What was taken for it meanwhile is given back."""
    guard = guard_of(leases, user=1)
    leases.may_answer.clear()
    async with asyncio.TaskGroup() as tasks:
        entering = tasks.create_task(guard.enter(ALICE, "c-1", ""))
        await asyncio.sleep(0)
        entering.cancel()
    leases.may_answer.set()

    assert await has_room(leases, "user:acme:alice")


async def test_who_leaves_while_it_is_let_in_holds_nothing(leases: SlowLeases) -> None:
    """The answer comes too late: it is as if there had been none."""
    guard = guard_of(leases, user=1, tenant=1)
    leases.may_answer.clear()

    async def enter() -> None:
        with pytest.raises(Refused):
            await guard.enter(ALICE, "c-1", "")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(enter())
        await asyncio.sleep(0)
        guard.leave("c-1")
        leases.may_answer.set()

    assert await has_room(leases, "user:acme:alice")
    assert await has_room(leases, "tenant:acme")


async def test_all_that_is_held_is_renewed(leases: SlowLeases) -> None:
    """Also six hundred leases of one tenant, which do not fit into one question; what was left is not."""
    guard = guard_of(leases, user=1, tenant=1000)
    async with running(guard):
        for number in range(600):
            await guard.enter(Principal(f"u-{number}", "acme"), f"c-{number}", "")
        guard.leave("c-0")
        until = time.monotonic() + 2 * LEASE_SECONDS
        await eventually(lambda: time.monotonic() > until)

        assert not await has_room(leases, "tenant:acme", 599)
        assert await has_room(leases, "tenant:acme", 600)
        assert not await has_room(leases, "user:acme:u-599")
        assert await has_room(leases, "user:acme:u-0")


async def test_who_leaves_while_it_is_renewed_holds_nothing(leases: SlowLeases) -> None:
    """A renewal that comes behind the end of a lease does not make it one again."""
    guard = guard_of(leases, user=1)
    async with running(guard):
        await guard.enter(ALICE, "c-1", "")
        leases.may_answer.clear()
        await eventually(lambda: "user:acme:alice" in leases.renewing)
        guard.leave("c-1")
        leases.may_answer.set()

        await eventually(lambda: has_room(leases, "user:acme:alice"), LEASE_SECONDS / 2)


@pytest.mark.parametrize("is_open", [True, False])
async def test_while_nobody_can_tell_an_edge_counts_for_itself_or_refuses(
    leases: SlowLeases, is_open: bool
) -> None:
    """As it is told; what it counts is its own connections and attempts."""
    guard = guard_of(leases, user=2, is_open=is_open)
    leases.is_away = True
    if not is_open:
        for asked in (guard.enter(ALICE, "c-1", ""), guard.attempt("10.0.0.1")):
            with pytest.raises(Refused) as refused:
                await asked
            assert refused.value.code is HandshakeError.UNAVAILABLE
        return
    for number in range(2):
        await guard.enter(ALICE, f"c-{number}", "")
    with pytest.raises(Refused) as refused:
        await guard.enter(ALICE, "c-2", "")
    assert refused.value.code is HandshakeError.CONNECTION_LIMIT
    await guard.enter(ALICE, "c-3", "", replaces="c-1")
    assert [await guard.attempt("10.0.0.1") is None for _ in range(4)] == [True] * 3 + [False]


async def test_an_address_that_is_over_is_refused_without_a_question(leases: SlowLeases) -> None:
    """For as long as was told; others are asked for."""
    guard = guard_of(leases, clock=100.0)
    found = [await guard.attempt("10.0.0.1") for _ in range(50)]

    assert found[:3] == [None] * 3
    assert all(wait is not None and wait > 59 for wait in found[3:])
    assert leases.asked == 4
    assert await guard.attempt("10.0.0.2") is None


async def test_limits_that_are_off_ask_nobody(leases: SlowLeases) -> None:
    """Neither for attempts nor for connections, and there is nothing to run."""
    leases.is_away = True
    guard = Guard(_edge())

    assert await guard.attempt("10.0.0.1") is None
    await guard.enter(ALICE, "c-1", "")
    guard.leave("c-1")
    await guard.run()
