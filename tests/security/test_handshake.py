"""The handshake of an attacker: S01 to S04, S22, S24, S39, S40, with PROTOCOL's codes.

Where PROTOCOL differs from the list, the strict switches are on: S01 to S03 run with a list of Origins, of
which one is required. The tokens of S04 may have 8,192 characters, not 4 KB: identity providers make such.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from fanwire_edge.core.websocket import close_frame
from tests.edge.running import READY_SECONDS, RunningEdge, edge_process, running_edge
from tests.edge.wire import HttpAnswer, Wire, upgrade_request
from tests.kit.canaries import CANARIES
from tests.kit.processes import free_port
from tests.kit.redis_server import RedisServer, SharedRedis

APP = "https://app.example.com"
PROTOCOL = "Sec-WebSocket-Protocol: "
# What no answer of the public port may tell.
INTERNALS = ("redis", "broker", "127.0.0.1", "python", "aiohttp", "traceback", "/services/")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge with the strict switches, which audits."""
    async with running_edge(
        SharedRedis(session_redis, "strict"),
        ORIGINS__ALLOWED=json.dumps([APP]),
        ORIGINS__REQUIRED="true",
        AUDIT__TARGET="stdout",
    ) as running:
        yield running


async def asked(edge: RunningEdge, *lines: str, path: str = "/ws") -> HttpAnswer:
    """Ask to come in, and return the answer."""
    async with await edge.dial() as wire:
        answer = await wire.ask(upgrade_request(*lines, path=path))
        assert "aiohttp" not in str(answer.headers), "what it is made of is nobody's business"
        return answer


def bearer(edge: RunningEdge) -> str:
    """Return the header of somebody who may come in."""
    return f"Authorization: Bearer {edge.token()}"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Origin: https://evil.test"],
        ["Origin: null"],
        ["Origin:"],
        [f"Origin: {APP}.evil.test"],
        [f"Origin: https://evil.test/{APP}"],
        ["Origin: https://app.example.com@evil.test"],
        ["Origin: https://App.Example.com"],
        [f"Origin: {APP}:443"],
        [f"Origin: {APP}:8443"],
        ["Origin: http://app.example.com"],
        [f"Origin: {APP}/"],
        [f"Origin: {APP}", "Origin: https://evil.test"],
        ["Origin: https://evil.test", f"Origin: {APP}"],
    ],
)
async def test_s01_an_origin_that_is_not_the_very_one_is_403(
    strict_edge: RunningEdge, lines: Sequence[str]
) -> None:
    """Whatever the credential, and the audit log has a line about it."""
    answer = await asked(strict_edge, bearer(strict_edge), *lines)

    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    await strict_edge.process.wait_for_output('"origin_not_allowed"')
    assert (await asked(strict_edge, bearer(strict_edge), f"Origin: {APP}")).status == 101


async def test_s02_a_page_cannot_ride_on_a_cookie(strict_edge: RunningEdge) -> None:
    """Cookies are no credentials unless somebody switches that on, not even of an allowed page."""
    cookie = f"Cookie: session={strict_edge.token()}; token={strict_edge.token()}"

    answer = await asked(strict_edge, cookie, f"Origin: {APP}")
    assert (answer.status, answer.error["code"]) == (401, "unauthenticated")
    assert (await asked(strict_edge, cookie, "Origin: https://evil.test")).status == 403


async def test_s03_a_token_in_the_query_or_in_a_cookie_is_401_and_nowhere_to_be_seen(
    strict_edge: RunningEdge,
) -> None:
    """No answer, log line, metric or traceback holds anything of it; the output is searched at the end."""
    token = strict_edge.token()
    for path in (f"/ws?token={token}", f"/ws?access_token={token}", f"/ws/{token}", f"/{token}?x={token}"):
        answer = await asked(strict_edge, f"Origin: {APP}", f"Cookie: session={token}", path=path)
        assert answer.status == (401 if path.startswith("/ws?") else 404)
        CANARIES.check(f"{answer.headers} {answer.body!r}", "an answer")
    async with await strict_edge.dial() as wire:
        # What is no HTTP, so that aiohttp itself has something to say.
        wire.writer.write(f"GET /ws?token={token}\x01 HTTP/1.1\r\nX-Token: {token}\x00\r\n\r\n".encode())
        CANARIES.check((await wire.rest()).decode(), "an answer")
    CANARIES.check(_text(strict_edge.ops_url("/metrics"))[1], "the metrics")
    CANARIES.check(strict_edge.process.output, "the output")


