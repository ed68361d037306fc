"""Credentials that end while a connection is open: S18, with PROTOCOL's codes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fanwire_protocol.frames import format_time
from tests.edge.running import RunningEdge
from tests.edge.wire import Closing, Wire, types, upgrade_request


async def _until_the_end(client: Wire) -> Closing:
    """Keep the connection busy, and return how the server ends it."""

    async def talk() -> None:
        while True:
            client.send({"type": "ping"})
            await asyncio.sleep(0.25)

    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(talk())
        end = await client.closing()
        talking.cancel()
    return end


async def test_s18_expiry_is_told_a_minute_ahead(edge: RunningEdge, tenant: str) -> None:
    """Once, with the moment; not before (the edge's ticks are a second long)."""
    expires_at = int(time.time()) + 62
    async with edge.client(tenant, exp=expires_at) as client:
        told = await client.message("token_expiring")

        assert 58.5 <= expires_at - time.time() <= 60.1
        assert told["payload"] == {"expiresAt": format_time(expires_at * 1000)}
        await client.silence()


async def test_s18_a_connection_ends_with_its_token_whatever_else_is_shown(
    edge: RunningEdge, tenant: str
) -> None:
    """4001 at `exp`, at most a tick later; a token that is not the same user's, expired or forged moves
    nothing, and gives nothing: neither its roles nor its rights."""
    wrong: list[dict[str, Any]] = [
        {"sub": "u-2"},
        {"tenant": f"{tenant}-of-others"},
        {"exp": 1},
        {"secret": "x" * 32},
    ]
    async with asyncio.TaskGroup() as tasks:
        for claims in wrong:
            tasks.create_task(_show_in_vain(edge, tenant, claims))


async def _show_in_vain(edge: RunningEdge, tenant: str, wrong: dict[str, Any]) -> None:
    expires_at = int(time.time()) + 3
    async with edge.client(tenant, exp=expires_at, scope=None) as client, edge.publisher() as publisher:
        await client.message("token_expiring")
        token = edge.token(**{"tenant": tenant, "roles": ["admin"], **wrong})
        answer = await client.call({"type": "authenticate", "token": token, "id": 1}, "error")
        assert (answer["payload"]["code"], answer["payload"]["status"]) == ("unauthenticated", 401)

        order = f"tenant:{tenant}:resource:orders:1"
        answer = await client.call({"type": "subscribe", "channel": order}, "error")
        assert answer["payload"]["code"] == "forbidden"
        await publisher.send_to_role(tenant, "admin", "told", {})
        end = await _until_the_end(client)

        assert 0 <= time.time() - expires_at + 0.1 <= 2.5
        assert (end.code, end.farewell["code"], end.farewell["reconnect"]) == (4001, 4001, True)
        assert set(types(end.messages)) <= {"pong", "disconnect"}


async def test_s18_a_token_of_the_same_user_moves_the_end(edge: RunningEdge, tenant: str) -> None:
    """The connection outlives the first token, and ends with the second; neither opens another one then."""
    first, second = int(time.time()) + 2, int(time.time()) + 5
    old, new = edge.token(tenant, exp=first), edge.token(tenant, exp=second)
    async with await (await edge.dial()).open(f"Authorization: Bearer {old}") as client:
        await client.message("token_expiring")
        await client.call({"type": "authenticate", "token": new}, "authenticated")
        end = await _until_the_end(client)

        assert 0 <= time.time() - second + 0.1 <= 2.5
        assert end.code == 4001
        assert types(end.messages).count("token_expiring") == 1
    for token in (old, new):
        async with await edge.dial() as again:
            answer = await again.ask(upgrade_request(f"Authorization: Bearer {token}"))
            assert (answer.status, answer.error["code"]) == (401, "unauthenticated")
