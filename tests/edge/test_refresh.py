"""A connection shows another token of the same user, and tokens that end (PROTOCOL §2, §3, §5)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fanwire_client import Client, Event
from fanwire_protocol.codec import Encoding
from fanwire_protocol.frames import format_time, parse_time
from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import Wire, types
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

ORDER = "resource:orders:1"


@pytest_asyncio.fixture
async def short(brisk_edge: RunningEdge) -> RunningEdge:
    """An edge whose ticks are short. It takes four connections; those of the test before must be gone."""

    async def is_empty() -> bool:
        return await brisk_edge.metric("connections_active") == 0

    await eventually(is_empty)
    return brisk_edge


def shown(token: str, number: int | str = "refresh") -> dict[str, Any]:
    """Return the command that shows *token*."""
    return {"type": "authenticate", "token": token, "id": number}


async def test_a_refresh_replaces_roles_and_claims(edge: RunningEdge, tenant: str) -> None:
    """What is not permitted any more ends first; the answer says on which channels the connection is now."""
    job, other = f"tenant:{tenant}:resource:jobs:1", f"tenant:{tenant}:resource:jobs:2"
    order = f"tenant:{tenant}:{ORDER}"
    rights = {"roles": ["a", "b"], "scope": "orders:read", "channels": [job, other]}
    async with edge.client(tenant, **rights) as client, edge.publisher() as publisher:
        before = client.greeting
        await client.call({"type": "subscribe", "channels": [order, job, other]}, "subscribed")
        later = edge.token(tenant, roles=["b", "c"], scope="orders:read", channels=[other])
        ended = await client.call(shown(later), "unsubscribed")
        answer = await client.message("authenticated")

        assert ended["payload"] == {"channels": [job], "reason": "revoked"}
        assert answer["replyTo"] == "refresh"
        told = answer["payload"]
        assert set(before["channels"]) - set(told["channels"]) == {f"tenant:{tenant}:role:a"}
        assert set(told["channels"]) - set(before["channels"]) == {f"tenant:{tenant}:role:c"}
        same = ("clientId", "user", "tenant", "authenticated", "heartbeat", "reconnect")
        assert [told[name] for name in same] == [before[name] for name in same]
        assert told["recovered"] is None
        assert told["positions"] == await client.positions()

        for role in ("a", "b", "c"):
            await publisher.send_to_role(tenant, role, "told", {"role": role})
        for resource in (("jobs", "1"), ("jobs", "2"), ("orders", "1")):
            await publisher.publish("orders", "told", {}, tenant=tenant, resource=resource)
        found = await client.messages(4)
        assert sorted(message["channel"].removeprefix(f"tenant:{tenant}:") for message in found) == [
            "resource:jobs:2",
            "resource:orders:1",
            "role:b",
            "role:c",
        ]
        await client.silence()


@pytest.mark.parametrize(
    "claims", [{"sub": "u-2"}, {"tenant": "other"}, {"exp": 1}, {"sub": None}, None], ids=str
)
async def test_a_refresh_that_fails_changes_nothing(
    edge: RunningEdge, tenant: str, claims: dict[str, Any] | None
) -> None:
    """Another user's token, or none at all: 401 as an error, and roles and subscriptions stay."""
    order = f"tenant:{tenant}:{ORDER}"
    async with edge.client(tenant, roles=["a"]) as client, edge.publisher() as publisher:
        await client.call({"type": "subscribe", "channel": order}, "subscribed")
        token = "garbage" if claims is None else edge.token(**{"tenant": tenant, "roles": ["b"], **claims})
        answer = await client.call(shown(token), "error")

        assert answer["replyTo"] == "refresh"
        assert (answer["payload"]["code"], answer["payload"]["status"]) == ("unauthenticated", 401)
        await publisher.send_to_role(tenant, "b", "told", {})
        await publisher.send_to_role(tenant, "a", "told", {})
        await publisher.publish("orders", "told", {}, tenant=tenant, resource=("orders", "1"))
        found = await client.messages(2)
        assert {message["channel"] for message in found} == {f"tenant:{tenant}:role:a", order}