GOOD_OFFERS = [
    ("only the pair", [f"{PROTOCOL}bearer, T"]),
    ("split lines", [f"{PROTOCOL}bearer", f"{PROTOCOL}T"]),
    ("another case", [f"{PROTOCOL}BEARER, T"]),
    ("blanks and tabs", [f"{PROTOCOL}  bearer \t,\t  T  "]),
    ("empty entries", [f"{PROTOCOL},, bearer,, T,,"]),
    ("two tokens, the first good", [f"{PROTOCOL}bearer, T, bearer, wrong"]),
]
BAD_OFFERS = [
    ("the token alone", [f"{PROTOCOL}T"]),
    ("the token first", [f"{PROTOCOL}T, bearer"]),
    ("in one entry", [f"{PROTOCOL}bearer T"]),
    ("with a colon", [f"{PROTOCOL}bearer:T"]),
    ("another word", [f"{PROTOCOL}token, T"]),
    ("two tokens, the first bad", [f"{PROTOCOL}bearer, wrong, bearer, T"]),
    ("quoted", [f'{PROTOCOL}bearer, "T"']),
    ("nothing", [f"{PROTOCOL}"]),
    ("no token", [f"{PROTOCOL}bearer"]),
    ("an empty token", [f"{PROTOCOL}bearer, , "]),
    ("a scheme twice", ["Authorization: Bearer Bearer T"]),
    ("another scheme", ["Authorization: Token T"]),
]


@pytest.mark.parametrize(
    ("lines", "status"),
    [(lines, 101) for _, lines in GOOD_OFFERS] + [(lines, 401) for _, lines in BAD_OFFERS],
    ids=[name for name, _ in GOOD_OFFERS + BAD_OFFERS],
)
async def test_s04_only_the_valid_forms_carry_a_token(
    edge: RunningEdge, lines: Sequence[str], status: int
) -> None:
    """101 with `bearer` echoed as it was written, else 401; the token comes back in no answer."""
    token = edge.token()
    answer = await asked(
        edge, *(line.replace("T", token) if line != BAD_OFFERS[4][1][0] else line for line in lines)
    )

    assert answer.status == status
    if status == 101:
        assert answer.headers["sec-websocket-protocol"].lower() == "bearer"
    CANARIES.check(f"{answer.headers} {answer.body!r}", "an answer")


