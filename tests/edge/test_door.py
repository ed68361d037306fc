"""The door with everything switched on: sources in their order, Origins, proxies, and what is asked first."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import HttpAnswer, Wire, upgrade_request
from tests.kit.canaries import CANARIES
from tests.kit.processes import free_port
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.tokens import make_token

APP = "https://app.example.com"
ORIGIN = f"Origin: {APP}"
# The order in which they are configured, and a place for a token in each.
SOURCES = {
    "cookie": "Cookie: theme=dark; auth=T",
    "query": "?token=T",
    "authorization": "Authorization: Bearer T",
    "subprotocol": "Sec-WebSocket-Protocol: fanwire.v1.json, bearer, T",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge that takes tokens from everywhere, behind a proxy that it trusts."""
    async with running_edge(
        SharedRedis(session_redis, "door"),
        AUTH__SOURCES=json.dumps(list(SOURCES)),
        AUTH__COOKIE__NAME="auth",
        ORIGINS__ALLOWED=json.dumps([APP, "http://localhost:5173"]),
        EDGE__TRUSTED_PROXIES='["127.0.0.0/8"]',
        AUDIT__TARGET="stdout",
    ) as running:
        yield running


async def asked(edge: RunningEdge, *places: str, path: str = "/ws") -> tuple[HttpAnswer, dict[str, object]]:
    """Ask to come in with header lines, and a query that begins with `?`; return answer and greeting."""
    query = "".join(place for place in places if place.startswith("?"))
    lines = [place for place in places if not place.startswith("?")]
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(*lines, path=path + query))
        greeting = (await wire.message("connected"))["payload"] if answer.status == 101 else {}
    return answer, greeting


def place_of(source: str, token: str) -> str:
    """Return where *source* carries *token*."""
    head, _, tail = SOURCES[source].rpartition("T")
    return head + token + tail


@pytest.mark.parametrize("source", SOURCES)
async def test_each_source_opens_the_door(open_edge: RunningEdge, source: str) -> None:
    """With the token where it is configured to stand, and a page that is allowed."""
    answer, greeting = await asked(open_edge, place_of(source, open_edge.token(sub=source)), ORIGIN)

    assert answer.status == 101
    assert greeting["user"] == source


@pytest.mark.parametrize("first", range(len(SOURCES) - 1))
async def test_the_first_source_that_carries_a_credential_decides(open_edge: RunningEdge, first: int) -> None:
    """In the configured order: a good token there wins, and a bad one is not made good by a later one."""
    name, *later = list(SOURCES)[first:]
    others = [place_of(each, open_edge.token(sub="later")) for each in later]

    good, greeting = await asked(open_edge, *others, place_of(name, open_edge.token(sub="first")), ORIGIN)
    bad, _ = await asked(open_edge, *others, place_of(name, "wrong"), ORIGIN)

    assert (good.status, greeting["user"]) == (101, "first")
    assert (bad.status, bad.error["code"]) == (401, "unauthenticated")


async def test_a_token_in_the_query_is_decoded(open_edge: RunningEdge) -> None:
    """Programs write some of its characters as %2E."""
    token = open_edge.token(sub="q").replace(".", "%2E")
    answer, greeting = await asked(open_edge, f"?token={token}")

    assert (answer.status, greeting["user"]) == (101, "q")


@pytest.mark.parametrize("text", ["a\r\nX-Admin: 1", "a b", "ä", "\x00"])
async def test_a_credential_that_no_header_could_hold_is_401(open_edge: RunningEdge, text: str) -> None:
    """It is not shown to anybody, and comes back in no answer."""
    answer, _ = await asked(open_edge, f"?token={quote(text)}")

    assert (answer.status, answer.error["code"]) == (401, "unauthenticated")
    assert "x-admin" not in answer.headers
    assert "X-Admin" not in answer.body.decode()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([ORIGIN], 101),
        (["Origin: http://localhost:5173"], 101),
        ([], 101),
        ([f"{ORIGIN}:443"], 403),
        ([f"{ORIGIN}.evil.test"], 403),
        ([f"{ORIGIN}/"], 403),
        (["Origin: https://APP.example.com"], 403),
        (["Origin: null"], 403),
        (["Origin:"], 403),
        ([ORIGIN, ORIGIN], 403),
        ([ORIGIN, "Origin: https://evil.test"], 403),
    ],
)
async def test_a_page_is_on_the_list_or_it_is_403(
    open_edge: RunningEdge, lines: list[str], status: int
) -> None:
    """Compared exactly; programs that are no browsers send none, and may."""
    answer, _ = await asked(open_edge, place_of("authorization", open_edge.token()), *lines)

    assert answer.status == status
    if status == 403:
        assert answer.error["code"] == "origin_not_allowed"


