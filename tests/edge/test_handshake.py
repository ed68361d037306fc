"""Opening a connection: credentials, the echo, and every refusal (PROTOCOL §2)."""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.edge.running import RunningEdge
from tests.edge.wire import Wire, frame_bytes, upgrade_request
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

PROTOCOL = "Sec-WebSocket-Protocol: "
# What a client may send, with `T` for its token, and which value is echoed.
ACCEPTED = [
    ("bearer and token", [f"{PROTOCOL}bearer, T"], "bearer"),
    ("no blanks", [f"{PROTOCOL}bearer,T"], "bearer"),
    ("another case", [f"{PROTOCOL}Bearer, T"], "Bearer"),
    ("ours and bearer", [f"{PROTOCOL}fanwire.v1.json, bearer, T"], "fanwire.v1.json"),
    ("bearer and ours", [f"{PROTOCOL}bearer, T, fanwire.v1.json"], "fanwire.v1.json"),
    ("both, JSON first", [f"{PROTOCOL}fanwire.v1.json, fanwire.v1.msgpack, bearer, T"], "fanwire.v1.json"),
    ("two lines", [f"{PROTOCOL}fanwire.v1.json", f"{PROTOCOL}bearer, T"], "fanwire.v1.json"),
    ("cut between lines", [f"{PROTOCOL}bearer", f"{PROTOCOL}T"], "bearer"),
    ("bearer without a token first", [f"{PROTOCOL}bearer, fanwire.v1.json, bearer, T"], "fanwire.v1.json"),
    ("a header", ["Authorization: Bearer T"], None),
    ("a header in small letters", ["authorization: bearer T"], None),
    ("a header, ours offered", ["Authorization: Bearer T", f"{PROTOCOL}fanwire.v1.json"], "fanwire.v1.json"),
    ("a header, a stray bearer", ["Authorization: Bearer T", f"{PROTOCOL}bearer"], "bearer"),
    ("a header, others offered", ["Authorization: Bearer T", f"{PROTOCOL}graphql-ws"], None),
    ("the first source decides", [f"{PROTOCOL}bearer, T", "Authorization: Bearer wrong"], "bearer"),
]
NOT_SIGNED = {"secret": "another-secret-that-is-long-enough-to-sign"}
REFUSED_TOKENS: list[tuple[str, dict[str, Any]]] = [
    ("another key's", NOT_SIGNED),
    ("expired", {"exp": int(time.time()) - 1}),
    ("without exp", {"exp": None}),
    ("exp too far ahead", {"exp": int(time.time()) + 90_000}),
    ("exp as text", {"exp": str(int(time.time()) + 100)}),
    ("without sub", {"sub": None}),
    ("without a tenant", {"tenant": None}),
    ("tenant that is no segment", {"tenant": "a:b"}),
    ("user that is no segment", {"sub": "a b"}),
    ("not valid yet", {"nbf": int(time.time()) + 1000}),
]
WITHOUT_CREDENTIAL = [
    ("nothing", []),
    ("ours only", [f"{PROTOCOL}fanwire.v1.json"]),
    ("bearer followed by ours", [f"{PROTOCOL}bearer, fanwire.v1.json"]),
    ("bearer last", [f"{PROTOCOL}fanwire.v1.json, bearer"]),
    ("another scheme", ["Authorization: Basic dTpw"]),
    ("no token in the header", ["Authorization: Bearer"]),
    ("in the query, which is off", []),
]


def ids(rows: list[Any]) -> list[str]:
    """Return the first column."""
    return [str(row[0]) for row in rows]


def filled(lines: list[str], token: str) -> list[str]:
    """Return *lines* with the token in its place."""
    return [re.sub(r"\bT\b", token, line) for line in lines]


@pytest.mark.parametrize(("_", "lines", "echo"), ACCEPTED, ids=ids(ACCEPTED))
async def test_a_token_opens_the_connection_and_exactly_one_value_is_echoed(
    edge: RunningEdge, tenant: str, _: str, lines: list[str], echo: str | None
) -> None:
    """The `fanwire.*` value, else `bearer` as it was spelt, else none; never the token."""
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(*filled(lines, edge.token(tenant))))

        assert answer.status == 101
        assert answer.headers.get("sec-websocket-protocol") == echo
        assert (await wire.message("connected"))["payload"]["tenant"] == tenant