async def test_nothing_is_lost_or_repeated_while_a_client_refreshes(edge: RunningEdge, tenant: str) -> None:
    """Events of all the time arrive once and in order, whatever is joined and left meanwhile, and who joins a
    role gets what comes from then on."""
    # An odd number, so that it is on the role at the end.
    count, refreshes = 200, 21
    order = f"tenant:{tenant}:{ORDER}"
    async with edge.client(tenant) as client, edge.publisher() as publisher, asyncio.TaskGroup() as tasks:
        await client.call({"type": "subscribe", "channel": order}, "subscribed")

        async def publish() -> None:
            for number in range(count):
                await publisher.publish("orders", "told", number, tenant=tenant, resource=("orders", "1"))
                await publisher.send_to_role(tenant, "r", "told", number)

        tasks.create_task(publish())
        numbers: list[int] = []
        of_role: list[int] = []
        answered = asked = 0
        is_on = False
        while len(numbers) < count or answered < refreshes:
            if asked == answered and asked < refreshes and len(numbers) >= asked * count // refreshes:
                asked += 1
                client.send(shown(edge.token(tenant, roles=["r"] if asked % 2 else []), asked))
            message = await client.message()
            match message:
                case {"type": "authenticated", "replyTo": number, "payload": {"channels": channels}}:
                    answered += 1
                    assert number == answered
                    is_on = f"tenant:{tenant}:role:r" in channels
                    assert is_on is bool(answered % 2)
                case {"type": "told", "channel": channel, "payload": number}:
                    assert channel == order or is_on or asked > answered
                    (numbers if channel == order else of_role).append(number)

        await publisher.send_to_role(tenant, "r", "told", count)
        while count not in of_role:
            of_role.append((await client.message("told"))["payload"])
        assert numbers == list(range(count))
        assert of_role == sorted(set(of_role))


async def test_the_end_of_a_token_is_told_and_a_refresh_moves_it(short: RunningEdge) -> None:
    """A token that lives for less than a minute: at once. After the refresh the old end is none, and the new
    one is told and kept: 4001, with a frame that says to come back."""
    first, second = int(time.time()) + 2, int(time.time()) + 4
    async with short.client(exp=first) as client:
        told = await client.message("token_expiring")
        assert told["payload"] == {"expiresAt": format_time(first * 1000)}
        assert parse_time(told["payload"]["expiresAt"]) - parse_time(told["timestamp"]) <= 2000

        await client.call(shown(short.token(exp=second)), "authenticated")
        told = await client.message("token_expiring")
        assert told["payload"] == {"expiresAt": format_time(second * 1000)}
        end = await _talk_until_the_end(client)

        assert -0.1 < time.time() - second < 2
        assert (end.code, end.farewell["code"], end.farewell["reconnect"]) == (4001, 4001, True)
        assert "token_expiring" not in types(end.messages)


async def _talk_until_the_end(client: Wire) -> Any:
    """Keep a connection alive, and return how the server ends it."""

    async def talk() -> None:
        while True:
            client.send({"type": "ping"})
            await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as tasks:
        talking = tasks.create_task(talk())
        end = await client.closing()
        talking.cancel()
    return end


ENTRYPOINTS = """
[[entrypoint]]
path = "/orders/{order}/live"
channels = ["tenant:{tenant}:resource:orders:{order}"]
names = { order = "orderId" }
"""


async def test_what_an_entrypoint_joined_is_told_as_long_as_it_is_permitted(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """The answer to a refresh says what the greeting said of it."""
    file = tmp_path / "entrypoints.toml"
    file.write_text(ENTRYPOINTS)
    order = "tenant:acme:resource:orders:7"
    async with running_edge(shared_redis, EDGE__ENTRYPOINTS=str(file)) as edge, await edge.dial() as client:
        await client.open(f"Authorization: Bearer {edge.token()}", path="/orders/7/live")
        assert (client.greeting["channels"][-1], client.greeting["orderId"]) == (order, "7")

        told = (await client.call(shown(edge.token(roles=["a"])), "authenticated"))["payload"]
        assert (told["channels"][-1], told["orderId"]) == (order, "7")

        ended = await client.call(shown(edge.token(scope=None)), "unsubscribed")
        assert ended["payload"] == {"channels": [order], "reason": "revoked"}
        told = (await client.message("authenticated"))["payload"]
        assert order not in told["channels"]
        assert told["orderId"] == "7"


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_our_own_client_renews_its_token(edge: RunningEdge, tenant: str, encoding: Encoding) -> None:
    """In either encoding, on the connection that it has; what comes for a new role reaches its iterator."""
    tokens = iter([edge.token(tenant, exp=int(time.time()) + 30), edge.token(tenant, roles=["a"])])
    url = f"ws://127.0.0.1:{edge.port}/ws"
    async with (
        edge.publisher() as publisher,
        Client(url, token=lambda: next(tokens), encoding=encoding, random=lambda: 0.0) as client,
        asyncio.timeout(10),
        asyncio.TaskGroup() as tasks,
    ):

        async def publish() -> None:
            while True:
                await publisher.send_to_role(tenant, "a", "told", {})
                await asyncio.sleep(0.1)

        publishing = tasks.create_task(publish())
        item = await anext(client.subscribe())
        publishing.cancel()

        assert isinstance(item, Event)
        assert item.channel == f"tenant:{tenant}:role:a"
        assert client.statistics().connections == 1
