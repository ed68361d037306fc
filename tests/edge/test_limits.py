"""Limits: how many may come in, counted exactly by all edges together, and what clients may do how often."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from tests.edge.running import RunningEdge, edge_process, running_edge, stop
from tests.edge.wire import PING, PONG, HttpAnswer, Wire, upgrade_request
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

PER_USER = 5
LEASE_SECONDS = 3
FIVE: dict[str, Any] = {"LIMITS__CONNECTIONS_PER_USER": "5", "LIMITS__LEASE_SECONDS": str(LEASE_SECONDS)}
Edges: TypeAlias = tuple[RunningEdge, RunningEdge]
_addresses = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edges(session_redis: RedisServer) -> AsyncIterator[Edges]:
    """Two edges that know nothing of each other but Redis, with five connections for each user."""
    redis = SharedRedis(session_redis, "limits-five")
    async with running_edge(redis, **FIVE) as one, running_edge(redis, **FIVE) as two:
        yield one, two


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge with all limits for connections, behind a proxy that it believes."""
    settings: dict[str, Any] = {
        f"LIMITS__CONNECTIONS_PER_{name}": str(limit) for name, limit in STRICT.items()
    } | {"EDGE__TRUSTED_PROXIES": '["127.0.0.0/8"]'}
    async with running_edge(SharedRedis(session_redis, "limits-strict"), **settings) as edge:
        yield edge


STRICT = {"USER": 2, "KEY": 2, "IP": 3, "TENANT": 4}


async def ask(
    edge: RunningEdge, stack: AsyncExitStack, token: str, path: str = "/ws", address: str = ""
) -> HttpAnswer:
    """Ask for an upgrade on a connection that stays open until *stack* ends, each from another address."""
    wire = await stack.enter_async_context(await edge.dial())
    address = address or f"10.1.{next(_addresses)}.1"
    lines = (f"Authorization: Bearer {token}", f"X-Forwarded-For: {address}")
    return await wire.ask(upgrade_request(*lines, path=path))


async def connect(
    edge: RunningEdge, stack: AsyncExitStack, tenant: str, user: str = "u-1", port: int = 0, query: str = ""
) -> Wire:
    """Open a connection that stays until *stack* ends; through a proxy where a *port* is given."""
    wire = await stack.enter_async_context(await Wire.dial(port or edge.port))
    lines = (
        f"Authorization: Bearer {edge.token(tenant, sub=user)}",
        f"X-Forwarded-For: 10.2.{next(_addresses)}.1",
    )
    return await wire.open(*lines, path=f"/ws{query}")


async def comes_in(edge: RunningEdge, stack: AsyncExitStack, tenant: str, user: str = "u-1") -> bool:
    """Try to come in, and tell whether that succeeded; a refusal is one by a limit."""
    answer = await ask(edge, stack, edge.token(tenant, sub=user))
    if answer.status != 101:
        assert (answer.status, answer.error["code"]) == (429, "connection_limit"), answer
    return answer.status == 101


def leases(redis: SharedRedis, subject: str) -> int:
    """Return how many leases of *subject* there are."""
    count: int = redis.server.execute("ZCOUNT", f"{redis.prefix}:_lease:{subject}", 0, "+inf")
    return count


# Connections


async def test_the_sixth_connection_is_refused_on_whichever_edge(edges: Edges, tenant: str) -> None:
    """And told when to try again; another user is not, and one that leaves makes room."""
    one, two = edges
    async with AsyncExitStack() as stack:
        held = [await connect(edge, stack, tenant) for edge in (one, two, one, two, one)]
        for edge in (one, two):
            before = await edge.metric("rate_limited_total", limit="connections_user")
            answer = await ask(edge, stack, edge.token(tenant))
            assert answer.status == 429
            assert answer.error["code"] == "connection_limit"
            assert 1 <= int(answer.headers["retry-after"]) <= 10
            assert await edge.metric("rate_limited_total", limit="connections_user") == before + 1
        await connect(two, stack, tenant, "u-2")

        held[0].writer.transport.abort()
        await eventually(lambda: comes_in(two, stack, tenant))
        assert not await comes_in(one, stack, tenant)


