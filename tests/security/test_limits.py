"""Who asks too often or for too much: S15, S21, S23, S30, S31, with PROTOCOL's codes.

Where PROTOCOL differs from the list: a flood closes with 4029, not 4429, after 40 commands or 30 pings and a
hundred refusals; a connection is on 512 channels at most, not 100, and told `limit_exceeded`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import PING, HttpAnswer, Wire, frame_bytes, upgrade_request
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

ATTEMPTS = 100
LIMITED: dict[str, Any] = {
    "LIMITS__ATTEMPTS_PER_MINUTE": str(ATTEMPTS),
    "LIMITS__CONNECTIONS_PER_USER": "5",
    "EDGE__TRUSTED_PROXIES": '["127.0.0.1/32"]',
    "EDGE__UPGRADE_SECONDS": "1",
}
_addresses = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge with limits, behind a proxy that it believes."""
    async with running_edge(SharedRedis(session_redis, "security-limits"), **LIMITED) as running:
        yield running


def address() -> str:
    """Return an address that no other test uses."""
    return f"198.51.100.{next(_addresses)}"


async def ask(edge: RunningEdge, token: str, source: str) -> HttpAnswer:
    """Ask for an upgrade from an address behind the proxy, on a connection of its own."""
    async with await edge.dial() as wire:
        lines = (f"Authorization: Bearer {token}", f"X-Forwarded-For: {source}")
        return await wire.ask(upgrade_request(*lines))


