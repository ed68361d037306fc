"""Leases, in Redis and in memory: counted exactly, ended by time, taken over by their own user only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from fanwire_edge.adapters.memory_leases import MemoryLeases
from fanwire_edge.adapters.redis_leases import MAX_WAITING, RedisLeases
from fanwire_edge.ports import Leases, TailLost
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

ALICE = "user:acme:alice"
LEASE_SECONDS = 1.0
ATTEMPTS = 3


@asynccontextmanager
async def running(leases: Leases) -> AsyncIterator[Leases]:
    """Run *leases* until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(leases.run())
        try:
            yield leases
        finally:
            task.cancel()


def redis_leases(redis: SharedRedis, url: str | None = None, seconds: float = LEASE_SECONDS) -> RedisLeases:
    """Return leases under the test's prefix."""
    return RedisLeases(url or redis.url, redis.prefix, seconds, ATTEMPTS)


@pytest.fixture(params=["redis", "memory"])
async def leases(request: pytest.FixtureRequest, shared_redis: SharedRedis) -> AsyncIterator[Leases]:
    """Leases that end after a second, in each of the adapters."""
    made: Leases = (
        redis_leases(shared_redis)
        if request.param == "redis"
        else MemoryLeases(time.monotonic, LEASE_SECONDS, ATTEMPTS)
    )
    async with running(made) as found:
        yield found


async def take(leases: Leases, name: str, replaced: str | None = None, limit: int = 2) -> bool:
    """Tell whether *name* gets one of so many leases."""
    return not await leases.take(ALICE, limit, name, replaced)


async def takers(leases: Sequence[Leases], count: int, limit: int) -> int:
    """Let so many ask at once, in turn of each of *leases*, and return how many got one."""
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(take(leases[number % len(leases)], f"c-{number}", limit=limit))
            for number in range(count)
        ]
    return sum(each.result() for each in asked)


async def test_there_are_so_many_and_no_more(leases: Leases) -> None:
    """The third of two is told when one may be free; other subjects are counted for themselves."""
    assert [await take(leases, name) for name in ("a", "b", "c")] == [True, True, False]

    wait = await leases.take(ALICE, 2, "c", None)
    assert 0 < wait <= LEASE_SECONDS
    assert await leases.take("user:acme:bob", 2, "c", None) == 0


async def test_what_is_given_back_is_free(leases: Leases) -> None:
    """Soon after."""
    for name in ("a", "b"):
        await take(leases, name)
    leases.give_back(ALICE, "a")

    assert await take(leases, "c")
    assert not await take(leases, "d")


async def test_a_lease_ends_by_itself_unless_it_is_renewed(leases: Leases) -> None:
    """The one that nobody renews is free within its time, the other one stays."""
    began = time.monotonic()
    for name in ("kept", "dead"):
        await take(leases, name)

    async def is_free() -> bool:
        assert not await leases.renew({ALICE: ["kept"]})
        return await take(leases, "new")

    await eventually(is_free, 5)
    assert time.monotonic() - began >= LEASE_SECONDS - 0.01
    assert not await take(leases, "newer")


async def test_a_lease_that_ended_is_taken_anew_when_it_is_renewed(leases: Leases) -> None:
    """An edge that was stopped comes back with its connections, also where others came in meanwhile."""
    await take(leases, "stopped", limit=1)

    async def comes_in() -> bool:
        return await take(leases, "other", limit=1)

    await eventually(comes_in, 5)
    assert not await leases.renew({ALICE: ["stopped"]})
    leases.give_back(ALICE, "other")
    assert not await take(leases, "third", limit=1)


async def test_a_dying_connection_is_replaced(leases: Leases) -> None:
    """Its place is taken over where there is no other, and its edge learns of it and renews it no more."""
    for name in ("a", "b"):
        await take(leases, name)

    assert await take(leases, "c", replaced="a")
    assert not await take(leases, "d")
    assert list(await leases.renew({ALICE: ["a", "b", "c"]})) == ["a"]
    assert not await take(leases, "e", replaced="a"), "it can be replaced once"


async def test_who_is_not_there_cannot_be_replaced(leases: Leases) -> None:
    """A name that holds nothing changes nothing, and neither does one of another subject."""
    for name in ("a", "b"):
        await take(leases, name)
    await leases.take("user:acme:bob", 2, "bobs", None)

    assert not await take(leases, "c", replaced="never")
    assert not await take(leases, "c", replaced="bobs")
    assert not await leases.renew({ALICE: ["a", "b"], "user:acme:bob": ["bobs"]})


async def test_attempts_of_an_address_are_counted(leases: Leases) -> None:
    """The fourth of three waits for the end of the minute."""
    waits = [await leases.attempt("10.0.0.1") for _ in range(ATTEMPTS + 1)]

    assert waits[:ATTEMPTS] == [0] * ATTEMPTS
    assert 55 < waits[-1] <= 60
    assert await leases.attempt("10.0.0.2") == 0


