"""The client against a real server: subscriptions, refusals, back-pressure, the end."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import aclosing

import pytest
from aiohttp import web

from fanwire_client import (
    Client,
    ClientClosed,
    ConnectionRefused,
    Event,
    Gap,
    InvalidToken,
    Limits,
    Subscription,
    SubscriptionEnded,
    SubscriptionRefused,
)
from fanwire_protocol.codec import Encoding, JsonValue
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, parse_offer
from tests.client.scripted_server import DEADLINE_SECONDS, Peer, ScriptedServer
from tests.client.wire import ORDERS, A, B, connected, error, event, frame, gap, place, subscribed
from tests.kit.wait import eventually

TOKEN = "header.secret-payload.signature"


async def opened(client: Client, server: ScriptedServer) -> Peer:
    """Enter *client* while the server says `connected`, and return the server's end."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.__aenter__())
        peer = await server.peer()
        await peer.send(connected())
    return peer


@pytest.mark.parametrize(
    ("encoding", "speaks", "is_packed"),
    [
        ("json", (JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL), False),
        ("msgpack", (JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL), True),
        # An older server, which knows only one.
        ("msgpack", (JSON_SUBPROTOCOL,), False),
        ("msgpack", (), False),
    ],
)
async def test_a_client_speaks_what_the_server_chose(
    server: ScriptedServer, encoding: Encoding, speaks: tuple[str, ...], is_packed: bool
) -> None:
    """Commands and frames alike; events are equal in both encodings."""
    server.speaks = speaks
    client = Client(server.url, token=TOKEN, encoding=encoding)
    peer = await opened(client, server)
    offered = parse_offer(server.requests[0].headers.getall("Sec-WebSocket-Protocol"))
    payload: JsonValue = {"big": 2**60, "x": "ä"}
    async with aclosing(client.subscribe(A)) as events:
        command = await peer.command("subscribe")
        await peer.send(subscribed([A], reply_to=command["id"]), event(A, "e-1", payload=payload))
        found = await next_of(events)
    await client.__aexit__(None, None, None)

    assert peer.is_packed is is_packed
    wanted = (MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL) if encoding == "msgpack" else (JSON_SUBPROTOCOL,)
    assert (offered.names, offered.token) == (wanted, TOKEN)
    assert isinstance(found, Event)
    assert (found.channel, found.payload) == (A, payload)


def test_an_encoding_that_nobody_speaks_is_refused() -> None:
    """When the client is made, not when it connects."""
    with pytest.raises(ValueError, match="json or msgpack"):
        Client("ws://localhost/ws", encoding="cbor")  # type: ignore[arg-type]


