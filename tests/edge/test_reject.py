"""Refusals that a browser can read: a `disconnect` frame and a close code after the upgrade (PROTOCOL §2)."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import CLOSE, Closing, Wire, upgrade_request
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

BAD = "Authorization: Bearer wrong"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closing_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge that tells refusals by close codes, and has a limit for each user."""
    async with running_edge(
        SharedRedis(session_redis, "reject"),
        AUTH__REJECT="close",
        AUTH__JWT__AUDIENCE="fanwire",
        LIMITS__CONNECTIONS_PER_USER="1",
        ORIGINS__ALLOWED='["https://app.example.com"]',
    ) as running:
        yield running


async def turned_away(wire: Wire, *lines: str, path: str = "/ws") -> Closing:
    """Ask to come in, and return how that ended after the upgrade."""
    answer = await wire.ask(upgrade_request(*lines, path=path))
    assert answer.status == 101, answer
    closing = await wire.closing()
    await wire.answer_close(closing.code)
    return closing


def bearer(edge: RunningEdge, tenant: str, **claims: str) -> str:
    """Return the header of a user of the edge above."""
    return f"Authorization: Bearer {edge.token(tenant, aud='fanwire', **claims)}"


@pytest.mark.parametrize("lines", [[BAD], []], ids=["bad", "none"])
async def test_a_bad_credential_is_4501_and_nothing_is_joined(
    closing_edge: RunningEdge, lines: list[str]
) -> None:
    """One `disconnect` frame, the CLOSE, the end of the socket; it says not to come back."""
    before = await closing_edge.metric("handshakes_total", result="unauthenticated")
    async with await closing_edge.dial() as wire:
        closing = await turned_away(wire, *lines)

    assert (closing.code, len(closing.messages)) == (4501, 1)
    assert closing.farewell["code"] == 4501
    assert closing.farewell["reason"] == closing.reason
    assert closing.farewell["reconnect"] is False
    assert await closing_edge.metric("handshakes_total", result="unauthenticated") == before + 1
    assert await closing_edge.metric("subscriptions") == 0


async def test_a_client_may_ask_for_it(edge: RunningEdge) -> None:
    """With `?reject=close`, where the edge answers over HTTP; any other word changes nothing."""
    async with await edge.dial() as wire:
        assert (await turned_away(wire, BAD, path="/ws?reject=close")).code == 4501
    for query in ("?reject=http", "?reject=", "?reject=CLOSE", ""):
        async with await edge.dial() as wire:
            assert (await wire.ask(upgrade_request(BAD, path=f"/ws{query}"))).status == 401


async def test_the_bytes_are_those_that_were_negotiated(edge: RunningEdge) -> None:
    """A `bearer` is echoed, or ours; the frame is in the encoding that was asked for."""
    lines = ["Sec-WebSocket-Protocol: fanwire.v1.msgpack, bearer, wrong"]
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(*lines, path="/ws?reject=close"))
        opcode, payload = await wire.frame()
        closing = await wire.closing()

    assert answer.headers["sec-websocket-protocol"] == "fanwire.v1.msgpack"
    assert (opcode, payload[0] & 0xF0) == (2, 0x80), "a map in msgpack"
    assert closing.code == 4501


async def test_a_limit_is_4505_with_a_time_to_wait(closing_edge: RunningEdge, tenant: str) -> None:
    """The user has the one connection that it may have."""
    async with await closing_edge.dial() as first, await closing_edge.dial() as second:
        await first.open(bearer(closing_edge, tenant))
        closing = await turned_away(second, bearer(closing_edge, tenant))

        assert (closing.code, closing.farewell["reconnect"]) == (4505, False)
        assert closing.farewell["retryAfterMs"] > 0
        await first.silence()


async def test_who_was_turned_away_takes_no_place(closing_edge: RunningEdge, tenant: str) -> None:
    """Neither of the user's limit nor of the edge's."""
    for _ in range(5):
        async with await closing_edge.dial() as wire:
            assert (await turned_away(wire, BAD)).code == 4501
    async with await closing_edge.dial() as wire:
        await wire.open(bearer(closing_edge, tenant))

    async def is_empty() -> bool:
        return await closing_edge.metric("connections_active") == 0

    await eventually(is_empty)


