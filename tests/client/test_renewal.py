"""The client whose token ends: a fresh one in time, and what happens where there is none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from fanwire_client import Client, Event
from fanwire_protocol.frames import Frame, format_time
from tests.client.scripted_server import DEADLINE_SECONDS, Peer, ScriptedServer
from tests.client.test_reconnect import Clock
from tests.client.wire import A, connected, error, event, frame, subscribed
from tests.kit.wait import eventually

ROLE = "tenant:acme:role:clerk"


def expiring(seconds: float) -> Frame:
    """Return `token_expiring`, so many seconds ahead by the server's clock, which is nobody else's."""
    told = frame("token_expiring", {})
    return replace(told, payload={"expiresAt": format_time(told.time + round(seconds * 1000))})


def provider(*tokens: str | Exception) -> Callable[[], str]:
    """Return a function that gives one of *tokens* after the other, the last one for ever."""
    left: Iterator[str | Exception] = iter(tokens)
    last: list[str | Exception] = [tokens[0]]

    def fetch() -> str:
        last[0] = next(left, last[0])
        if isinstance(last[0], Exception):
            raise last[0]
        return last[0]

    return fetch


async def shown(peer: Peer) -> dict[str, object]:
    """Return the next `authenticate`."""
    return await peer.command("authenticate")


def taken(command: dict[str, object], *channels: str) -> Frame:
    """Return the answer to a good token."""
    number = command["id"]
    assert isinstance(number, int)
    return replace(connected(channels=channels), type="authenticated", reply_to=number)


async def test_a_fresh_token_is_shown_before_the_old_one_ends(server: ScriptedServer) -> None:
    """On the same connection, after a random part of the time; a new role's events come from then on."""
    clock = Clock()
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:

        async def serve() -> None:
            peer = await server.peer()
            await peer.send(connected())
            for fresh in ("second", "third"):
                await peer.send(expiring(60))
                command = await shown(peer)
                assert command["token"] == fresh
                await peer.send(taken(command, ROLE), event(ROLE, fresh))

        tasks.create_task(serve())
        tokens = provider("first", "second", "third")
        async with Client(server.url, token=tokens, sleep=clock.sleep, random=lambda: 0.5) as client:
            subscription = client.subscribe()
            items = [await anext(subscription), await anext(subscription)]

            assert [item.event_id for item in items if isinstance(item, Event)] == ["second", "third"]
            assert client.statistics().connections == 1
    assert clock.slept == pytest.approx([2.5, 2.5], abs=0.1)


async def test_where_there_is_none_it_tries_again_while_there_is_time(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that fails or gives the old one, a server that cannot tell or says no: none of it ends the
    connection, and no token is logged."""
    clock = Clock()
    long = "x" * 4080
    tokens = provider(
        "first", ValueError("canary"), "first", long, "bad", "away", "good", "good", "a,b", "last"
    )
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:

        async def serve() -> None:
            peer = await server.peer()
            await peer.send(connected(), expiring(60))
            for token, code in (("bad", "unauthenticated"), ("away", "unavailable")):
                command = await shown(peer)
                assert command["token"] == token
                assert isinstance(command["id"], int)
                await peer.send(error(code, reply_to=command["id"]))
            await peer.send(taken(await shown(peer)), expiring(30))
            command = await shown(peer)
            assert command["token"] == "last"
            await peer.send(taken(command, ROLE), event(ROLE, "e-1"))

        with caplog.at_level(logging.DEBUG):
            tasks.create_task(serve())
            async with Client(server.url, token=tokens, sleep=clock.sleep, random=lambda: 1.0) as client:
                await anext(client.subscribe())
                assert client.statistics().connections == 1
    assert clock.slept == pytest.approx([5, 1, 2, 4, 8, 10, 2.5, 1, 2], abs=0.1)
    assert [record.message for record in caplog.records].count("fanwire_client.renewal_failed") == 7
    assert not {"canary", "first", "bad", "away", "good", "last"} & {
        word for record in caplog.records for word in str(vars(record)).replace("'", " ").split()
    }


async def test_a_token_that_could_not_be_renewed_is_asked_for_at_the_next_connection(
    server: ScriptedServer,
) -> None:
    """After 4001, from where the connection stood."""
    clock = Clock()
    tokens = provider("first", "first", "second")
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:

        async def serve() -> None:
            peer = await server.peer()
            await peer.welcome()
            await peer.send(expiring(0.1))
            await eventually(lambda: clock.slept)
            await peer.close(4001)
            peer = await server.peer()
            assert peer.request.headers["Sec-WebSocket-Protocol"].endswith("bearer,second")
            await peer.send(connected())
            command = await peer.command("subscribe")
            assert "since" in command
            await peer.send(subscribed([A], recovered=True, reply_to=command["id"]), event(A, "e-1"))

        tasks.create_task(serve())
        async with Client(server.url, token=tokens, sleep=clock.sleep, random=lambda: 0.9) as client:
            item = await anext(client.subscribe(A))
            assert isinstance(item, Event)
            assert client.statistics().connections == 2


@pytest.mark.parametrize("token", ["fixed", None])
async def test_who_has_no_other_token_shows_none(server: ScriptedServer, token: str | None) -> None:
    """A plain string does not become fresh; the connection goes on until the server ends it."""
    clock = Clock()
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:

        async def serve() -> None:
            peer = await server.peer()
            await peer.send(connected(channels=[ROLE], interval=0.05), expiring(60))
            for _ in range(2):
                await peer.command("ping")
            await peer.send(event(ROLE, "e-1"))

        tasks.create_task(serve())
        async with Client(server.url, token=token, sleep=clock.sleep) as client:
            await anext(client.subscribe())
    assert clock.slept == []
