"""Heartbeats that a browser can see, and times at which nobody could listen (PROTOCOL §3, §6)."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import PING, PONG, TEXT, Wire
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def visible_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge that pings each half second with both frames, and waits 1.5 s for a sign of life."""
    redis = SharedRedis(session_redis, "visible")
    async with running_edge(
        redis,
        HEARTBEAT__INTERVAL="0.5",
        HEARTBEAT__TIMEOUT="1.5",
        HEARTBEAT__JSON="true",
    ) as running:
        yield running


async def _next_ping(client: Wire) -> dict[str, str]:
    """Return the positions of the next `ping` frame, which follows a PING."""
    assert await client.frame() == (PING, b"")
    client.send_frame(b"", PONG)
    message = await client.message("ping")
    assert message["payload"].keys() == {"positions"}
    positions: dict[str, str] = message["payload"]["positions"]
    return positions


async def test_a_visible_ping_tells_what_was_put_on_the_wire(visible_edge: RunningEdge, tenant: str) -> None:
    """With every PING, and with positions that advance also where nothing was for this connection."""
    async with visible_edge.client(tenant) as client:
        before = await _next_ping(client)
        assert before == client.greeting["positions"]

        entry = visible_edge.add_event("direct", tenant)
        while (positions := await _next_ping(client))["direct"] == before["direct"]:
            pass
        assert positions["direct"].startswith(f"{entry}~")
        assert positions.keys() == before.keys()


async def test_a_credential_that_ends_while_the_edge_is_held_up_ends_at_once_after(
    visible_edge: RunningEdge, tenant: str
) -> None:
    """And not later by as long as the edge stood still; who was not listened to is not silent."""
    expires_at = int(time.time()) + 2
    async with visible_edge.client(tenant, exp=expires_at) as ending, visible_edge.client(tenant) as staying:
        child = visible_edge.process.child
        child.send_signal(signal.SIGSTOP)
        try:
            await eventually(lambda: time.time() > expires_at + 1)
        finally:
            child.send_signal(signal.SIGCONT)
        assert (await ending.closing()).code == 4001
        assert time.time() < expires_at + 1.5
        await _next_ping(staying)


async def test_who_is_not_read_is_not_silent(visible_edge: RunningEdge, tenant: str) -> None:
    """A client whose commands wait for what it asked first is not read any more; its signs of life are there
    all the same. A `ping` that was read does not wait."""
    async with visible_edge.client(tenant) as client:
        broker = client.greeting["positions"]["direct"].partition("~")[2]
        ahead = {"direct": f"{time.time_ns() // 10**6 + 3_600_000}-0~{broker}"}
        channel = f"tenant:{tenant}:resource:orders:1"
        client.send({"type": "subscribe", "channel": channel, "since": ahead})
        client.send({"type": "ping", "id": 7})
        assert (await client.message("pong"))["replyTo"] == 7
        client.send(*[{"type": "unsubscribe", "channel": channel}] * 40)

        began, seen = time.monotonic(), 0
        while time.monotonic() < began + 3:
            opcode, _ = await client.frame()
            assert opcode in (PING, TEXT)
            if opcode == PING:
                client.send_frame(b"", PONG)
                seen += 1
        assert seen >= 4