async def test_commands_that_come_with_the_handshake_are_not_carried_out(closing_edge: RunningEdge) -> None:
    """Nothing is answered but the end."""
    async with await closing_edge.dial() as wire:
        wire.writer.write(upgrade_request(BAD))
        wire.send({"type": "ping"}, {"type": "subscribe", "channel": "tenant:acme:resource:orders:*"})
        assert (await wire.http_answer()).status == 101
        closing = await wire.closing()

        assert [each["type"] for each in closing.messages] == ["disconnect"]
        wire.send({"type": "ping"})
        await wire.answer_close(closing.code)


async def test_who_does_not_answer_the_close_is_cut_off(closing_edge: RunningEdge) -> None:
    """After two seconds, as everybody is."""
    async with await closing_edge.dial() as wire:
        assert (await wire.ask(upgrade_request(BAD))).status == 101
        assert (await wire.closing()).code == 4501
        assert await wire.rest(8.0) == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade_request(BAD, "Origin: https://evil.test"), 403),
        (upgrade_request(BAD, version="8"), 400),
        (upgrade_request(BAD, "Sec-WebSocket-Protocol: fanwire.v9.json"), 400),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426),
    ],
    ids=["Origin", "no valid upgrade", "unknown version", "no upgrade"],
)
async def test_what_comes_before_the_credential_stays_http(
    closing_edge: RunningEdge, request_: bytes, status: int
) -> None:
    """Other people's pages get no WebSocket, and what is none cannot."""
    async with await closing_edge.dial() as wire:
        assert (await wire.ask(request_)).status == status


async def test_a_draining_edge_says_1012(session_redis: RedisServer) -> None:
    """The client is to come back, to another one."""
    redis = SharedRedis(session_redis, "reject-drain")
    async with running_edge(redis, AUTH__REJECT="close", EDGE__DRAIN_GRACE_SECONDS="20") as edge:
        async with await edge.dial() as keeper, await edge.dial() as wire:
            await keeper.open(f"Authorization: Bearer {edge.token()}")
            edge.process.signal(signal.SIGTERM)
            await edge.process.wait_for_output("edge_draining")
            closing = await turned_away(wire, BAD)
            edge.process.signal(signal.SIGTERM)
            assert (await keeper.closing()).code == 1012
            keeper.send_frame((1012).to_bytes(2, "big"), CLOSE)

        assert (closing.code, closing.farewell["reconnect"]) == (1012, True)
        assert 0 <= closing.farewell["retryAfterMs"] <= 5000


async def test_a_storm_is_4029(session_redis: RedisServer) -> None:
    """Who comes too soon is told when to come back."""
    redis = SharedRedis(session_redis, "reject-storm")
    async with running_edge(
        redis, AUTH__REJECT="close", EDGE__ADMISSION_PER_SECOND="1", EDGE__ADMISSION_BURST="1"
    ) as edge:
        token = f"Authorization: Bearer {edge.token()}"
        async with await edge.dial() as first, await edge.dial() as second:
            await first.open(token)
            closing = await turned_away(second, token)

        assert (closing.code, closing.farewell["reconnect"]) == (4029, True)
        assert closing.farewell["retryAfterMs"] > 0


async def test_an_edge_that_is_full_has_no_place_even_for_that(session_redis: RedisServer) -> None:
    """So it says it over HTTP."""
    redis = SharedRedis(session_redis, "reject-full")
    async with running_edge(redis, AUTH__REJECT="close", EDGE__MAX_CONNECTIONS="1") as edge:
        token = f"Authorization: Bearer {edge.token()}"
        async with await edge.dial() as first, await edge.dial() as second:
            await first.open(token)
            answer = await second.ask(upgrade_request(token))

        assert (answer.status, answer.error["code"]) == (503, "overloaded")