async def test_a_cookie_needs_an_allowed_origin(open_edge: RunningEdge) -> None:
    """A browser sends it along whatever page asks; so without an Origin it is nobody's word."""
    cookie = place_of("cookie", open_edge.token())

    for lines in ([], ["Origin: https://evil.test"], ["Origin: null"]):
        answer, _ = await asked(open_edge, cookie, *lines)
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert (await asked(open_edge, cookie, ORIGIN))[0].status == 101


async def test_the_origin_is_looked_at_before_the_credential_and_always_told_over_http(
    open_edge: RunningEdge,
) -> None:
    """A page that is not allowed learns nothing of the credential that its visitor has."""
    for token in ("wrong", open_edge.token()):
        answer, _ = await asked(
            open_edge, place_of("authorization", token), "Origin: https://evil.test", "?reject=close"
        )
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")


async def test_the_audit_log_names_the_client_behind_the_proxy(open_edge: RunningEdge) -> None:
    """By the right-most hop that is not trusted, over all lines."""
    hops = ["X-Forwarded-For: 192.0.2.1, 198.51.100.77", "X-Forwarded-For: 127.0.0.9"]
    await asked(open_edge, place_of("authorization", "wrong"), *hops)

    await open_edge.process.wait_for_output("198.51.100.77")
    denied = [json.loads(line) for line in open_edge.process.output.splitlines() if '"198.51.100.77"' in line]
    assert (denied[0]["event"], denied[0]["code"]) == ("denied", "unauthenticated")


async def test_a_malformed_since_is_400_for_those_only_who_may_come_in(open_edge: RunningEdge) -> None:
    """Who may not learns that first."""
    good, _ = await asked(open_edge, place_of("authorization", open_edge.token()), "?since=x")
    bad, _ = await asked(open_edge, place_of("authorization", "wrong"), "?since=x")

    assert (good.status, good.error["code"]) == (400, "bad_request")
    assert bad.status == 401


async def test_origins_required_refuses_programs_too(session_redis: RedisServer) -> None:
    """Then a missing Origin is one that is not on the list."""
    redis = SharedRedis(session_redis, "door-required")
    async with running_edge(redis, ORIGINS__ALLOWED=json.dumps([APP]), ORIGINS__REQUIRED="true") as edge:
        token = place_of("authorization", edge.token())

        missing, _ = await asked(edge, token)
        assert (missing.status, missing.error["code"]) == (403, "origin_not_allowed")
        assert (await asked(edge, token, ORIGIN))[0].status == 101


async def test_in_band_a_bad_credential_at_the_handshake_is_401_all_the_same(
    session_redis: RedisServer,
) -> None:
    """Without one the client comes in, and is nobody yet."""
    async with running_edge(
        SharedRedis(session_redis, "door-in-band"), AUTH__SOURCES='["authorization", "in_band"]'
    ) as edge:
        bad, _ = await asked(edge, place_of("authorization", "wrong"))
        none, greeting = await asked(edge)

        assert (bad.status, none.status) == (401, 101)
        assert (greeting["authenticated"], greeting["channels"]) == (False, [])


async def test_where_nobody_can_tell_whose_it_is_it_is_503(session_redis: RedisServer) -> None:
    """Never a pass; the client is told when to come back, by 1012 where it asked for a close code."""
    async with running_edge(
        SharedRedis(session_redis, "door-unavailable"),
        AUTH__VERIFIER="introspection",
        AUTH__INTROSPECTION__URL=f"http://127.0.0.1:{free_port()}/me",
        AUTH__JWT__SECRET=None,
    ) as edge:
        token = place_of("authorization", edge.token())
        answer, _ = await asked(edge, token)
        async with await edge.dial() as wire:
            assert (await wire.ask(upgrade_request(token, path="/ws?reject=close"))).status == 101
            closing = await wire.closing()

        assert (answer.status, answer.error["code"]) == (503, "unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        assert (closing.code, closing.farewell["reconnect"]) == (1012, True)


async def test_no_answer_or_metric_shows_a_token(open_edge: RunningEdge) -> None:
    """Wherever it stood, good or bad; the output is searched when the edge stops."""
    bad = CANARIES.remember_token(make_token(secret="another-secret-that-is-long-enough-to-sign"))
    for source in SOURCES:
        answer, _ = await asked(open_edge, place_of(source, bad), ORIGIN)
        assert bad.rpartition(".")[2] not in answer.body.decode() + str(answer.headers)
    async with await Wire.dial(open_edge.ops_port) as wire:
        wire.writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        CANARIES.check((await wire.rest()).decode(), "the metrics")
