"""The client when its connection ends: coming back, resuming, and when not to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from fanwire_client import Client, Disconnected, Event, Gap, InvalidToken, Limits, Subscription
from fanwire_client._backoff import Backoff
from fanwire_protocol.frames import encode_frame
from tests.client.scripted_server import DEADLINE_SECONDS, Peer, ScriptedServer
from tests.client.wire import (
    ORDERS,
    A,
    B,
    connected,
    disconnect,
    error,
    event,
    gap,
    offset,
    place,
    places,
    subscribed,
)
from tests.kit.wait import eventually


class Clock:
    """A sleep that takes no time and remembers what was asked."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Give others a turn."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def subscribed_peer(server: ScriptedServer, **numbers: int) -> Peer:
    """Answer the next connection and its subscription to A."""
    peer = await server.peer()
    await peer.send(connected(places(**numbers), jitter_ms=4000))
    command = await peer.command("subscribe")
    recovered = True if "since" in command else None
    answer = subscribed([A], command.get("since"), recovered=recovered, reply_to=command["id"])
    await peer.send(answer)
    return peer


async def accept(server: ScriptedServer) -> None:
    """Say `connected` to the next connection."""
    peer = await server.peer()
    await peer.send(connected())


async def ids(client: Client, count: int) -> list[str]:
    """Return the ids of the first events of A."""
    found: list[str] = []
    async with asyncio.timeout(DEADLINE_SECONDS), client.subscribe(A) as subscription:
        while len(found) < count:
            item = await anext(subscription)
            assert isinstance(item, Event)
            found.append(item.event_id)
    return found


@pytest.mark.parametrize(
    "end",
    [
        lambda peer: peer.close(1012),
        lambda peer: peer.close(1001),
        lambda peer: peer.close(1011),
        lambda peer: peer.close(4001, "token_expired"),
        lambda peer: peer.close(4003),
        lambda peer: peer.close(4008),
        lambda peer: peer.close(4009),
        lambda peer: peer.close(4029),
        lambda peer: peer.close(3000),
        lambda peer: cut(peer),
        lambda peer: finish(peer),
    ],
    ids=["1012", "1001", "1011", "4001", "4003", "4008", "4009", "4029", "3000", "reset", "eof"],
)
async def test_connection_that_may_come_back_resumes(
    server: ScriptedServer, end: Callable[[Peer], Awaitable[None]]
) -> None:
    """The client comes back after the told jitter, resumes from its position, and drops what it had."""
    clock = Clock()

    async def serve() -> None:
        peer = await subscribed_peer(server, orders=1)
        await peer.send(event(A, "e-1", offset("orders", 2)), event(A, "e-2", offset("orders", 3)))
        await end(peer)
        peer = await server.peer()
        assert peer.request.query.getall("client") == ["c-1"]
        await peer.send(connected(places(orders=9)))
        command = await peer.command("subscribe")
        assert command["channels"] == [A]
        assert command["since"]["orders"] in (place(1), place(2), place(3))
        await peer.send(subscribed([A], command["since"], recovered=True, reply_to=command["id"]))
        for number in (1, 2, 3):
            await peer.send(event(A, f"e-{number}", offset("orders", number + 1)))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, random=lambda: 0.5, sleep=clock.sleep) as client:
            assert await ids(client, 3) == ["e-1", "e-2", "e-3"]
            assert client.statistics().connections == 2
    assert clock.slept == [2.0]


async def cut(peer: Peer) -> None:
    """Reset the TCP connection."""
    peer.cut()


async def finish(peer: Peer) -> None:
    """End the TCP connection in order, but without a close frame."""
    transport = peer.request.transport
    assert transport is not None
    transport.close()


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1009, 4501, 4502, 4503, 4504, 4505, 4506, 4999])
async def test_terminal_code_ends_every_iterator(server: ScriptedServer, code: int) -> None:
    """A code that means stop is raised from the iterators, old and new, after what had arrived."""

    async def serve() -> None:
        peer = await subscribed_peer(server)
        await peer.send(event(A, "e-1"))
        await peer.close(code, "why")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url) as client:
            subscription = client.subscribe(A)
            await anext(subscription)
            for _ in range(2):
                with pytest.raises(Disconnected) as caught:
                    await anext(subscription)
                assert (caught.value.code, caught.value.reason) == (code, "why")
                subscription = client.subscribe(A)
    assert len(server.requests) == 1


async def test_disconnect_frame_wins_over_the_code(server: ScriptedServer) -> None:
    """`reconnect` of the frame decides, and its times are obeyed."""
    clock = Clock()

    async def serve() -> None:
        peer = await subscribed_peer(server)
        told = disconnect(1012, reconnect=True, retry_after_ms=3000, jitter_ms=20_000)
        await peer.send(told)
        await peer.close(4504)
        peer = await subscribed_peer(server)
        await peer.send(disconnect(4503, reconnect=False, reason="permission_revoked"))
        await peer.close(1012)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, random=lambda: 0.5, sleep=clock.sleep) as client:
            with pytest.raises(Disconnected, match="4503: permission_revoked"):
                await anext(client.subscribe(A))
    assert clock.slept == [13.0]


