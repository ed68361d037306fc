"""Clients that say who they are after the handshake (PROTOCOL §2 `in_band`)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge, stop
from tests.edge.wire import frame_bytes, types, upgrade_request
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

SECONDS = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def late(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """An edge that waits for tokens, though not for long; its ticks are short."""
    redis = SharedRedis(session_redis, f"in-band-{loop_name}")
    async with running_edge(
        redis,
        EDGE__LOOP=loop_name,
        AUTH__SOURCES='["authorization", "in_band"]',
        AUTH__IN_BAND_SECONDS=str(SECONDS),
        HEARTBEAT__INTERVAL="1",
    ) as running:
        yield running


def shown(token: str, number: int | str = 1) -> dict[str, Any]:
    """Return the command that shows *token*."""
    return {"type": "authenticate", "token": token, "id": number}


async def test_who_has_said_nothing_is_greeted_and_joined_to_nothing(late: RunningEdge) -> None:
    """Not even to what is for everyone; it is told the heartbeat, and who it is itself."""
    async with await (await late.dial()).open() as client, late.publisher() as publisher:
        greeting = client.greeting
        assert greeting["authenticated"] is False
        assert (greeting["channels"], greeting["positions"], greeting["recovered"]) == ([], {}, None)
        assert not {"user", "tenant"} & greeting.keys()
        assert greeting["heartbeat"] == {"intervalSeconds": 1, "timeoutSeconds": 60}

        await publisher.broadcast(None, "announcement", {})
        await publisher.send_to_connection("acme", greeting["clientId"], "progress", {})
        async with late.client() as witness:
            await publisher.broadcast(None, "announcement", {})
            await witness.message("announcement")
        pong = await client.call({"type": "ping", "id": 7}, "pong")
        assert (pong["payload"], pong["replyTo"]) == ({"positions": {}}, 7)


@pytest.mark.parametrize(
    "command",
    [
        {"type": "subscribe", "channel": "tenant:acme:resource:orders:1"},
        {"type": "subscribe", "channel": "system:all", "since": "orders@0-0~00000000"},
        {"type": "unsubscribe", "channel": "system:all"},
        {"type": "request.state"},
        {"type": "presence", "channel": "system:all"},
    ],
    ids=lambda command: str(command["type"]),
)
async def test_nothing_else_is_answered(late: RunningEdge, command: dict[str, Any]) -> None:
    """One error for a command, with HTTP's status; the connection stays, and may go on to say who it is."""
    async with await (await late.dial()).open() as client:
        for number in range(12):
            answer = await client.call({**command, "id": number}, "error")
            assert (answer["payload"]["code"], answer["payload"]["status"]) == ("unauthenticated", 401)
            assert answer["replyTo"] == number
        await client.call(shown(late.token()), "authenticated")


async def test_who_says_it_is_joined_and_told_so(late: RunningEdge, tenant: str) -> None:
    """By the answer to its command, which says what a greeting says, and events come from there on."""
    async with await (await late.dial()).open() as client, late.publisher() as publisher:
        answer = await client.call(shown(late.token(tenant, roles=["a"]), "who"), "authenticated")

        told = answer["payload"]
        assert answer["replyTo"] == "who"
        assert (told["user"], told["tenant"], told["authenticated"]) == ("u-1", tenant, True)
        assert told["clientId"] == client.greeting["clientId"]
        assert told["channels"] == [
            f"tenant:{tenant}:user:u-1",
            f"tenant:{tenant}:role:a",
            f"tenant:{tenant}:connection:{told['clientId']}",
            f"tenant:{tenant}:all",
            "system:all",
        ]
        assert told["positions"] == await client.positions()
        order = f"tenant:{tenant}:resource:orders:1"
        await client.call({"type": "subscribe", "channel": order}, "subscribed")
        await publisher.publish("orders", "told", {}, tenant=tenant, resource=("orders", "1"))
        assert (await client.message("told"))["channel"] == order
        await publisher.send_to_user(tenant, "u-1", "told", {})
        await client.message("told")
        # A second one is a refresh.
        await client.call(shown(late.token(tenant)), "authenticated")


async def test_positions_in_the_url_hold_until_it_is_said(late: RunningEdge, tenant: str) -> None:
    """What came between them and the joining is sent once, behind the answer."""
    async with late.client(tenant) as before, late.publisher() as publisher:
        since = "&".join(f"since={topic}@{place}" for topic, place in (await before.positions()).items())
        for number in range(3):
            await publisher.send_to_user(tenant, "u-1", "told", number)
        await before.messages(3)
        async with await (await late.dial()).open(path=f"/ws?{since}") as client:
            assert client.greeting["recovered"] is None
            answer = await client.call(shown(late.token(tenant)), "authenticated")
            assert answer["payload"]["recovered"] is True
            assert [message["payload"] for message in await client.messages(3)] == [0, 1, 2]
            await publisher.send_to_user(tenant, "u-1", "told", 3)
            assert (await client.message("told"))["payload"] == 3
            await client.silence()


@pytest.mark.parametrize("claims", [{"exp": 1}, {"sub": None}, {"tenant": "a:b"}, None], ids=str)
async def test_a_wrong_first_token_ends_the_connection(
    late: RunningEdge, claims: dict[str, Any] | None
) -> None:
    """With 4501, after which nobody comes back by itself."""
    token = "garbage" if claims is None else late.token(**claims)
    async with await (await late.dial()).open() as client:
        client.send(shown(token))
        end = await client.closing()

        assert end.code == 4501
        assert types(end.messages) == ["disconnect"]
        assert (end.farewell["code"], end.farewell["reconnect"]) == (4501, False)