@pytest.mark.parametrize(("_", "claims"), REFUSED_TOKENS, ids=ids(REFUSED_TOKENS))
@pytest.mark.parametrize("source", [f"{PROTOCOL}fanwire.v1.json, bearer, ", "Authorization: Bearer "])
async def test_a_token_that_identifies_nobody_is_401(
    edge: RunningEdge, _: str, claims: dict[str, Any], source: str
) -> None:
    """The answer says so in JSON and in `WWW-Authenticate`, and repeats nothing of the token."""
    token = make_token(**claims)
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(source + token))

        assert answer.status == 401
        assert answer.error["code"] == "unauthenticated"
        assert answer.error["message"]
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert "sec-websocket-protocol" not in answer.headers
        assert token.encode() not in answer.body
        assert await wire.rest() == b"", "a refused connection is closed"


@pytest.mark.parametrize(("_", "lines"), WITHOUT_CREDENTIAL, ids=ids(WITHOUT_CREDENTIAL))
async def test_without_a_credential_it_is_401(edge: RunningEdge, _: str, lines: list[str]) -> None:
    """Nothing counts as a credential but what a configured source carries."""
    path = f"/ws?token={edge.token()}" if "query" in _ else "/ws"
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(*lines, path=path))

        assert (answer.status, answer.error["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "lines",
    [
        [f"{PROTOCOL}bearer, wrong", "Authorization: Bearer T"],
        [f"{PROTOCOL}bearer, wrong, bearer, T"],
        [f"{PROTOCOL}fanwire.v1.json, bearer, wrong", f"{PROTOCOL}bearer, T"],
    ],
)
async def test_the_first_credential_decides_even_where_a_later_one_is_good(
    edge: RunningEdge, lines: list[str]
) -> None:
    """A bad token in the first source is not made good by the next."""
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(*filled(lines, edge.token())))

        assert answer.status == 401


async def test_the_order_of_the_sources_is_configured(brisk_edge: RunningEdge) -> None:
    """With `authorization` first, a bad token there is not made good by a good subprotocol."""
    good = f"{PROTOCOL}bearer, {brisk_edge.token()}"
    async with await brisk_edge.dial() as wire:
        assert (await wire.ask(upgrade_request(good, "Authorization: Bearer wrong"))).status == 401
    async with await brisk_edge.dial() as wire:
        assert (await wire.ask(upgrade_request(good))).status == 101


async def test_a_token_without_a_tenant_gets_the_default_one(brisk_edge: RunningEdge) -> None:
    """`auth.default_tenant` stands in."""
    async with await brisk_edge.dial() as wire:
        await wire.open(f"Authorization: Bearer {brisk_edge.token(None)}")

        assert wire.greeting["tenant"] == "lonely"


async def test_versions_that_are_not_spoken_are_refused(edge: RunningEdge) -> None:
    """The answer names what is spoken."""
    async with await edge.dial() as wire:
        offer = f"{PROTOCOL}fanwire.v2.json, bearer, {edge.token()}"
        answer = await wire.ask(upgrade_request(offer))

        assert (answer.status, answer.error["code"]) == (400, "bad_request")
        assert "fanwire.v1.json and fanwire.v1.msgpack" in answer.error["message"]