async def test_gap_of_a_resume_is_yielded(server: ScriptedServer) -> None:
    """A server that cannot resume says so, and the iterator yields the gap before anything later."""
    clock = Clock()

    async def serve() -> None:
        peer = await subscribed_peer(server, orders=3)
        await peer.close(1012)
        peer = await server.peer()
        await peer.send(connected(places(orders=9)))
        command = await peer.command("subscribe")
        answer = subscribed([A], places(orders=9), recovered=False, reply_to=command["id"])
        await peer.send(answer, gap("orders", 3, 9), event(A, "e-10", offset("orders", 10)))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, sleep=clock.sleep) as client:
            subscription = client.subscribe(A)
            assert await anext(subscription) == Gap("orders", "trimmed", place(3), place(9), None, 250)
            assert isinstance(await anext(subscription), Event)


@pytest.mark.parametrize(
    ("status", "headers", "waits"),
    [
        (503, {"Retry-After": "7"}, [7.25, 7.5, 8.0]),
        (429, {"Retry-After": "2"}, [2.25, 2.5, 3.0]),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, [0.25, 0.5, 1.0]),
        (500, {}, [0.25, 0.5, 1.0]),
    ],
)
async def test_transient_refusal_is_tried_again(
    server: ScriptedServer, status: int, headers: dict[str, str], waits: list[float]
) -> None:
    """The client waits what Retry-After says, and its jittered backoff on top."""
    clock = Clock()
    body = '{"error": {"code": "overloaded", "message": "m"}}'
    server.refusals.extend(web.Response(status=status, text=body, headers=headers) for _ in waits)

    async def serve() -> None:
        peer = await subscribed_peer(server)
        await peer.send(event(A, "e-1"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, random=lambda: 0.5, sleep=clock.sleep) as client:
            assert await ids(client, 1) == ["e-1"]
    assert clock.slept == waits


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, LookupError, InvalidToken])
async def test_token_is_asked_for_before_every_attempt(
    server: ScriptedServer, error: type[Exception]
) -> None:
    """A callable, plain or async, gives each connection its own token; one that fails is asked again."""
    clock = Clock()
    tokens = iter(["first", None, "second"])

    async def fetch() -> str:
        token = next(tokens)
        if token is None:
            raise error
        return token

    async def serve() -> None:
        for expected in ("first", "second"):
            peer = await subscribed_peer(server)
            assert peer.request.headers["Sec-WebSocket-Protocol"].endswith(f"bearer,{expected}")
            await peer.send(event(A, expected))
            await peer.close(4001)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, token=fetch, sleep=clock.sleep) as client:
            assert await ids(client, 2) == ["first", "second"]


async def test_waiting_for_a_token_can_be_cancelled(server: ScriptedServer) -> None:
    """Cancelling reaches the callable and is no failure of it: nothing is tried again."""
    clock = Clock()

    async def hang() -> str:
        await asyncio.Event().wait()
        return "never"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), Client(server.url, token=hang, sleep=clock.sleep):
            pass
    assert clock.slept == []


async def test_refusal_after_a_connection_reaches_the_iterators(server: ScriptedServer) -> None:
    """A token that is no longer accepted ends the iterators with the refusal."""
    clock = Clock()

    async def serve() -> None:
        peer = await subscribed_peer(server)
        body = '{"error": {"code": "unauthenticated", "message": "expired"}}'
        server.refusals.append(web.Response(status=401, text=body))
        await peer.close(4001)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, sleep=clock.sleep) as client:
            with pytest.raises(Exception, match="401 unauthenticated: expired"):
                await anext(client.subscribe(A))