async def test_a_frame_of_the_wrong_kind_is_skipped(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Text where msgpack was agreed on; what comes behind is delivered."""
    client = Client(server.url, token=TOKEN, encoding="msgpack")
    peer = await opened(client, server)
    async with aclosing(client.subscribe(A)) as events:
        command = await peer.command("subscribe")
        await peer.socket.send_str("{}")
        await peer.send(subscribed([A], reply_to=command["id"]), event(A, "e-1"))
        assert isinstance(await next_of(events), Event)
        assert client.statistics().skipped_frames == 1
    await client.__aexit__(None, None, None)


async def welcome(server: ScriptedServer) -> None:
    """Say `connected` to the next connection."""
    peer = await server.peer()
    await peer.send(connected())


async def next_of(subscription: Subscription) -> Event | Gap:
    """Return the next item within a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await anext(subscription)


async def test_event_reaches_its_iterator(server: ScriptedServer) -> None:
    """The example of the protocol: subscribe, get an event with all that its frame says."""
    peer: Peer

    async def serve() -> None:
        nonlocal peer
        peer = await server.peer()
        command = await peer.welcome()
        assert command["channels"] == [ORDERS]
        await peer.send(event(A, "e-1", "orders@" + place(3), {"status": "shipped"}))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        async with Client(server.url, token=TOKEN) as client:
            async for item in client.subscribe(ORDERS):
                expected = Event("order.updated", A, {"status": "shipped"}, 1_772_143_200_000, "e-1")
                assert item == Event(
                    **{name: getattr(expected, name) for name in expected.__slots__[:6]},
                    offset="orders@" + place(3),
                )
                break
    await peer.over()
    assert peer.close_code == 1000
    assert peer.request.headers["Sec-WebSocket-Protocol"] == f"fanwire.v1.json,bearer,{TOKEN}"


async def test_iterators_share_one_connection(server: ScriptedServer) -> None:
    """Each iterator gets its own channels' events, a gap without a channel goes to all."""
    client = Client(server.url)
    peer = await opened(client, server)
    first, second = client.subscribe(A), client.subscribe(B, ORDERS)

    await peer.send(event(A, "e-1"), event(B, "e-2"), gap("orders", 3, 9))
    items = [[await next_of(first) for _ in range(2)], [await next_of(second) for _ in range(3)]]

    hole = Gap("orders", "trimmed", place(3), place(9), None, 250)
    assert [[getattr(item, "event_id", item) for item in part] for part in items] == [
        ["e-1", hole],
        ["e-1", "e-2", hole],
    ]
    assert len(server.requests) == 1
    await client.__aexit__(None, None, None)


async def test_ready_waits_for_the_answer(server: ScriptedServer) -> None:
    """`ready` returns when the server has answered, at once where it had."""
    client = Client(server.url)
    peer = await opened(client, server)
    subscription = client.subscribe(A)
    assert repr(subscription) == f"Subscription('{A}')"
    command = await peer.command("subscribe")

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(subscription.ready())
        await peer.send(event(A, "e-1"))
        await next_of(subscription)
        assert not waiting.done()
        await peer.send(subscribed([A], reply_to=command["id"]))

    await client.subscribe(A).ready()
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize("how", ["break", "aclose", "async with", "aclosing"])
async def test_closed_iterator_unsubscribes(server: ScriptedServer, how: str) -> None:
    """However an iterator is left, its channel is left too and its events stop nobody."""
    client = Client(server.url)
    peer = await opened(client, server)
    await peer.send(event(A, "e-0"))
    subscription = client.subscribe(A)
    await peer.command("subscribe")
    await peer.send(event(A, "e-1"), event(A, "e-2"))
    match how:
        case "break":
            async for _ in subscription:
                break
            del subscription, _
            gc.collect()
        case "aclose":
            await subscription.aclose()
            await subscription.aclose()
        case "async with":
            async with subscription:
                await next_of(subscription)
        case "aclosing":
            async with aclosing(subscription):
                await next_of(subscription)

    assert (await peer.command("unsubscribe"))["channels"] == [A]
    await eventually(lambda: client.statistics().subscriptions == 0)
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (401, '{"error": {"code": "unauthenticated", "message": "m"}}', {}, (401, "unauthenticated", None)),
        (403, '{"error": {"code": "forbidden", "message": "m"}}', {}, (403, "forbidden", None)),
        (403, '{"error": {"code": "forbidden"', {"Retry-After": "soon"}, (403, "unknown", None)),
        (400, "x" * 100_000, {"Retry-After": "7"}, (400, "unknown", 7.0)),
        (404, "", {}, (404, "unknown", None)),
        (200, "<html>", {}, (200, "unknown", None)),
        (302, "", {"Location": "/elsewhere"}, (302, "redirected", None)),
    ],
)
async def test_final_refusal_is_raised_on_entering(
    server: ScriptedServer,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: str,
    headers: dict[str, str],
    expected: tuple[int, str, float | None],
) -> None:
    """What would be refused again is raised with its facts, and without the token."""
    caplog.set_level(logging.DEBUG)
    server.refusals.append(web.Response(status=status, text=body, headers=headers))

    with pytest.raises(ConnectionRefused) as caught:
        async with Client(server.url + "?token=" + TOKEN, token=TOKEN):
            pytest.fail("the client must not open")

    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.retry_after) == expected
    assert refusal.__context__ is None
    assert TOKEN not in f"{refusal} {refusal!r} {caplog.text}"
    assert len(server.requests) == 1


