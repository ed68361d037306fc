"""Heartbeats, expiry, and the end of those who do not answer (PROTOCOL §2, §5, §6)."""

from __future__ import annotations

import asyncio
import time

import pytest_asyncio

from tests.edge.running import RunningEdge
from tests.edge.wire import CLOSE, PING, PONG, Wire, types, upgrade_request
from tests.kit.wait import eventually


@pytest_asyncio.fixture(autouse=True)
async def _room(brisk_edge: RunningEdge) -> None:
    """The edge takes four connections; those of the test before must be gone."""

    async def is_empty() -> bool:
        return await brisk_edge.metric("connections_active") == 0

    await eventually(is_empty)


async def test_the_server_pings_every_interval_and_keeps_who_answers(brisk_edge: RunningEdge) -> None:
    """Here each half second, for longer than the timeout of one and a half."""
    began = time.monotonic()
    async with brisk_edge.client() as client:
        assert client.greeting["heartbeat"] == {"intervalSeconds": 0.5, "timeoutSeconds": 1.5}
        for _ in range(4):
            assert await client.frame() == (PING, b"")
            client.send_frame(b"", PONG)
        assert 1.9 <= time.monotonic() - began <= 5
        await client.silence()


async def test_anything_that_is_heard_keeps_the_connection(brisk_edge: RunningEdge) -> None:
    """A client that answers no PING but says something is alive."""
    async with asyncio.TaskGroup() as tasks:
        for sign in ("ping", "pong", "PING", "half a frame"):
            tasks.create_task(_outlive(brisk_edge, sign))


async def _outlive(edge: RunningEdge, sign: str) -> None:
    """Stay for five intervals, which is longer than the timeout."""
    async with edge.client() as client:
        pings = 0
        while pings < 5:
            opcode, _ = await client.frame()
            if opcode != PING:
                continue
            match sign:
                case "PING":
                    client.send_frame(b"", PING)
                case "half a frame":
                    client.writer.write(b"\x81\x8fxxx"[pings : pings + 1])
                case _:
                    client.send({"type": sign})
            pings += 1


async def test_a_silent_peer_is_closed_with_4009_and_then_aborted(brisk_edge: RunningEdge) -> None:
    """After 1.5 seconds of silence, with a last frame that says to come back; the socket is freed."""
    began = time.monotonic()
    async with brisk_edge.client() as client:
        end = await client.closing()

        assert end.code == 4009
        assert 1.4 <= time.monotonic() - began <= 5
        assert (end.farewell["code"], end.farewell["reconnect"]) == (4009, True)
        # It does not answer CLOSE either.
        assert await client.rest() == b""
        assert time.monotonic() - began <= 10


async def test_a_peer_that_breaks_a_rule_is_aborted_where_it_does_not_go(brisk_edge: RunningEdge) -> None:
    """Nothing that it sends any more is read, and its socket is freed after two seconds."""
    async with brisk_edge.client() as client:
        client.send_frame(b"x", 0xB)
        assert (await client.closing()).code == 1002
        began = time.monotonic()
        client.send({"type": "ping"})
        assert await client.rest() == b""
        assert time.monotonic() - began <= 10


async def test_a_connection_ends_when_its_token_does(brisk_edge: RunningEdge) -> None:
    """With 4001 at `exp`, to the length of a tick (0.05 s here), however busy the client is."""
    expires_at = int(time.time()) + 2
    token = f"Authorization: Bearer {brisk_edge.token(exp=expires_at)}"
    async with await (await brisk_edge.dial()).open(token) as client:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_keep_talking(client, expires_at))
            end = await client.closing()

        assert -0.1 < time.time() - expires_at < 2
        assert end.code == 4001
        assert (end.farewell["code"], end.farewell["reconnect"]) == (4001, True)
        assert "pong" in types(end.messages)
        client.send_frame((4001).to_bytes(2, "big"), CLOSE)
        assert await client.rest() == b""
    await eventually(lambda: time.time() >= expires_at)
    async with await brisk_edge.dial() as again:
        assert (await again.ask(upgrade_request(token))).status == 401


async def _keep_talking(client: Wire, until: float) -> None:
    while time.time() < until - 0.3:
        client.send({"type": "ping"})
        await asyncio.sleep(0.1)