async def test_of_twenty_at_once_exactly_five_come_in(edges: Edges, tenant: str) -> None:
    """On two edges, ten times."""
    for attempt in range(10):
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(comes_in(edges[number % 2], stack, tenant, f"u-{attempt}"))
                for number in range(20)
            ]
        assert sum(each.result() for each in asked) == PER_USER


@pytest.mark.parametrize(
    ("limit", "same", "subject"),
    [
        ("USER", {"sub": "u-1"}, "user:{tenant}:u-1"),
        ("KEY", {"jti": "t-1"}, "key:{tenant}:t-1"),
        ("TENANT", {}, "tenant:{tenant}"),
        ("IP", {}, "ip:192.0.2.7"),
    ],
)
async def test_each_limit_counts_for_itself(
    strict_edge: RunningEdge, tenant: str, limit: str, same: dict[str, str], subject: str
) -> None:
    """So many connections of a user, credential, tenant or address; one more has to be of another one."""
    edge, numbers = strict_edge, itertools.count()
    subject = subject.format(tenant=tenant)

    async def comes(stack: AsyncExitStack, **claims: str) -> int:
        whose = f"{tenant}-{next(numbers)}" if limit == "IP" else tenant
        token = edge.token(whose, **{"sub": f"u-{next(numbers)}", "jti": f"t-{next(numbers)}", **claims})
        answer = await ask(edge, stack, token, address="192.0.2.7" if limit == "IP" else "")
        return answer.status

    async with AsyncExitStack() as stack:
        for _ in range(STRICT[limit]):
            assert await comes(stack, **same) == 101
        assert leases(edge.redis, subject) == STRICT[limit]
        assert await comes(stack, **same) == 429
        if same:
            assert await comes(stack) == 101
    await eventually(lambda: leases(edge.redis, subject) == 0)


async def test_a_refusal_gives_back_what_was_taken_before_it(strict_edge: RunningEdge, tenant: str) -> None:
    """Somebody for whose tenant there is no place does not use up the places of its user."""
    async with AsyncExitStack() as stack:
        for number in range(STRICT["TENANT"]):
            await connect(strict_edge, stack, tenant, f"u-{number}")
        assert not await comes_in(strict_edge, stack, tenant, "late")

        await eventually(lambda: leases(strict_edge.redis, f"user:{tenant}:late") == 0)
        assert leases(strict_edge.redis, f"tenant:{tenant}") == STRICT["TENANT"]


async def test_a_foreign_connection_cannot_be_replaced(strict_edge: RunningEdge, tenant: str) -> None:
    """To name the client id of another user, or one that nobody has, changes nothing."""
    edge = strict_edge
    async with AsyncExitStack() as stack:
        mine = [await connect(edge, stack, tenant, "u-1") for _ in range(2)]
        for _ in range(2):
            await connect(edge, stack, tenant, "u-2")
        for name in (mine[0].client_id, "nobody", "x" * 500, "%00"):
            # One without a place of its own, and one with places of its own but none of the tenant.
            for user in ("u-2", "u-3"):
                answer = await ask(edge, stack, edge.token(tenant, sub=user), path=f"/ws?client={name}")
                assert (answer.status, answer.error["code"]) == (429, "connection_limit")
        await mine[0].silence()
        assert leases(edge.redis, f"tenant:{tenant}") == STRICT["TENANT"]


async def test_a_handshake_that_fails_later_holds_nothing(edges: Edges, tenant: str) -> None:
    """Whoever is refused for something else has no place."""
    async with AsyncExitStack() as stack:
        for _ in range(6):
            answer = await ask(edges[0], stack, edges[0].token(tenant), path="/ws?since=nonsense")
            assert answer.status == 400
        assert leases(edges[0].redis, f"user:{tenant}:u-1") == 0
        assert await comes_in(edges[0], stack, tenant)