async def test_many_at_once_get_exactly_as_many_as_there_are(shared_redis: SharedRedis) -> None:
    """Forty ask two edges for five places at once, ten times, and five get one each time."""
    async with (
        running(redis_leases(shared_redis, seconds=30)) as one,
        running(redis_leases(shared_redis, seconds=30)) as two,
    ):
        for _ in range(10):
            assert await takers([one, two], 40, 5) == 5
            for number in range(40):
                one.give_back(ALICE, f"c-{number}")
            # Behind it, in the same order.
            await one.renew({})


async def test_a_storm_costs_few_round_trips(shared_redis: SharedRedis) -> None:
    """What is asked for while an exchange is under way goes out together."""
    async with FaultProxy(shared_redis.server.address) as proxy:
        proxy.up.latency_seconds = 0.02
        async with running(redis_leases(shared_redis, proxy.url())) as leases:
            await take(leases, "first")
            began = time.monotonic()
            assert await takers([leases], 500, 10_000) == 500
            # One by one they would take 10 s.
            assert time.monotonic() - began < 2


async def test_scripts_that_redis_forgot_are_told_again(shared_redis: SharedRedis) -> None:
    """A restart or SCRIPT FLUSH costs one exchange, and nobody notices."""
    async with running(redis_leases(shared_redis)) as leases:
        assert await take(leases, "a", limit=1)
        shared_redis.server.execute("SCRIPT", "FLUSH")
        assert not await take(leases, "b", limit=1)


async def test_nothing_is_left_in_redis_of_who_is_gone(shared_redis: SharedRedis) -> None:
    """Keys end by themselves a while after their last lease."""
    async with running(redis_leases(shared_redis, seconds=0.1)) as leases:
        await take(leases, "a")
        await leases.attempt("10.0.0.1")

        key = f"{shared_redis.prefix}:_lease:{ALICE}"
        await eventually(lambda: not shared_redis.server.execute("EXISTS", key), 5)
    ttl = shared_redis.server.execute("PTTL", f"{shared_redis.prefix}:_attempts:10.0.0.1")
    assert 0 < ttl <= 60_000


@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_what_was_given_back_at_the_end_is_free(shared_redis: SharedRedis, is_cut_off: bool) -> None:
    """An edge that stops hands in what its last connections held, in the middle of an exchange too."""
    names = [f"c-{number}" for number in range(2000)]
    async with running(redis_leases(shared_redis, seconds=30)) as leases:
        for name in names:
            assert await take(leases, name, limit=len(names))
        for name in names:
            leases.give_back(ALICE, name)
        if is_cut_off:
            await asyncio.sleep(0)

    async with running(redis_leases(shared_redis)) as leases:
        assert await take(leases, "another", limit=1)


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_who_asks_while_redis_is_away_is_told_soon(redis_server: RedisServer, fault: str) -> None:
    """Within half a second the first time, at once from then on, and all is well when it is back."""
    shared = SharedRedis(redis_server, "away")
    async with running(redis_leases(shared)) as leases:
        await take(leases, "a")
        redis_server.kill() if fault == "killed" else redis_server.pause()
        began = time.monotonic()

        async def is_told() -> bool:
            with suppress(TailLost):
                await take(leases, "b", limit=100)
                return False
            return True

        await eventually(is_told, 1.0)
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(TailLost):
                await leases.attempt("10.0.0.1")
        leases.give_back(ALICE, "a")
        assert time.monotonic() - began < 0.3

        redis_server.start() if fault == "killed" else redis_server.resume()

        async def is_back() -> bool:
            with suppress(TailLost):
                return await take(leases, "c", limit=100)
            return False

        await eventually(is_back)


async def test_what_redis_refuses_is_not_known(redis_server: RedisServer) -> None:
    """An edge without the right to write counts for itself, and so does one whose master became a replica."""
    shared = SharedRedis(redis_server, "refused")
    async with running(redis_leases(shared)) as leases:
        await take(leases, "a")
        redis_server.execute("ACL", "SETUSER", "default", "-zcount")
        with pytest.raises(TailLost, match="can't run"):
            await take(leases, "b")
        redis_server.execute("ACL", "SETUSER", "default", "+zcount")
        assert await take(leases, "b")
        redis_server.execute("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(TailLost, match="READONLY"):
            await take(leases, "c")


async def test_too_many_questions_are_refused(shared_redis: SharedRedis) -> None:
    """What waits is bounded, where nobody carries it out."""
    leases = redis_leases(shared_redis)
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(leases.attempt("10.0.0.1")) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TailLost, match="asked for"):
            await leases.attempt("10.0.0.1")
        for each in asked:
            each.cancel()
    assert all(each.cancelled() for each in asked)
