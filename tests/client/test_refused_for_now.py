"""The client whose subscriptions the server cannot permit just now: it keeps them and asks again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from fanwire_client import Client, Event, SubscriptionEnded
from tests.client.scripted_server import DEADLINE_SECONDS, Peer, ScriptedServer
from tests.client.wire import A, connected, error, event, expired, frame, offset, place, places, subscribed


async def answered(peer: Peer, number: int) -> dict[str, object]:
    """Answer the next `subscribe` with an event, and return the command."""
    command = await peer.command("subscribe")
    recovered = True if "since" in command else None
    told = subscribed([A], command.get("since"), recovered=recovered, reply_to=command["id"])
    await peer.send(told, event(A, f"e-{number}", offset("orders", number)))
    return command


async def test_the_iterator_goes_on_where_it_stood(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Refusals for now and expiry end nothing, and are logged; what the server takes back does."""
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:

        async def serve() -> None:
            peer = await server.peer()
            await peer.send(connected(places(orders=3)))
            for code, channel in (("unavailable", A), ("rate_limited", None)):
                refused = await peer.command("subscribe")
                await peer.send(error(code, channel, refused["id"]))
            assert "since" not in await answered(peer, 4)
            await peer.send(expired(A))
            refused = await peer.command("subscribe")
            await peer.send(error("unavailable", A, refused["id"]))
            again = await answered(peer, 5)
            assert refused["since"] == again["since"] == {"orders": place(4)}
            await peer.send(frame("unsubscribed", {"channels": [A], "reason": "revoked"}))

        tasks.create_task(serve())
        async with Client(server.url, random=lambda: 0.0) as client:
            subscription = client.subscribe(A)
            items = [await anext(subscription), await anext(subscription)]
            assert [item.event_id for item in items if isinstance(item, Event)] == ["e-4", "e-5"]
            with pytest.raises(SubscriptionEnded, match="revoked"):
                await anext(subscription)
            assert client.statistics().connections == 1
    told = [
        vars(record)["code"]
        for record in caplog.records
        if record.message == "fanwire_client.postponed" and record.levelno == logging.WARNING
    ]
    assert told == ["unavailable", "rate_limited", "expired", "unavailable"]


async def test_it_waits_as_long_as_the_server_says(server: ScriptedServer) -> None:
    """And sends pings meanwhile."""
    clock = asyncio.get_running_loop().time
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        asyncio.TaskGroup() as tasks,
    ):

        async def serve() -> None:
            peer = await server.peer()
            await peer.send(connected(interval=0.1))
            refused = await peer.command("subscribe")
            refused_at = clock()
            await peer.send(error("unavailable", A, refused["id"], retry_after_ms=400))
            await peer.command("ping")
            await answered(peer, 1)
            assert clock() - refused_at >= 0.4

        tasks.create_task(serve())
        async with Client(server.url, random=lambda: 0.0) as client:
            await anext(client.subscribe(A))