async def test_refusal_by_close_code(strict_edge: RunningEdge, tenant: str) -> None:
    """A browser that asks for it sees 4505, and that it need not come back."""
    edge = strict_edge
    async with AsyncExitStack() as stack:
        for _ in range(STRICT["USER"]):
            await connect(edge, stack, tenant)
        wire = await stack.enter_async_context(await edge.dial())
        lines = f"Authorization: Bearer {edge.token(tenant)}"
        assert (await wire.ask(upgrade_request(lines, path="/ws?reject=close"))).status == 101

        closing = await wire.closing()
        assert closing.code == 4505
        assert closing.farewell["reconnect"] is False


async def test_leases_of_those_who_stay_are_renewed(edges: Edges, tenant: str) -> None:
    """For longer than a lease lives nobody else gets in."""
    async with AsyncExitStack() as stack:
        for number in range(PER_USER):
            await connect(edges[number % 2], stack, tenant)
        until = time.monotonic() + 1.5 * LEASE_SECONDS

        async def is_over() -> bool:
            assert leases(edges[0].redis, f"user:{tenant}:u-1") == PER_USER
            return time.monotonic() > until

        await eventually(is_over)
        assert not await comes_in(edges[0], stack, tenant)


async def test_dying_connections_do_not_lock_their_user_out(edges: Edges, tenant: str) -> None:
    """Five whose network is gone without a word: the one that names one replaces it, on either edge."""
    one, two = edges
    async with FaultProxy(("127.0.0.1", one.port)) as proxy, AsyncExitStack() as stack:
        dying = [await connect(one, stack, tenant, port=proxy.port) for _ in range(PER_USER)]
        proxy.black_hole()
        assert not await comes_in(two, stack, tenant)

        back = [
            await connect(edges[number % 2], stack, tenant, query=f"?client={old.client_id}")
            for number, old in enumerate(dying)
        ]
        assert not await comes_in(one, stack, tenant)
        # The edge of the dying ones learns of those that came to the other one, and lets go of them.
        await eventually(lambda: _has(one, 3))
        assert leases(one.redis, f"user:{tenant}:u-1") == PER_USER
        for wire in back:
            await wire.silence()


async def _has(edge: RunningEdge, count: int) -> bool:
    return await edge.metric("connections_active") == count


async def test_a_living_connection_that_is_replaced_ends(edges: Edges, tenant: str) -> None:
    """Else anybody could have any number of connections, each in the place of the last one."""
    one, two = edges
    async with AsyncExitStack() as stack:
        here = await connect(one, stack, tenant)
        elsewhere = await connect(two, stack, tenant)
        for old in (here, elsewhere):
            await connect(one, stack, tenant, query=f"?client={old.client_id}")
            assert (await old.closing()).code == 4505
        await eventually(lambda: leases(one.redis, f"user:{tenant}:u-1") == 2)


async def test_slots_of_an_edge_that_was_killed_are_free_within_the_lease(edges: Edges, tenant: str) -> None:
    """kill -9 says goodbye to nobody; the leases end by themselves, and not before."""
    other, redis = edges[0], edges[0].redis
    process, port, ops_port = edge_process(redis, **FIVE)
    async with process, AsyncExitStack() as stack:
        await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz", 200)
        dying = RunningEdge(process, port, ops_port, redis)
        for _ in range(PER_USER):
            await connect(dying, stack, tenant)
        assert not await comes_in(other, stack, tenant)
        process.kill()
        killed_at = time.monotonic()
        assert not await comes_in(other, stack, tenant)

        await eventually(lambda: comes_in(other, stack, tenant))
        assert time.monotonic() - killed_at < LEASE_SECONDS + 1
        for _ in range(PER_USER - 1):
            await eventually(lambda: comes_in(other, stack, tenant), 3)
        assert not await comes_in(other, stack, tenant)


async def test_a_stopped_edge_comes_back_with_its_connections(shared_redis: SharedRedis, tenant: str) -> None:
    """Its leases ended and others came in, so there are more than the limit; nobody is cut off for that, and
    nobody comes in until there are fewer."""
    settings: dict[str, Any] = {"LIMITS__CONNECTIONS_PER_USER": "1", "LIMITS__LEASE_SECONDS": "1"}
    async with (
        running_edge(shared_redis, **settings) as stopped,
        running_edge(shared_redis, **settings) as other,
        AsyncExitStack() as stack,
    ):
        old = await connect(stopped, stack, tenant)
        os.kill(stopped.process.pid, signal.SIGSTOP)
        await eventually(lambda: comes_in(other, stack, tenant))
        os.kill(stopped.process.pid, signal.SIGCONT)

        await old.silence()
        await eventually(lambda: leases(shared_redis, f"user:{tenant}:u-1") == 2)
        assert not await comes_in(other, stack, tenant)


