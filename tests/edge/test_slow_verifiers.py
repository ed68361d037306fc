"""Tokens in band whose verifier takes its time, or does not answer (PROTOCOL §2, §4)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import types
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

# A token waits for a file of its name to know whose it is: `<user>-<number>`.
VERIFIER = """
import asyncio
import os

FOLDER = os.path.dirname(__file__)

async def verify(token):
    open(os.path.join(FOLDER, f"asked-{token}"), "w").close()
    if token.startswith("broken"):
        raise ConnectionError(token)
    while token.startswith("u") and not os.path.exists(os.path.join(FOLDER, f"known-{token}")):
        await asyncio.sleep(0.01)
    if token.startswith("nobody"):
        return None
    return {"sub": token.split("_")[0], "tenant": "shop", "roles": ["clerk"], "scope": "orders:read"}
"""
ORDER = "tenant:shop:resource:orders:1"


@dataclass(frozen=True, slots=True)
class SlowEdge:
    """An edge that takes tokens at the handshake and later, and the folder of what is known of them."""

    edge: RunningEdge
    folder: Path

    async def asked(self, token: str) -> None:
        """Wait until the verifier was asked."""
        await eventually((self.folder / f"asked-{token}").exists)

    def tell(self, token: str) -> None:
        """Let the verifier answer."""
        (self.folder / f"known-{token}").touch()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def slow(session_redis: RedisServer, tmp_path_factory: Any, loop_name: str) -> AsyncIterator[SlowEdge]:
    """The edge of this module."""
    folder: Path = tmp_path_factory.mktemp("verifier")
    (folder / "slow_verifier.py").write_text(VERIFIER)
    async with running_edge(
        SharedRedis(session_redis, f"slow-{loop_name}"),
        environment={"PYTHONPATH": str(folder)},
        EDGE__LOOP=loop_name,
        AUTH__JWT__SECRET=None,
        AUTH__SOURCES='["authorization", "in_band"]',
        AUTH__VERIFIER="callable",
        AUTH__CALLABLE="slow_verifier:verify",
        AUTH__IN_BAND_SECONDS="4",
        AUDIT__TARGET="stdout",
        OUTBOUND__TIMEOUT="10",
        HEARTBEAT__INTERVAL="1",
    ) as edge:
        yield SlowEdge(edge, folder)


def shown(token: str, number: int | str) -> dict[str, Any]:
    """Return the command that shows *token*."""
    return {"type": "authenticate", "token": token, "id": number}


async def test_what_follows_a_token_waits_for_it_and_a_ping_does_not(slow: SlowEdge) -> None:
    """Both kinds of ping; and then everything is carried out in its order."""
    async with await (await slow.edge.dial()).open() as client:
        client.send(shown("u-1_a", 1), {"type": "subscribe", "channel": ORDER, "id": 2})
        await slow.asked("u-1_a")
        assert (await client.call({"type": "ping", "id": 3}, "pong"))["replyTo"] == 3
        slow.tell("u-1_a")
        answers = await client.messages(2)

        assert [(each["type"], each["replyTo"]) for each in answers] == [
            ("authenticated", 1),
            ("subscribed", 2),
        ]


async def test_events_go_on_while_a_refresh_is_looked_at(slow: SlowEdge) -> None:
    """And what follows waits; the new token counts from its answer on."""
    async with await (await slow.edge.dial()).open("Authorization: Bearer key-1") as client:
        await client.call({"type": "subscribe", "channel": ORDER}, "subscribed")
        client.send(shown("u-2_b", 1), {"type": "unsubscribe", "channel": ORDER, "id": 2})
        await slow.asked("u-2_b")
        async with slow.edge.publisher() as publisher:
            for number in range(3):
                await publisher.publish("orders", "told", number, tenant="shop", resource=("orders", "1"))
        found = [await client.message("told") for _ in range(3)]
        assert [message["payload"] for message in found] == [0, 1, 2]
        assert await client.positions()
        slow.tell("u-2_b")
        # It is another user's.
        assert types(await client.messages(2)) == ["error", "unsubscribed"]


async def test_a_verifier_that_is_away_is_no_verdict(slow: SlowEdge) -> None:
    """`unavailable`, with 503, and the client may try again; neither is anybody let in, nor does anything
    change for who is in. The audit log has each of them."""
    async with await (await slow.edge.dial()).open() as client:
        for number in range(2):
            answer = await client.call(shown("broken", number), "error")
            assert (answer["payload"]["code"], answer["payload"]["status"]) == ("unavailable", 503)
            assert answer["replyTo"] == number
        assert (await client.call({"type": "ping"}, "pong"))["payload"] == {"positions": {}}
        await client.call(shown("key-1", 2), "authenticated")

        answer = await client.call(shown("broken", 3), "error")
        assert (answer["payload"]["code"], answer["replyTo"]) == ("unavailable", 3)
        answer = await client.call(shown("nobody", 4), "error")
        assert (answer["payload"]["code"], answer["replyTo"]) == ("unauthenticated", 4)
        await client.call({"type": "subscribe", "channel": ORDER}, "subscribed")
        await slow.edge.process.wait_for(lambda: len(_denied(slow, client.client_id)) == 4)

    assert _denied(slow, client.client_id) == ["unavailable"] * 3 + ["unauthenticated"]


def _denied(slow: SlowEdge, client_id: str) -> list[str]:
    lines = [line for line in slow.edge.process.output.splitlines() if line.startswith("{")]
    return [
        record["code"]
        for record in map(json.loads, lines)
        if record["event"] == "denied" and record["client_id"] == client_id
    ]


async def test_the_time_for_a_token_is_over_also_where_the_verifier_sleeps(slow: SlowEdge) -> None:
    """What it says later lets nobody in."""
    async with await (await slow.edge.dial()).open() as client:
        client.send(shown("u-3_c", 1))
        await slow.asked("u-3_c")
        end = await client.closing()

        assert end.code == 4501
        slow.tell("u-3_c")


async def test_who_leaves_meanwhile_is_forgotten(slow: SlowEdge) -> None:
    """Before it was let in, and in the middle of a refresh; the edge goes on for everybody else."""
    for lines in ((), ("Authorization: Bearer key-1",)):
        token = f"u-4_{len(lines)}"
        async with await (await slow.edge.dial()).open(*lines) as client:
            client.send(shown(token, 1))
            await slow.asked(token)
        slow.tell(token)

        async def is_empty() -> bool:
            return await slow.edge.metric("connections_active") == 0

        await eventually(is_empty)


async def test_many_wait_for_their_turn(slow: SlowEdge) -> None:
    """More than are looked at at once; each gets its own answer."""
    users = [f"u-{number}" for number in range(70)]

    async def come(user: str) -> str:
        async with await (await slow.edge.dial()).open() as client:
            answer = await client.call(shown(f"{user}_many", 1), "authenticated")
            name: str = answer["payload"]["user"]
            return name

    async with asyncio.TaskGroup() as tasks:
        coming = [tasks.create_task(come(user)) for user in users]
        await eventually(lambda: len(list(slow.folder.glob("asked-*_many"))) == 64)
        for user in users:
            slow.tell(f"{user}_many")

    assert [task.result() for task in coming] == users