async def storm(edge: RunningEdge, token: str, source: str, count: int) -> Counter[int]:
    """Ask so many times, fifty at once, and return how often there was which status."""
    found: Counter[int] = Counter()

    async def some(number: int) -> None:
        for _ in range(number):
            found[(await ask(edge, token, source)).status] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(some(count // 50))
    return found


async def test_s15_bad_tokens_are_refused_before_they_are_looked_at(limited_edge: RunningEdge) -> None:
    """Of a thousand from one address a hundred are verified, and then not even a good one: 429. Others come
    in meanwhile."""
    edge, source = limited_edge, address()
    bad = make_token(secret="another-secret-of-more-than-32-bytes")

    async with asyncio.TaskGroup() as tasks:
        stormy = tasks.create_task(storm(edge, bad, source, 1000))
        others = [tasks.create_task(ask(edge, edge.token(sub=f"s15-{n}"), address())) for n in range(20)]

    assert stormy.result() == {401: ATTEMPTS, 429: 1000 - ATTEMPTS}
    assert {each.result().status for each in others} == {101}
    refused = await ask(edge, edge.token(sub="s15"), source)
    assert (refused.status, refused.error["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


async def test_s21_the_sixth_connection_and_the_next_attempt_are_refused_on_any_edge(
    session_redis: RedisServer, limited_edge: RunningEdge, tenant: str
) -> None:
    """Two edges count as one: 429 with `Retry-After`, and what a connection held is free when it is gone."""
    async with running_edge(limited_edge.redis, **LIMITED) as other, AsyncExitStack() as stack:
        edges, source = (limited_edge, other), address()
        token = other.token(tenant)

        async def tries(number: int, wanted: str) -> int:
            wire = await stack.enter_async_context(await edges[number % 2].dial())
            lines = (f"Authorization: Bearer {wanted}", f"X-Forwarded-For: {source}")
            answer = await wire.ask(upgrade_request(*lines))
            assert answer.status == 101 or "retry-after" in answer.headers or answer.status == 401
            return answer.status

        found = [await tries(number, token) for number in range(8)]
        assert sorted(found) == [101] * 5 + [429] * 3
        found = [await tries(number, "no token") for number in range(ATTEMPTS + 2 - 8)]
        assert found == [401] * (ATTEMPTS - 8) + [429] * 2

        source = address()
        await stack.aclose()
        await eventually(lambda: _succeeds(tries(0, token)))


async def _succeeds(asked: Any) -> bool:
    return bool(await asked == 101)


async def test_s23_who_dawdles_is_cut_off_and_others_come_in(limited_edge: RunningEdge, tenant: str) -> None:
    """Headers byte for byte, and sockets that say nothing at all: closed when the time is over, counted from
    the first moment. Somebody who wants in gets in at once."""
    edge = limited_edge
    async with AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(await edge.dial()) for _ in range(200)]
        slow = [await stack.enter_async_context(await edge.dial()) for _ in range(10)]
        began = time.monotonic()

        async def dawdle(wire: Wire) -> None:
            for byte in upgrade_request(f"Authorization: Bearer {edge.token(tenant)}"):
                wire.writer.write(bytes([byte]))
                await asyncio.sleep(0.2)
                if wire.writer.is_closing() or wire.reader.at_eof():
                    return

        async with asyncio.TaskGroup() as tasks:
            dawdling = [tasks.create_task(dawdle(wire)) for wire in slow]
            for number in range(20):
                asked_at = time.monotonic()
                assert (await ask(edge, edge.token(tenant, sub=f"u-{number}"), address())).status == 101
                assert time.monotonic() - asked_at < 2
            for wire in (*idle, *slow):
                await wire.rest()
            # A second for the upgrade, and a tick of the caretaker.
            assert time.monotonic() - began < 5
            for each in dawdling:
                each.cancel()


# An edge that may have three hundred files open.
POOR = (
    "-c",
    "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)); "
    "from fanwire_edge.main import main; sys.exit(main())",
)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_s23_sockets_on_which_nothing_is_said_do_not_use_up_the_files(
    shared_redis: SharedRedis, loop: str
) -> None:
    """More than twice as many as the edge may have files: the oldest go for the newest, whoever wants in gets
    in at once, and the broker is still read."""
    async with (
        running_edge(shared_redis, program=POOR, EDGE__LOOP=loop) as edge,
        AsyncExitStack() as stack,
    ):
        for _ in range(700):
            await stack.enter_async_context(await edge.dial())
        began = time.monotonic()
        async with edge.client() as client, edge.publisher() as publisher:
            await client.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:1"}, "subscribed")
            await publisher.publish("orders", "order.updated", 1, tenant="acme", resource=("orders", "1"))
            await client.message("order.updated")
        assert time.monotonic() - began < 5
        assert await edge.metric("rate_limited_total", limit="half_open") >= 700 - 150 - 1


FLOODS: list[tuple[str, str, Callable[[str], bytes]]] = [
    ("pings of the protocol", "pings", lambda _: frame_bytes('{"type":"ping"}')),
    ("PINGs of RFC 6455", "pings", lambda _: frame_bytes(b"x", PING)),
    ("pongs", "pings", lambda _: frame_bytes('{"type":"pong"}')),
    ("commands", "commands", lambda _: frame_bytes('{"type":"unsubscribe","channel":"system:all"}')),
    (
        "joining and leaving",
        "commands",
        lambda tenant: b"".join(
            frame_bytes(f'{{"type":"{type_}","channel":"tenant:{tenant}:resource:orders:1"}}')
            for type_ in ("subscribe", "unsubscribe")
        ),
    ),
    (
        "joining many",
        "churn",
        lambda tenant: frame_bytes(
            json.dumps({"type": "subscribe", "channels": [f"{tenant}{n}" for n in range(200)]})
        ),
    ),
]


@pytest.mark.parametrize(("_", "limit", "message"), FLOODS, ids=[row[0] for row in FLOODS])
async def test_s30_a_flood_is_refused_and_then_closed_with_4029(
    edge: RunningEdge, tenant: str, _: str, limit: str, message: Callable[[str], bytes]
) -> None:
    """A thousand at once: what is beyond the budget is not carried out, and the client is sent away for a
    while. Another one of the same tenant notices nothing."""
    before = await edge.metric("rate_limited_total", limit=limit)
    async with edge.client(tenant) as neighbour, edge.client(tenant) as client:
        client.writer.write(message(tenant) * 1000)

        closing = await client.closing()
        assert closing.code == 4029
        assert closing.farewell["reconnect"] is True
        assert closing.farewell["retryAfterMs"] == 10_000
        await neighbour.silence()
    assert await edge.metric("rate_limited_total", limit=limit) >= before + 100 - 40


async def test_s31_subscriptions_end_at_the_limit(edge: RunningEdge, tenant: str) -> None:
    """A connection that asks for ten thousand channels with the longest names gets as many as are allowed,
    and the edge hardly grows."""
    long = f"tenant:{tenant}:resource:orders:"
    names = (f"{long}{number:0128d}" for number in itertools.count())
    held = await edge.metric("subscriptions")
    async with edge.client(tenant) as client:
        before = _resident_bytes(edge)
        found: Counter[str] = Counter()
        for _ in range(30):
            some = [next(names) for _ in range(20)]
            client.send({"type": "subscribe", "channels": some, "id": 1})
            until = found.total() + len(some)
            while found.total() < until:
                payload = (await client.message())["payload"]
                found[payload.get("code", "subscribed")] += len(payload.get("channels", [1]))
        joined_by_the_server = 4
        assert found == {"subscribed": 512 - joined_by_the_server, "limit_exceeded": 600 - 508}
        # A gap's key too.
        assert await edge.metric("subscriptions") <= held + 513
        assert _resident_bytes(edge) - before < 4_000_000

        for _ in range(200):
            client.send({"type": "subscribe", "channels": [next(names) for _ in range(20)]})
        closing = await client.closing()
        assert closing.code == 4029
        codes = Counter(each["payload"]["code"] for each in closing.messages)
        assert set(codes) <= {"limit_exceeded", "rate_limited", 4029}


def _resident_bytes(edge: RunningEdge) -> int:
    with open(f"/proc/{edge.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