async def test_workers_share_limits(shared_redis: SharedRedis) -> None:
    """Two processes behind one port let in five, not ten."""
    process, port, ops_port = edge_process(shared_redis, "--workers", "2", **FIVE)
    async with process, AsyncExitStack() as stack:
        await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz", 200, 30)
        edge = RunningEdge(process, port, ops_port, shared_redis)
        found = [await comes_in(edge, stack, "acme") for _ in range(20)]
        assert sum(found) == PER_USER
        assert await edge.metric("rate_limited_total", limit="connections_user") == 15
        await stack.aclose()
        assert await stop(edge) == 0


# Attempts


async def test_attempts_of_an_address_are_counted_across_edges(shared_redis: SharedRedis) -> None:
    """Good and bad tokens alike; who is over is told how long, before anything is looked at."""
    async with (
        running_edge(shared_redis, LIMITS__ATTEMPTS_PER_MINUTE="10") as one,
        running_edge(shared_redis, LIMITS__ATTEMPTS_PER_MINUTE="10") as two,
        AsyncExitStack() as stack,
    ):
        for number in range(10):
            edge = (one, two)[number % 2]
            answer = await ask(edge, stack, "no.token.atall" if number % 3 else edge.token())
            assert answer.status == (401 if number % 3 else 101)
        for edge in (one, two, one, two):
            answer = await ask(edge, stack, edge.token())
            assert (answer.status, answer.error["code"]) == (429, "rate_limited")
            assert 50 < int(answer.headers["retry-after"]) <= 61
        for edge in (one, two):
            assert await edge.metric("rate_limited_total", limit="attempts") == 2


# Redis away