async def test_a_revoked_token_is_a_wrong_one(late: RunningEdge, tenant: str) -> None:
    """In band as at the handshake, and for a refresh, where it is an error: nobody is thrown out by it."""
    revoked, other = late.token(tenant, jti="gone"), late.token(tenant, jti="good")
    async with await (await late.dial()).open() as waiting, late.publisher() as publisher:
        await publisher.revoke(tenant, token="gone")

        async def is_known() -> bool:
            async with await late.dial() as wire:
                return (await wire.ask(upgrade_request(f"Authorization: Bearer {revoked}"))).status == 401

        await eventually(is_known)
        async with await (await late.dial()).open(f"Authorization: Bearer {other}") as client:
            answer = await client.call(shown(revoked), "error")
            assert answer["payload"]["code"] == "unauthenticated"
            assert "revoked" in answer["payload"]["message"]
            await client.call(shown(other), "authenticated")
        waiting.send(shown(revoked))
        assert (await waiting.closing()).code == 4501


async def test_who_says_nothing_in_time_is_sent_away(late: RunningEdge) -> None:
    """With 4501, however much else it says."""
    began = time.monotonic()
    async with await (await late.dial()).open() as client, asyncio.TaskGroup() as tasks:

        async def talk() -> None:
            while True:
                client.send({"type": "ping"})
                await asyncio.sleep(0.2)

        talking = tasks.create_task(talk())
        end = await client.closing()
        talking.cancel()

        assert SECONDS - 0.1 <= time.monotonic() - began <= SECONDS + 3
        assert (end.code, end.farewell["code"]) == (4501, 4501)
        assert "token_expiring" not in types(end.messages)


async def test_who_said_it_in_time_stays(late: RunningEdge) -> None:
    """The time for saying it is not the time of the connection."""
    async with await (await late.dial()).open() as client:
        await client.call(shown(late.token()), "authenticated")
        deadline = time.monotonic() + SECONDS + 0.5
        while time.monotonic() < deadline:
            await client.silence()
            await asyncio.sleep(0.2)


async def test_a_credential_at_the_handshake_decides(late: RunningEdge) -> None:
    """A good one needs no second word, and a bad one is 401, although it could be said later."""
    async with late.client() as client:
        assert client.greeting["authenticated"] is True
    async with await late.dial() as wire:
        answer = await wire.ask(upgrade_request("Authorization: Bearer garbage"))
        assert (answer.status, answer.error["code"]) == (401, "unauthenticated")


async def test_mistakes_are_counted_and_what_comes_too_early_is_none(late: RunningEdge) -> None:
    """Ten in a row of what is no command close with 4506, like everywhere."""
    async with await (await late.dial()).open() as client:
        for _ in range(9):
            assert (await client.call("{", "error"))["payload"]["code"] == "invalid_json"
        await client.call({"type": "subscribe", "channel": "system:all"}, "error")
        for _ in range(9):
            await client.call({"type": "nonsense"}, "error")
        client.send({"type": "nonsense"})
        assert (await client.closing()).code == 4506


async def test_what_is_said_at_once_is_carried_out_in_its_order(late: RunningEdge, tenant: str) -> None:
    """In one packet with the upgrade: before the token nothing is permitted, behind it everything is, and
    more waits than an edge takes at once."""
    names = [f"tenant:{tenant}:resource:orders:{number}" for number in range(34)]
    said = [
        {"type": "subscribe", "channel": names[0], "id": "early"},
        shown(late.token(tenant), "who"),
        *({"type": "subscribe", "channel": name, "id": number} for number, name in enumerate(names)),
    ]
    frames = b"".join(frame_bytes(json.dumps(each)) for each in said)
    async with await late.dial() as client:
        client.writer.write(upgrade_request() + frames)
        assert (await client.http_answer()).status == 101
        found = await client.messages(3 + len(names))

        assert types(found) == ["connected", "error", "authenticated", *["subscribed"] * len(names)]
        assert [message["replyTo"] for message in found[1:]] == ["early", "who", *range(len(names))]
        await client.silence()


async def test_who_waits_is_pinged_and_sent_home_like_everybody(
    session_redis: RedisServer, loop_name: str
) -> None:
    """PINGs come, with an empty place where browsers are to see them; a stop of the edge is 1012; and there
    is no more room for those who wait than for those who are in."""
    redis = SharedRedis(session_redis, f"waiting-{loop_name}")
    async with running_edge(
        redis,
        EDGE__LOOP=loop_name,
        EDGE__MAX_CONNECTIONS="1",
        AUTH__SOURCES='["in_band"]',
        HEARTBEAT__INTERVAL="0.3",
        HEARTBEAT__TIMEOUT="5",
        HEARTBEAT__JSON="true",
    ) as edge:
        async with await (await edge.dial()).open() as client:
            assert (await client.message("ping"))["payload"] == {"positions": {}}
            client.send({"type": "pong"})
            async with await edge.dial() as other:
                assert (await other.ask(upgrade_request())).status == 503
            edge.process.child.terminate()
            end = await client.closing()

            assert (end.code, end.farewell["reconnect"]) == (1012, True)
            assert "error" not in types(end.messages)
        await stop(edge, is_told=True)


async def test_a_silent_peer_is_not_waited_for(session_redis: RedisServer, loop_name: str) -> None:
    """Where the time for a token is longer than silence may be, silence ends it."""
    redis = SharedRedis(session_redis, f"silent-{loop_name}")
    async with (
        running_edge(
            redis,
            EDGE__LOOP=loop_name,
            AUTH__SOURCES='["in_band"]',
            HEARTBEAT__INTERVAL="0.3",
            HEARTBEAT__TIMEOUT="0.9",
        ) as edge,
        await (await edge.dial()).open() as client,
    ):
        assert (await client.closing()).code == 4009
