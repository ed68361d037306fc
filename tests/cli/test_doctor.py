"""`fanwire doctor` against real brokers and edges."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fanwire_cli.probes import ProbeFailed, Visit, ask_broker
from fanwire_cli.verdicts import HandshakeFacts
from tests.cli.commands import fanwire
from tests.cli.edges import running_edge
from tests.kit.processes import free_port
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.tokens import make_token

ORDERS = "tenant:acme:resource:orders:*"


async def test_healthy_installation(shared_redis: SharedRedis) -> None:
    """Every check is `ok`, the exit code is 0, and the token is in no line."""
    shared_redis.server.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
    token = make_token(channels=[ORDERS])
    async with running_edge(shared_redis) as edge:
        argv = ("doctor", "--url", edge.url, "--token", token, "--channel", ORDERS)
        done = fanwire(*argv, environment=edge.environment)

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in lines] == [
        "ok   broker",
        "ok   broker version",
        "ok   broker role",
        "ok   broker maxmemory-policy",
        "ok   token",
        "ok   edge port",
        "ok   edge /readyz",
        "ok   handshake",
        "ok   subscribe tenant",
    ]
    assert token not in done.stdout


@pytest.mark.parametrize(
    ("claims", "channel", "expected"),
    [
        (
            {"exp": None},
            ORDERS,
            ["FAIL token: claim `exp` is missing", "FAIL handshake: 401"],
        ),
        ({"exp": int(time.time()) - 60}, ORDERS, ["FAIL token: claim `exp`: it expired"]),
        ({"tenant": "a:b"}, ORDERS, ["FAIL token: claim `tenant` is no segment"]),
        ({"tenant": None}, ORDERS, ["FAIL token: claim `tenant` is missing"]),
        ({"sub": None}, ORDERS, ["FAIL token: claim `sub` is missing"]),
        ({}, ORDERS, ["ok   handshake", f"FAIL subscribe {ORDERS}: forbidden: claim `channels` with"]),
        ({}, "tenant:globex:resource:orders:1", ["no claim reaches tenant globex"]),
        ({}, "tenant:acme:*", ["FAIL subscribe tenant:acme:*: invalid_channel: after the tenant comes"]),
        ({}, "tenant:acme:user:u-2", ["forbidden: it is joined by the server"]),
    ],
)
async def test_what_is_wrong_is_explained(
    shared_redis: SharedRedis, claims: dict[str, Any], channel: str, expected: list[str]
) -> None:
    """A failed check says which claim or rule it is, and the exit code is 1."""
    token = make_token(**claims)
    async with running_edge(shared_redis) as edge:
        environment = {**edge.environment, "FANWIRE_TOKEN": token}
        done = fanwire("doctor", "--url", edge.url, "--channel", channel, environment=environment)

    assert done.returncode == 1
    for text in expected:
        assert text in done.stdout
    assert token not in done.stdout + done.stderr


async def test_without_a_token_a_401_is_as_it_should_be(shared_redis: SharedRedis) -> None:
    """The edge refuses, which is right; a channel that was asked for could not be tried, which is not."""
    async with running_edge(shared_redis) as edge:
        bare = fanwire("doctor", "--url", edge.url, environment=edge.environment)
        asked = fanwire("doctor", "--url", edge.url, "--channel", ORDERS, environment=edge.environment)

    assert bare.returncode == 0
    assert "ok   handshake: 401 without a token" in bare.stdout
    assert asked.returncode == 1
    assert f"FAIL subscribe {ORDERS}: needs a connection" in asked.stdout


def test_nothing_runs() -> None:
    """Every part that does not answer is named with what to do, and the password is not."""
    broker, edge, ops = free_port(), free_port(), free_port()
    environment = {
        "FANWIRE_BROKER__URL": f"redis://:hush@127.0.0.1:{broker}/0",
        "FANWIRE_EDGE__OPS_PORT": str(ops),
    }
    done = fanwire("doctor", "--url", f"ws://127.0.0.1:{edge}/ws", environment=environment)

    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"FAIL broker: redis://127.0.0.1:{broker}/0 cannot be reached: nothing listens there; "
        "start Redis, or correct FANWIRE_BROKER__URL",
        f"FAIL edge port: 127.0.0.1:{edge}: nothing listens there; start `fanwire edge`, or correct --url",
        f"FAIL edge /readyz: http://127.0.0.1:{ops}/readyz: nothing listens there; "
        "is FANWIRE_EDGE__OPS_PORT right?",
    ]


async def test_broker_is_read_as_it_is(redis_server: RedisServer) -> None:
    """Role and eviction policy come from the server."""
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with RedisServer(replica_of=redis_server.address) as replica:
        facts, of_replica = await ask_broker(redis_server.url), await ask_broker(replica.url)

    assert (facts.role, facts.policy) == ("master", "allkeys-lru")
    assert of_replica.role == "slave"


@pytest.mark.parametrize(
    ("config", "url", "text"),
    [
        ({"requirepass": "hush"}, "redis://:wrong@127.0.0.1:{port}/0", "password"),
        ({}, "http://127.0.0.1:{port}", "one of redis://"),
        ({}, "redis://user:hush/word@127.0.0.1:{port}/0", "/ as %2F"),
        ({"rename-command": 'HELLO ""'}, "redis://:hush@127.0.0.1:{port}/0", "unknown command 'HELLO'"),
    ],
)
async def test_broker_that_does_not_let_us_in(config: dict[str, str], url: str, text: str) -> None:
    """The reason is given in one line, and the password is not."""
    with RedisServer(config=config) as server, pytest.raises(ProbeFailed) as caught:
        await ask_broker(url.format(port=server.port))

    assert text in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "facts"),
    [
        (
            503,
            '{"error": {"code": "draining", "message": "going away"}}',
            HandshakeFacts(503, "draining", "going away", "7"),
        ),
        (403, "not JSON", HandshakeFacts(403, retry_after="7")),
        (200, "[]", HandshakeFacts(200, retry_after="7")),
    ],
)
async def test_refused_upgrade_is_read(status: int, body: str, facts: HandshakeFacts) -> None:
    """Status, code, message and Retry-After of a refusal are kept, also of a peer that is no edge."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Retry-After": "7"})

    async with _answering(refuse) as url, Visit(url, "t") as visit:
        assert await visit.shake_hands() == facts


async def test_token_follows_no_redirect() -> None:
    """A redirect is a failure that says so, and what it leads to is asked for nothing."""
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with _answering(redirect) as url, Visit(url, "t") as visit:
        with pytest.raises(ProbeFailed, match=r"redirects \(302\)"):
            await visit.shake_hands()

    assert asked == ["/ws"]


async def test_answer_that_is_no_http_shows_no_query() -> None:
    """A credential in the URL's query is not repeated with the reason."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        async with Visit(f"ws://127.0.0.1:{port}/ws?token=hush", None) as visit:
            with pytest.raises(ProbeFailed) as caught:
                await visit.shake_hands()

    assert "hush" not in str(caught.value)


@asynccontextmanager
async def _answering(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{path}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"ws://127.0.0.1:{port}/ws"
    finally:
        await runner.cleanup()