@pytest.mark.parametrize("without_redis", ["open", "closed"])
async def test_without_redis_an_edge_counts_for_itself_or_lets_nobody_in(
    redis_server: RedisServer, without_redis: str
) -> None:
    """As configured; when Redis is back, those who came in meanwhile count too."""
    redis = SharedRedis(redis_server, "away")
    settings = {**FIVE, "LIMITS__WITHOUT_REDIS": without_redis, "LIMITS__ATTEMPTS_PER_MINUTE": "60"}
    async with running_edge(redis, **settings) as edge, AsyncExitStack() as stack:
        for _ in range(2):
            await connect(edge, stack, "acme")
        redis_server.kill()
        await edge.process.wait_for_output("limits_unknown")
        if without_redis == "closed":
            answer = await ask(edge, stack, edge.token())
            assert (answer.status, answer.error["code"]) == (503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert [await comes_in(edge, stack, "acme") for _ in range(4)] == [True] * 3 + [False]

        redis_server.start()
        expected = 2 if without_redis == "closed" else PER_USER
        await eventually(lambda: leases(redis, "user:acme:u-1") == expected)
        await edge.process.wait_for_output("limits_shared")


# Commands


def codes(messages: Sequence[Any]) -> Counter[str]:
    """Return how often each error stands among *messages*, and what else there is by its type."""
    return Counter(each["payload"].get("code", each["type"]) for each in messages)


async def test_commands_beyond_the_budget_are_refused_and_told_when(edge: RunningEdge, tenant: str) -> None:
    """Forty at once are carried out; the others get `rate_limited` with the time to wait, and after that time
    it is all right again."""
    async with edge.client(tenant) as client:
        name = f"tenant:{tenant}:all"
        client.send(*({"type": "unsubscribe", "channel": name, "id": number} for number in range(45)))
        messages = await client.messages(45)
        assert codes(messages) == {"forbidden": 40, "rate_limited": 5}
        refused = messages[40]
        assert refused["type"] == "error"
        assert refused["replyTo"] == 40
        assert refused["payload"]["status"] == 429
        assert 0 < refused["payload"]["retryAfterMs"] <= 50
        # A ping has a budget of its own.
        await client.silence()

        async def is_carried_out() -> bool:
            answer = await client.call({"type": "unsubscribe", "channel": name})
            return bool(answer["payload"]["code"] == "forbidden")

        await eventually(is_carried_out)


async def test_pings_have_a_budget(edges: Edges, tenant: str) -> None:
    """Those of the protocol are told so, those of RFC 6455 get no answer; both count together."""
    async with edges[0].client(tenant) as client:
        for _ in range(30):
            client.send_frame(b"hello", PING)
        client.send({"type": "ping", "id": 1})
        client.send_frame(b"unheard", PING)
        client.send({"type": "unsubscribe", "channel": "x"})
        frames = [await client.frame() for _ in range(32)]
        assert frames[:30] == [(PONG, b"hello")] * 30
        assert b'"rate_limited"' in frames[30][1]
        assert b'"invalid_channel"' in frames[31][1]


async def test_channels_joined_and_left_have_a_budget(shared_redis: SharedRedis) -> None:
    """A batch of n costs n, whatever comes of it."""
    async with (
        running_edge(shared_redis, LIMITS__CHURN_BURST="20", LIMITS__CHURN_PER_SECOND="1") as edge,
        edge.client() as client,
    ):
        names = [f"tenant:acme:resource:orders:{number}" for number in range(15)]
        await client.call({"type": "subscribe", "channels": names}, "subscribed")
        answer = await client.call({"type": "unsubscribe", "channels": names, "id": "a"}, "error")
        assert (answer["payload"]["code"], answer["replyTo"]) == ("rate_limited", "a")
        assert 5000 < answer["payload"]["retryAfterMs"] <= 10_000
        await client.call({"type": "unsubscribe", "channels": names[:5]}, "unsubscribed")


async def test_connections_of_a_tenant_share_a_budget(shared_redis: SharedRedis) -> None:
    """All of their commands together; pings and each one's first `subscribe` are free, so that all can come
    back at once."""
    async with running_edge(shared_redis, LIMITS__TENANT_PER_SECOND="4") as edge, AsyncExitStack() as stack:
        clients = [await connect(edge, stack, "acme", f"u-{number}") for number in range(10)]
        for client in clients:
            await client.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:1"}, "subscribed")
            await client.silence()
        second = {"type": "subscribe", "channel": "tenant:acme:resource:orders:2"}
        answers = [await client.call(second) for client in clients]
        found = codes(answers)
        assert found["subscribed"] >= 4
        assert found["rate_limited"] >= 3
        async with edge.client("globex") as stranger:
            for number in range(4):
                name = f"tenant:globex:resource:orders:{number}"
                await stranger.call({"type": "subscribe", "channel": name}, "subscribed")
        assert await edge.metric("rate_limited_total", limit="tenant") == found["rate_limited"]


async def test_a_command_that_waits_counts_once(edge: RunningEdge, tenant: str) -> None:
    """However often it is looked at until its positions are known."""
    async with edge.client(tenant) as client:
        positions = await client.positions()
        name = f"tenant:{tenant}:resource:orders:1"
        for _ in range(35):
            await client.call({"type": "subscribe", "channel": name, "since": positions}, "subscribed")
        since = {"direct": "99999999999999-0~00000000"}
        client.send({"type": "subscribe", "channel": name, "since": since})
        assert "subscribed" in codes(await client.messages(1))


async def test_limits_can_be_switched_off(shared_redis: SharedRedis) -> None:
    """0 is no limit."""
    names = ("COMMANDS_PER_SECOND", "PINGS_PER_SECOND", "CHURN_PER_SECOND", "TENANT_PER_SECOND")
    settings: dict[str, Any] = {f"LIMITS__{name}": "0" for name in names}
    async with (
        running_edge(shared_redis, **settings) as edge,
        edge.client() as client,
    ):
        commands: list[dict[str, Any]] = [
            {"type": "ping"},
            {"type": "unsubscribe", "channel": "system:all"},
        ]
        client.send(*(commands * 500))
        assert codes(await client.messages(1000)) == {"pong": 500, "forbidden": 500}