async def test_refused_channel_ends_its_iterator_only(server: ScriptedServer) -> None:
    """An `error` for a channel raises from the iterators that name it; the others go on."""
    client = Client(server.url)
    peer = await opened(client, server)
    refused, again, kept = client.subscribe(A, B), client.subscribe(A), client.subscribe(ORDERS)
    command = await peer.command("subscribe")

    await peer.send(error("forbidden", A, command["id"]), event(B, "e-1"))

    with pytest.raises(SubscriptionRefused) as caught:
        await next_of(refused)
    assert (caught.value.code, caught.value.channel) == ("forbidden", A)
    with pytest.raises(SubscriptionRefused) as other:
        await again.ready()
    assert other.value is not caught.value
    item = await next_of(kept)
    assert isinstance(item, Event)
    assert item.event_id == "e-1"
    await client.__aexit__(None, None, None)


async def test_revoked_subscription_yields_what_came_before(server: ScriptedServer) -> None:
    """Events that arrived before the end are yielded, then the end is raised."""
    client = Client(server.url)
    peer = await opened(client, server)
    subscription = client.subscribe(A)
    await peer.command("subscribe")

    await peer.send(event(A, "e-1"), frame("unsubscribed", {"channels": [A], "reason": "revoked"}))

    await next_of(subscription)
    with pytest.raises(SubscriptionEnded, match="revoked"):
        await next_of(subscription)
    with pytest.raises(SubscriptionEnded):
        await next_of(subscription)
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "limits",
    [Limits(buffer_events=8), Limits(buffer_bytes=64 * 1024)],
    ids=["events", "bytes"],
)
async def test_unread_iterator_stops_the_reading_and_loses_nothing(
    server: ScriptedServer, limits: Limits
) -> None:
    """A full buffer makes the server wait; pings go on; all events come once it is read."""
    count, ping_seconds = 400, 0.05
    client = Client(server.url, limits=limits)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.__aenter__())
        peer = await server.peer()
        await peer.send(connected(interval=ping_seconds, timeout=0.2))
    subscription = client.subscribe(A)
    sent = 0

    async def flood() -> None:
        nonlocal sent
        for number in range(count):
            await peer.send(event(A, f"e-{number}", payload="x" * 64 * 1024))
            sent += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(flood())
        await peer.command("subscribe")
        for _ in range(8):
            await peer.command("ping")
        stalled_at = sent
        await peer.command("ping")
        assert sent == stalled_at < count
        received = [await next_of(subscription) for _ in range(count)]

    assert [getattr(item, "event_id", item) for item in received] == [f"e-{n}" for n in range(count)]
    assert client.statistics().connections == 1
    await client.__aexit__(None, None, None)