BAD_UPGRADES: list[tuple[str, dict[str, str], tuple[str, ...], bytes]] = [
    ("POST", {"method": "POST"}, (), b""),
    ("version 8", {"version": "8"}, (), b""),
    ("no version", {"version": ""}, (), b""),
    ("short key", {"key": base64.b64encode(b"short").decode()}, (), b""),
    ("no key", {"key": ""}, (), b""),
    ("key that is no base64", {"key": "!" * 24}, (), b""),
    ("HTTP/1.0", {"http": "1.0"}, (), b""),
    ("with a body", {}, ("Content-Length: 3",), b"abc"),
    ("with a chunked body", {}, ("Transfer-Encoding: chunked",), b"3\r\nabc\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize(("_", "how", "lines", "body"), BAD_UPGRADES, ids=ids(BAD_UPGRADES))
async def test_what_is_not_a_valid_upgrade_is_400(
    edge: RunningEdge, _: str, how: dict[str, str], lines: tuple[str, ...], body: bytes
) -> None:
    """RFC 6455 section 4.2.1 decides, also for one with a good token; then the connection is closed."""
    request = upgrade_request(f"Authorization: Bearer {edge.token()}", *lines, **how)
    async with await edge.dial() as wire:
        answer = await wire.ask(request + body)

        assert (answer.status, answer.error["code"]) == (400, "bad_request")
        assert ("sec-websocket-version" in answer.headers) == ("version" in how)
        assert await wire.rest() == b""


async def test_connection_may_name_upgrade_among_others_and_in_a_second_line(edge: RunningEdge) -> None:
    """A list header means the same in one line and in several (RFC 9110 section 5.3)."""
    token = f"Authorization: Bearer {edge.token()}"
    for connection in ("keep-alive, Upgrade", "keep-alive\r\nConnection: upgrade"):
        request = upgrade_request(token).replace(b"Connection: Upgrade", f"Connection: {connection}".encode())
        async with await edge.dial() as wire:
            assert (await wire.ask(request)).status == 101


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_plain_request_is_told_to_upgrade(edge: RunningEdge, method: str) -> None:
    """426 with the headers that RFC 9110 asks for, and closed."""
    async with await edge.dial() as wire:
        wire.writer.write(f"{method} /ws HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        raw = (await wire.rest()).decode()

    head, _, body = raw.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 426 ")
    assert {"Upgrade: websocket", "Sec-WebSocket-Version: 13", "Connection: close"} <= set(head.split("\r\n"))
    if method != "HEAD":
        assert body == '{"error": {"code": "upgrade_required", "message": "WebSocket upgrade required"}}'


async def test_a_plain_get_can_be_400(brisk_edge: RunningEdge) -> None:
    """`edge.plain_get_status` is for load balancers that do not know 426."""
    async with await brisk_edge.dial() as wire:
        answer = await wire.ask(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")

        assert (answer.status, answer.error["code"]) == (400, "upgrade_required")


@pytest.mark.parametrize(
    "lines",
    [
        lambda token: [f"Authorization: Bearer {token}", "X-Long: " + "x" * 8_200],
        lambda token: [f"Authorization: Bearer {token}{'x' * 8_200}"],
        lambda token: [f"{PROTOCOL}bearer, \x01{token}"],
        lambda token: [f"Authorization : Bearer {token}"],
    ],
    ids=["too long a header", "too long a token", "control character", "blank before the colon"],
)
async def test_broken_http_is_400_and_writes_no_token_down(
    edge: RunningEdge, lines: Callable[[str], list[str]]
) -> None:
    """The kit remembers every token that it makes, and looks for it in the output at the end."""
    async with await edge.dial() as wire:
        wire.writer.write(upgrade_request(*lines(edge.token())))

        assert (await wire.rest()).split(b" ")[1] == b"400"


@pytest.mark.parametrize(
    "part", [b"", b"GET /ws HT", upgrade_request()[:-2]], ids=["nothing", "half a line", "no end"]
)
async def test_headers_that_never_end_are_cut_off(brisk_edge: RunningEdge, part: bytes) -> None:
    """After `edge.upgrade_seconds` (here 1) the socket is closed, however little was sent."""
    async with await brisk_edge.dial() as wire:
        began = time.monotonic()
        wire.writer.write(part)

        assert await wire.rest() == b""
        assert 0.8 <= time.monotonic() - began < 4


async def test_headers_that_trickle_are_cut_off_too(brisk_edge: RunningEdge) -> None:
    """Each byte is no new second."""
    async with await brisk_edge.dial() as wire:
        began = time.monotonic()

        async def is_cut() -> bool:
            wire.writer.write(b"x")
            return wire.reader.at_eof() or wire.writer.transport.is_closing()

        wire.writer.write(b"GET /ws HTTP/1.1\r\nHost: ")
        await eventually(is_cut)
        assert time.monotonic() - began < 4


async def test_above_max_connections_it_is_503_until_one_leaves(brisk_edge: RunningEdge) -> None:
    """The answer says when to come back; a place that is given up can be taken."""

    async def is_empty() -> bool:
        return await brisk_edge.metric("connections_active") == 0

    await eventually(is_empty)
    token = f"Authorization: Bearer {brisk_edge.token()}"
    wires = [await brisk_edge.dial() for _ in range(5)]
    try:
        for wire in wires[:4]:
            await wire.open(token)
        answer = await wires[4].ask(upgrade_request(token))

        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1

        wires[0].writer.transport.abort()

        async def has_room() -> bool:
            async with await brisk_edge.dial() as wire:
                return (await wire.ask(upgrade_request(token))).status == 101

        await eventually(has_room)
    finally:
        for wire in wires:
            await wire.__aexit__()


async def test_connected_says_everything(edge: RunningEdge, tenant: str) -> None:
    """Who one is, what one is on and where delivery begins, in the envelope of PROTOCOL §3."""
    edge.add_event("orders", tenant)
    async with edge.publisher() as publisher:
        begin = await publisher.publish("greetings", "hello", tenant=tenant, resource=("orders", "1"))
    async with edge.client(tenant, sub="u-7", roles=["admin", "no role", "ops"]) as first:
        # The topic is known by its name before it is read; delivery would begin at its start then.
        await eventually(lambda: _has_read(first, "greetings", str(begin)), 15)
    async with await edge.dial() as wire:
        token = edge.token(tenant, sub="u-7", roles=["admin", "no role", "ops"])
        assert (await wire.ask(upgrade_request(f"Authorization: Bearer {token}"))).status == 101
        frame = await wire.message("connected")

    assert set(frame) == {"type", "timestamp", "eventId", "encoding", "payload"}
    assert frame["encoding"] == "json"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", frame["timestamp"])
    assert abs(datetime.fromisoformat(frame["timestamp"]).timestamp() - time.time()) < 10
    assert uuid.UUID(frame["eventId"]).version == 7
    payload = frame["payload"]
    client_id = payload["clientId"]
    assert str(uuid.UUID(client_id)) == client_id
    positions = payload.pop("positions")
    assert payload == {
        "clientId": client_id,
        "user": "u-7",
        "tenant": tenant,
        "authenticated": True,
        "channels": [
            f"tenant:{tenant}:user:u-7",
            f"tenant:{tenant}:role:admin",
            f"tenant:{tenant}:role:ops",
            f"tenant:{tenant}:connection:{client_id}",
            f"tenant:{tenant}:all",
            "system:all",
        ],
        "recovered": None,
        "heartbeat": {"intervalSeconds": 30, "timeoutSeconds": 60},
        "reconnect": {"jitterMs": 5000},
    }
    assert {"direct", "system", "channels", "greetings"} <= set(positions)
    assert "_control" not in positions
    assert positions["greetings"] == str(begin)
    assert all(re.fullmatch(r"\d+-\d+~[0-9a-f]{8}", text) for text in positions.values())


async def _has_read(wire: Wire, topic: str, position: str) -> bool:
    return (await wire.positions()).get(topic) == position


async def test_commands_that_come_with_the_handshake_are_not_lost(edge: RunningEdge, tenant: str) -> None:
    """A client may write before it has the answer; the greeting still comes first."""
    async with await edge.dial() as wire:
        ping = frame_bytes('{"type":"ping","id":1}')
        wire.writer.write(upgrade_request(f"Authorization: Bearer {edge.token(tenant)}") + ping)
        assert (await wire.http_answer()).status == 101

        assert [(each["type"], each.get("replyTo")) for each in await wire.messages(2)] == [
            ("connected", None),
            ("pong", 1),
        ]


@pytest.mark.parametrize("kibibytes", [60, 200, 1000])
async def test_however_much_comes_behind_the_handshake_reading_goes_on(
    lavish_edge: RunningEdge, tenant: str, kibibytes: int
) -> None:
    """aiohttp stops reading at 256 KB of it, and would never begin again."""
    async with await lavish_edge.dial() as wire:
        pong = frame_bytes(b'{"type":"pong","filler":"%b"}' % (b"x" * 1000))
        request = upgrade_request(f"Authorization: Bearer {lavish_edge.token(tenant)}")
        wire.writer.write(request + pong * kibibytes + frame_bytes('{"type":"ping","id":"last"}'))
        assert (await wire.http_answer()).status == 101

        await wire.message("connected")
        assert (await wire.message("pong"))["replyTo"] == "last"
        await wire.silence()


async def test_the_clients_of_others_get_along_with_the_edge(edge: RunningEdge, tenant: str) -> None:
    """`websockets` and aiohttp's client connect, speak and close as they do by default."""
    url = f"ws://127.0.0.1:{edge.port}/ws"
    token = edge.token(tenant)
    async with connect(url, subprotocols=["fanwire.v1.json", "bearer", token]) as other:  # type: ignore[list-item]
        assert other.subprotocol == "fanwire.v1.json"
        assert '"connected"' in str(await other.recv())
        await (await other.ping())
    assert other.close_code == 1000

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers={"Authorization": f"Bearer {token}"}) as another,
    ):
        assert (await another.receive_json())["type"] == "connected"
        await another.ping()
        await another.send_json({"type": "ping", "id": 1})
        assert (await another.receive_json())["replyTo"] == 1
        assert await another.close()
        assert another.close_code == 1000


async def test_who_leaves_during_the_handshake_leaves_nothing_behind(edge: RunningEdge, tenant: str) -> None:
    """No connection, and no line in the log that looks like a fault of ours."""
    request = upgrade_request(f"Authorization: Bearer {edge.token(tenant)}")
    for _ in range(50):
        async with await edge.dial() as wire:
            wire.writer.write(request)

    async def is_empty() -> bool:
        return await edge.metric("connections_active") == 0

    await eventually(is_empty)
    assert "ERROR" not in edge.process.output