async def test_server_that_is_not_there_is_tried_again() -> None:
    """Entering goes through after the first attempt, and the client goes on in the background."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        clock = Clock()
        async with Client(f"ws://127.0.0.1:{port}/ws", random=lambda: 1.0, sleep=clock.sleep) as client:
            assert not client.statistics().is_connected
    assert clock.slept[:1] == [0.5]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "no answer within 0.05 s"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "the answer is no WebSocket handshake: Invalid challenge response",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "ClientResponseError"),
    ],
    ids=["nothing", "wrong challenge", "not HTTP"],
)
async def test_server_of_another_kind_is_tried_again(
    caplog: pytest.LogCaptureFixture, answer: bytes, reason: str
) -> None:
    """What is no answer of ours is logged with its reason, without the token, and tried again."""
    token = "header.secret-payload.signature"

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()
        writer.close()

    clock = Clock()
    limits = Limits(connect_seconds=0.05)
    async with await asyncio.start_server(reply, "127.0.0.1", 0) as running:
        port = running.sockets[0].getsockname()[1]
        client = Client(f"ws://127.0.0.1:{port}/ws", token=token, limits=limits, sleep=clock.sleep)
        async with client:
            assert clock.slept
    failed = [vars(record) for record in caplog.records if record.message == "fanwire_client.unreachable"]
    assert {record["reason"] for record in failed} == {reason}
    assert token not in str(failed)


async def test_subscription_made_on_a_dead_connection_is_asked_for_on_the_next(
    server: ScriptedServer,
) -> None:
    """While an unread iterator holds the reading up, a command meets a dead socket; it is not lost."""
    clock = Clock()
    kept: list[Subscription] = []

    async def serve(client: Client) -> Subscription:
        peer = server.accepted[0]
        command = await peer.command("subscribe")
        await peer.send(subscribed([A], places(orders=1), reply_to=command["id"]))
        await peer.send(event(A, "e-1", offset("orders", 2)))
        await eventually(lambda: client.statistics().buffered_events == 1)
        peer.cut()
        await peer.over()
        kept.append(client.subscribe(B))
        return client.subscribe(ORDERS)

    async def serve_again() -> list[str]:
        peer = await server.peer()
        await peer.send(connected(places(orders=9)))
        commands = [await peer.command("subscribe") for _ in range(2)]
        assert [command.get("since") for command in commands] == [places(orders=2), None]
        return [name for command in commands for name in command["channels"]]

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(accept(server))
        async with Client(server.url, limits=Limits(buffer_events=1), sleep=clock.sleep) as client:
            kept.append(client.subscribe(A))
            kept.append(await serve(client))
            await anext(kept[0])
            assert await serve_again() == [A, B, ORDERS]


async def test_deaf_server_does_not_hold_the_client_up(server: ScriptedServer) -> None:
    """A server that never answers the close frame is left after the limit for it."""
    server.is_deaf = True

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(accept(server))
        async with Client(server.url, limits=Limits(buffer_events=1, close_seconds=0.05)) as client:
            unread = client.subscribe()
            await server.accepted[0].send(event(None, "e-1"))
            await eventually(lambda: client.statistics().buffered_events == 1)
            closing_at = asyncio.get_running_loop().time()

    assert 0.05 <= asyncio.get_running_loop().time() - closing_at < 1
    assert isinstance(await anext(unread), Event)


@pytest.mark.parametrize("limits", [Limits(connect_seconds=0.05)])
@pytest.mark.parametrize("is_welcomed", [False, True], ids=["no connected", "silence"])
async def test_silent_server_is_left(server: ScriptedServer, limits: Limits, is_welcomed: bool) -> None:
    """A server that says nothing for longer than it promised counts as lost."""
    clock = Clock()

    async def serve() -> None:
        silent = await server.peer()
        if is_welcomed:
            await silent.send(connected(timeout=0.05))
        peer = await subscribed_peer(server)
        await peer.send(event(A, "e-1"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, limits=limits, sleep=clock.sleep) as client:
            assert await ids(client, 1) == ["e-1"]
    assert len(clock.slept) == 1


async def test_frame_that_is_too_long_is_not_fetched_again_and_again(server: ScriptedServer) -> None:
    """A frame over the limit would come with every resume, so it ends the client."""

    async def serve() -> None:
        peer = await subscribed_peer(server)
        await peer.socket.send_str(encode_frame(event(A, "e-1", payload="x" * 2000)).decode())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, limits=Limits(frame_bytes=1000)) as client:
            with pytest.raises(Disconnected, match="1009"):
                await anext(client.subscribe(A))


async def test_complaint_of_the_server_changes_nothing(server: ScriptedServer) -> None:
    """An error that concerns no subscription is logged, and the connection stays."""

    async def serve() -> None:
        peer = await subscribed_peer(server)
        await peer.send(error("rate_limited"), event(A, "e-1"))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url) as client:
            assert await ids(client, 1) == ["e-1"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 0], [0.5, 1, 2, 4, 8, 16, 30, 30]),
        ([4, 0, 0, 0, 0], [4, 4, 4, 4, 8]),
        ([60, 0], [60, 60]),
    ],
)
def test_window_doubles_up_to_its_bound(told: list[float], expected: list[float]) -> None:
    """Without success the window doubles to 30 s, and is never narrower than what the server told."""
    backoff = Backoff()

    assert [backoff.next_delay(1.0, 0.0, window) for window in told] == expected

    backoff.succeed()
    assert backoff.next_delay(0.5, 2.0) == 2.25


def test_backoff_stays_bounded_for_ever() -> None:
    """A thousand failures later the wait is what it was."""
    backoff = Backoff()

    assert max(backoff.next_delay(1.0) for _ in range(1000)) == 30