@pytest.mark.parametrize(
    ("line", "statuses"),
    [
        (f"{PROTOCOL}bearer, {'x' * 8_000}", {401}),
        (f"{PROTOCOL}bearer, {'x' * 8_300}", {400}),
        (f"Authorization: Bearer {'x' * 9_000}", {400}),
        (f"X-Long: {'x' * 70_000}", {400}),
    ],
    ids=["8,000", "8,300", "9,000", "70,000"],
)
async def test_s04_headers_are_bounded(edge: RunningEdge, line: str, statuses: set[int]) -> None:
    """Beyond 8,190 bytes of one header there is nothing to be verified."""
    async with await edge.dial() as wire:
        wire.writer.write(upgrade_request(line))
        assert int((await wire.rest()).split(b" ")[1]) in statuses


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxied_edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge behind a trusted proxy, where an address may try three times a minute."""
    async with running_edge(
        SharedRedis(session_redis, "proxied"),
        EDGE__TRUSTED_PROXIES='["127.0.0.0/8", "10.0.0.0/8"]',
        LIMITS__ATTEMPTS_PER_MINUTE="3",
    ) as running:
        yield running


FORGED = {
    "another hop each time": [[f"X-Forwarded-For: 192.0.2.{n}, 198.51.100.1"] for n in range(1, 5)],
    "another line each time": [
        [f"X-Forwarded-For: 192.0.2.{n}", "X-Forwarded-For: 198.51.100.2"] for n in range(1, 5)
    ],
    "trusted ones in between": [
        [f"X-Forwarded-For: 192.0.2.{n}, 198.51.100.3, 10.0.0.{n}"] for n in range(1, 5)
    ],
    "another port each time": [[f"X-Forwarded-For: 198.51.100.4:{n}"] for n in range(1, 5)],
    "one /64": [[f"X-Forwarded-For: 2001:db8:1:2::{n:x}"] for n in range(1, 5)],
    "IPv4 as IPv6": [[f"X-Forwarded-For: {text}198.51.100.5"] for text in ("", "::ffff:", "", "::FFFF:")],
    "garbage in front": [[f"X-Forwarded-For: 192.0.2.{n}, unknown, 10.9.9.9"] for n in range(1, 5)],
}


@pytest.mark.parametrize("lines", FORGED.values(), ids=list(FORGED))
async def test_s22_a_forged_header_makes_nobody_another(
    proxied_edge: RunningEdge, lines: Sequence[Sequence[str]]
) -> None:
    """The right-most hop that is no trusted proxy counts, IPv6 by its /64: the fourth attempt is 429."""
    answers = [await asked(proxied_edge, *each) for each in lines]

    assert [answer.status for answer in answers] == [401, 401, 401, 429]
    assert answers[-1].error["code"] == "rate_limited"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_s22_others_behind_the_same_proxy_are_not_affected(proxied_edge: RunningEdge) -> None:
    """Neither another address nor another /64."""
    for address in ("198.51.100.100", "198.51.100.101", "2001:db8:1:3::1", "2001:db8:1:4::1"):
        assert (await asked(proxied_edge, f"X-Forwarded-For: {address}")).status == 401


async def test_s22_without_a_trusted_proxy_the_header_means_nothing(session_redis: RedisServer) -> None:
    """The peer is the client, whatever it says of itself; and a good token does not help it."""
    redis = SharedRedis(session_redis, "unproxied")
    async with running_edge(redis, LIMITS__ATTEMPTS_PER_MINUTE="3") as edge:
        answers = [await asked(edge, bearer(edge), f"X-Forwarded-For: 198.51.100.{n}") for n in range(1, 5)]

        assert [answer.status for answer in answers] == [101, 101, 101, 429]


SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: smuggled\r\n\r\n"
BROKEN = {
    "a body": upgrade_request("A: T", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
    "a chunked body": upgrade_request("A: T", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
    "both lengths": upgrade_request("A: T", "Content-Length: 0", "Transfer-Encoding: chunked") + SMUGGLED,
    "two lengths": upgrade_request("A: T", "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}")
    + SMUGGLED,
    "HTTP/1.0": upgrade_request("A: T", http="1.0"),
    "POST": upgrade_request("A: T", method="POST"),
    "a lone CR": upgrade_request("A: T", "X-A: b\rX-Injected: 1"),
    "a lone LF": upgrade_request("A: T", "X-A: b\nX-Injected: 1", key="!"),
    "NUL": upgrade_request("A: T", "X-A: b\x00c"),
    "a folded line": upgrade_request("A: T", "X-A: b\r\n X-Injected: 1", key="!"),
    "CR in the offer": upgrade_request("A: T", f"{PROTOCOL}fanwire.v1.json\rX-Injected: 1"),
}


@pytest.mark.parametrize("request_", BROKEN.values(), ids=list(BROKEN))
async def test_s24_nothing_is_smuggled_or_reflected(edge: RunningEdge, request_: bytes) -> None:
    """One answer, 400, and the end; what came behind is no second request, and no header of ours."""
    async with await edge.dial() as wire:
        wire.writer.write(request_.replace(b"A: T", bearer(edge).encode()))
        answer = (await wire.rest()).decode()

    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith(("HTTP/1.1 400 ", "HTTP/1.0 400 "))
    assert json.loads(body)["error"]["code"] == "bad_request", "one answer, and nothing behind it"
    assert "injected" not in answer.lower()


def test_s39_a_close_reason_is_cut_on_the_boundary_of_a_character() -> None:
    """A control frame has 125 bytes, two of them the code."""
    for text in ("x" * 300, "ä" * 100, "x" + "ä" * 100, "🙂" * 50):
        frame = close_frame(4501, text)
        assert frame[1] <= 125
        assert text.startswith(frame[4:].decode())
        assert frame[1] >= 120


async def test_s39_a_reason_is_a_text_of_ours(edge: RunningEdge) -> None:
    """Of a token nothing comes back, whatever is wrong with it."""
    wrong = [edge.token(exp=1), edge.token(sub="a b"), edge.token()[:-5], "x" * 200]
    reasons = set()
    for token in wrong:
        async with await edge.dial() as wire:
            request = upgrade_request(f"Authorization: Bearer {token}", path="/ws?reject=close")
            assert (await wire.ask(request)).status == 101
            closing = await wire.closing()
            assert (closing.code, closing.farewell["reason"]) == (4501, closing.reason)
            reasons.add(closing.reason)
            assert not any(part in closing.reason for part in (token[:12], token[-12:]))
    assert len(reasons) > 2


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/readyz",
        "/api/metrics/websocket",
        "/admin",
        "/v1/connections",
        "/debug",
        "/healthz/",
        "//ws",
    ],
)
async def test_s40_operators_pages_are_not_on_the_public_port(edge: RunningEdge, path: str) -> None:
    """404, for a plain request and for an upgrade; nothing tells what the edge is made of."""
    async with await edge.dial() as wire:
        plain = await wire.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    upgrade = await asked(edge, bearer(edge), path=path)

    assert (plain.status, upgrade.status) == (404, 404)
    for answer in (plain, upgrade):
        told = f"{answer.headers} {answer.body.decode()}".lower()
        assert not any(word in told for word in INTERNALS)


async def test_s40_health_and_readiness_say_only_what_is_to_be_known(session_redis: RedisServer) -> None:
    """Also where something is wrong: one edge here reaches no broker."""
    redis = SharedRedis(session_redis, "readiness")
    async with running_edge(redis) as edge:
        assert _text(edge.ops_url("/readyz")) == (200, "ready\n")
        assert _text(edge.ops_url("/healthz")) == (200, "ok\n")
        async with await edge.dial() as wire:
            assert (await wire.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"ok\n"
    url = f"redis://:{CANARIES.remember('a-password-of-the-broker')}@127.0.0.1:{free_port()}/0"
    process, port, ops_port = edge_process(redis, BROKER__URL=url)
    async with process, asyncio.timeout(READY_SECONDS):
        await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz", 503)
        status, text = _text(f"http://127.0.0.1:{ops_port}/readyz")
        async with await Wire.dial(port) as wire:
            answer = await wire.ask(upgrade_request())

    assert (status, text) == (503, "not reading from the broker\n")
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert not any(word in answer.body.decode().lower() for word in ("redis", "127.0.0.1", "password"))


def _text(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, problem.read().decode()