async def test_unparsable_frame_is_skipped_and_counted(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no frame is counted and logged without its content; what follows arrives."""
    client = Client(server.url)
    peer = await opened(client, server)
    subscription = client.subscribe(A)

    await peer.socket.send_str('{"type": "order.updated", "payload": "secret"')
    await peer.socket.send_str('{"type": "order.updated", "secret": {}}')
    await peer.socket.send_bytes(b"secret")
    await peer.send(frame("pong", {"positions": {"secret": 1}}), error("rate_limited"), event(A, "e-1"))

    assert isinstance(await next_of(subscription), Event)
    assert client.statistics().skipped_frames == 4
    skipped = [record for record in caplog.records if record.message == "fanwire_client.frame_skipped"]
    assert len(skipped) == 4
    assert "secret" not in str([vars(record) for record in caplog.records])
    await client.__aexit__(None, None, None)


async def test_what_the_server_left_out_is_counted(server: ScriptedServer) -> None:
    """Its pongs tell of events that later ones stand for, where they do."""
    client = Client(server.url)
    peer = await opened(client, server)
    subscription = client.subscribe(A)

    for skipped in ({"skipped": 2}, {}, {"skipped": 3}, {"skipped": "many"}):
        await peer.send(frame("pong", {"positions": {}, **skipped}))
    await peer.send(event(A, "e-1"))

    assert isinstance(await next_of(subscription), Event)
    assert client.statistics().conflated == 5
    await client.__aexit__(None, None, None)


async def test_long_subscription_is_split(server: ScriptedServer) -> None:
    """More channels than one command holds are asked for in several, each within the limit."""
    client = Client(server.url)
    peer = await opened(client, server)
    channels = [f"tenant:acme:resource:orders:{number}" for number in range(300)]

    client.subscribe(*channels)

    asked: list[str] = []
    while len(asked) < len(channels):
        asked += (await peer.command("subscribe"))["channels"]
    assert asked == channels
    await client.__aexit__(None, None, None)


async def test_pings_keep_the_servers_interval(server: ScriptedServer) -> None:
    """A ping is sent in every interval that the server told, a JSON ping is answered."""
    client = Client(server.url)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.__aenter__())
        peer = await server.peer()
        await peer.send(connected(interval=0.05))

    started = asyncio.get_running_loop().time()
    for _ in range(4):
        await peer.command("ping")
    took = asyncio.get_running_loop().time() - started
    await peer.send(frame("ping", {"positions": {}}))

    assert took >= 3 * 0.045
    await peer.command("pong")
    await client.__aexit__(None, None, None)


async def test_error_of_the_users_block_is_not_wrapped(server: ScriptedServer) -> None:
    """An exception inside `async with` comes out as it is."""

    async def use() -> None:
        async with Client(server.url):
            raise LookupError

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(welcome(server))
        with pytest.raises(LookupError):
            await use()


async def test_closing_ends_the_iterators(server: ScriptedServer) -> None:
    """An iterator in another task ends when the client is closed, and `ready` says why."""
    client = Client(server.url)
    await opened(client, server)
    subscription = client.subscribe(A)

    async def iterate() -> list[Event | Gap]:
        return [item async for item in subscription]

    async with asyncio.TaskGroup() as tasks:
        iterating = tasks.create_task(iterate())
        await client.__aexit__(None, None, None)

    assert iterating.result() == []
    with pytest.raises(ClientClosed):
        await subscription.ready()


async def test_client_is_entered_once_at_a_time(server: ScriptedServer) -> None:
    """Outside of its block a client refuses to work; it can be entered again."""
    client = Client(server.url)
    for _ in range(2):
        with pytest.raises(ClientClosed, match="async with"):
            client.subscribe(A)
        with pytest.raises(ClientClosed):
            client.statistics()
        await opened(client, server)
        with pytest.raises(RuntimeError, match="open already"):
            await client.__aenter__()
        await client.__aexit__(None, None, None)


@pytest.mark.parametrize("name", ["", "x" * 256, "ä" * 128])
async def test_name_that_cannot_be_sent_is_refused_at_once(server: ScriptedServer, name: str) -> None:
    """A name of no or too many bytes never reaches the server."""
    client = Client(server.url)
    await opened(client, server)

    with pytest.raises(ValueError, match="255 bytes"):
        client.subscribe(A, name)

    assert client.statistics().subscriptions == 0
    await client.__aexit__(None, None, None)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost/ws", "ws:///ws"])
def test_url_must_be_one(url: str) -> None:
    """A URL that cannot work is refused when the client is made, not tried for ever."""
    with pytest.raises(ValueError, match="ws://host"):
        Client(url)


def test_repr_shows_no_secret() -> None:
    """Neither the token nor anything of the query or the user part is shown."""
    client = Client("wss://me:pw@host/ws?token=t0k3n", token=TOKEN, headers={"X-API-Key": "k3y"})

    assert repr(client) == "Client('wss://host/ws')"
    shown = repr(vars(client))
    assert not [secret for secret in (TOKEN, "t0k3n", "pw", "k3y") if secret in shown]


@pytest.mark.parametrize("token", ["two words", "one,two", "line\r\nfeed", "", "ü"])
async def test_token_that_cannot_be_sent_is_not_shown(server: ScriptedServer, token: str) -> None:
    """A token that would break the header ends the attempt with an error that does not repeat it."""
    with pytest.raises(InvalidToken) as caught:
        await Client(server.url, token=token).__aenter__()

    assert not token or token not in f"{caught.value} {caught.value!r}"
    assert server.requests == []


async def test_failing_token_provider_is_logged_by_its_type(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What the user's callable raises may hold a token, so only its type is said; entering goes through."""

    def broken() -> str:
        raise LookupError(TOKEN)

    async with Client(server.url, token=broken) as client:
        assert not client.statistics().is_connected

    [record] = [vars(record) for record in caplog.records if record.message == "fanwire_client.unreachable"]
    assert record["reason"] == "the token's callable raised LookupError"
    assert TOKEN not in caplog.text
