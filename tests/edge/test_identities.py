"""Who comes in with a token, a session or a key: whole edges, beside real services that know them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fanwire_protocol.codec import encode_msgpack
from tests.edge.running import RunningEdge, running_edge
from tests.edge.wire import HttpAnswer, Wire, upgrade_request
from tests.kit.canaries import CANARIES
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.rest_api import Answer, RestApi
from tests.kit.wait import eventually

ORIGIN = "https://app.example.com"
KEY = CANARIES.remember("fw_canary-key-0123456789abcdef")
LATER_KEY = CANARIES.remember("fw_canary-key-fedcba9876543210")
# What tokens and sessions begin with.
for beginning in ("canary-token", "canary-session", "shop-canary", "broken-canary", "slow-canary"):
    CANARIES.remember(beginning)
CALLABLE = """
import asyncio

async def verify(token):
    if token.startswith("shop-canary"):
        return {"sub": 7, "tenant": "shop", "scope": "orders:read"}
    if token.startswith("broken-canary"):
        raise ValueError(token)
    if token.startswith("slow-canary"):
        await asyncio.sleep(60)
    return None
"""


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def key_row(key: str, id_: str) -> str:
    return (
        f'[[key]]\nid = "{id_}"\nsha256 = "{digest_of(key)}"\nuser = "importer"\ntenant = "acme"\n'
        'channels = ["tenant:acme:resource:orders:*"]\n'
    )


def write(path: Path, *rows: str) -> None:
    path.write_text("\n".join(rows))


async def shown(edge: RunningEdge, *lines: str) -> HttpAnswer:
    """Return the answer to a handshake with these header *lines*."""
    async with await edge.dial() as wire:
        return await wire.ask(upgrade_request(*lines))


@asynccontextmanager
async def opened(edge: RunningEdge, *lines: str) -> AsyncIterator[Wire]:
    async with await edge.dial() as wire:
        yield await wire.open(*lines)


async def may_read(wire: Wire, channel: str) -> str:
    """Return `subscribed`, or the code of the error."""
    answer = await wire.call({"type": "subscribe", "channel": channel})
    return str(answer["payload"].get("code", answer["type"]))


@pytest.fixture(scope="module")
def api() -> Iterator[RestApi]:
    """The core service."""
    with RestApi() as running:
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one API key."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    write(path, key_row(KEY, "ci-1"))
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asking(session_redis: RedisServer, api: RestApi, keys: Path) -> AsyncIterator[RunningEdge]:
    """An edge that asks the core service about tokens and sessions, and has API keys in a file."""
    async with running_edge(
        SharedRedis(session_redis, "identities-asking"),
        AUTH__JWT__SECRET=None,
        AUTH__SOURCES='["authorization", "subprotocol", "cookie", "api_key"]',
        AUTH__VERIFIER="introspection",
        AUTH__INTROSPECTION__URL=api.url("/me"),
        AUTH__COOKIE__HOLDS="session",
        AUTH__COOKIE__NAME="shop_session",
        AUTH__COOKIE__SESSION_URL=api.url("/session"),
        AUTH__API_KEY__FILE=str(keys),
        AUTH__CLAIMS__USER="id",
        AUTH__CLAIMS__TENANT="team.slug",
        ORIGINS__ALLOWED=json.dumps([ORIGIN]),
        OUTBOUND__TIMEOUT="1",
        OUTBOUND__BREAKER_FAILURES="1000",
    ) as running:
        yield running


ME: dict[str, Any] = {"id": 42, "team": {"slug": "acme"}, "scope": "orders:read"}


@pytest.mark.parametrize(
    "lines",
    [[bearer("canary-token-1")], ["Sec-WebSocket-Protocol: fanwire.v1.json, bearer, canary-token-1"]],
    ids=["header", "subprotocol"],
)
async def test_an_opaque_token_means_here_what_it_means_to_the_rest_api(
    asking: RunningEdge, api: RestApi, lines: list[str]
) -> None:
    """User, tenant and rights are those that the service names (SYSTEMS Z11)."""
    api.table[bearer("canary-token-1").partition(": ")[2], "/me"] = ME
    async with opened(asking, *lines) as wire:
        assert (wire.greeting["user"], wire.greeting["tenant"]) == ("42", "acme")
        assert await may_read(wire, "tenant:acme:resource:orders:1") == "subscribed"
        assert await may_read(wire, "tenant:acme:resource:invoices:1") == "forbidden"
        assert await may_read(wire, "tenant:other:resource:orders:1") == "forbidden"


async def test_a_token_is_asked_about_once_while_its_answer_is_remembered(
    asking: RunningEdge, api: RestApi
) -> None:
    """Also by twenty clients at once."""
    token = "canary-token-of-many"
    api.table[f"Bearer {token}", "/me"] = Answer(200, ME, delay_seconds=0.1)
    answers: list[int] = []

    async def come() -> None:
        answers.append((await shown(asking, bearer(token))).status)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(come())
    await come()

    assert answers == [101] * 21
    assert api.count("/me", f"Bearer {token}") == 1


OUTCOMES: list[tuple[str, Any, int, str]] = [
    ("refused", 401, 401, "unauthenticated"),
    ("forbidden", 403, 401, "unauthenticated"),
    ("switched off", {**ME, "active": False}, 401, "unauthenticated"),
    ("an error", 500, 503, "unavailable"),
    ("a redirect", Answer(302, ME, {"Location": "/login"}), 503, "unavailable"),
    ("garbage", Answer(200, "<html>"), 503, "unavailable"),
    ("nobody", {"message": "welcome"}, 503, "unavailable"),
    ("silence", Answer(hang=True), 503, "unavailable"),
    ("a cut", Answer(200, ME, half=True), 503, "unavailable"),
]


@pytest.mark.parametrize(
    ("name", "answer", "status", "code"), OUTCOMES, ids=[row[0].replace(" ", "-") for row in OUTCOMES]
)
@pytest.mark.parametrize("kind", ["token", "session"])
async def test_adapter_errors_for_tokens_and_sessions_fail_closed(
    asking: RunningEdge, api: RestApi, kind: str, name: str, answer: Any, status: int, code: str
) -> None:
    """K1, K11: who is refused there is 401 here, and whatever else goes wrong is 503, never in."""
    value = f"canary-{kind}-{name.replace(' ', '-')}"
    if kind == "token":
        api.table[f"Bearer {value}", "/me"] = answer
        lines = [bearer(value)]
    else:
        api.table[f"shop_session={value}", "/session"] = answer
        lines = [f"Cookie: theme=dark; shop_session={value}", f"Origin: {ORIGIN}"]

    refused = await shown(asking, *lines)

    assert (refused.status, refused.error["code"]) == (status, code)
    assert ("retry-after" in refused.headers) is (status == 503)
    assert value.encode() not in refused.body


async def test_a_service_that_is_away_lets_nobody_in_but_those_it_knew_a_moment_ago(
    asking: RunningEdge, api: RestApi
) -> None:
    """A remembered answer serves on; when the service is back, so is everybody."""
    api.table["Bearer canary-token-known", "/me"] = ME
    api.table["Bearer canary-token-new", "/me"] = ME
    assert (await shown(asking, bearer("canary-token-known"))).status == 101
    api.stop()
    try:
        assert (await shown(asking, bearer("canary-token-new"))).status == 503
        assert (await shown(asking, bearer("canary-token-known"))).status == 101
        assert "verifier_unavailable" in asking.process.output
    finally:
        api.start()
    assert (await shown(asking, bearer("canary-token-new"))).status == 101


async def test_a_session_s_cookie_opens_a_connection_from_an_allowed_page_only(
    asking: RunningEdge, api: RestApi
) -> None:
    """The service is asked with that cookie and no other, and not at all for other people's pages."""
    cookie = "shop_session=canary-session-1"
    api.table[cookie, "/session"] = ME
    async with opened(asking, f"Cookie: a=b; {cookie}; c=d", f"Origin: {ORIGIN}") as wire:
        assert wire.greeting["user"] == "42"
    assert api.count("/session", cookie) == 1

    for lines in ([], ["Origin: https://evil.example"], ["Origin: null"]):
        answer = await shown(asking, f"Cookie: {cookie}", *lines)
        assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert api.count("/session", cookie) == 1


async def test_an_api_key_opens_a_connection_for_its_owner(asking: RunningEdge) -> None:
    """With the rights that are written down beside its hash."""
    async with opened(asking, f"X-API-Key: {KEY}") as wire:
        assert (wire.greeting["user"], wire.greeting["tenant"]) == ("importer", "acme")
        assert await may_read(wire, "tenant:acme:resource:orders:*") == "subscribed"
        assert await may_read(wire, "tenant:acme:resource:invoices:1") == "forbidden"


@pytest.mark.parametrize("key", [KEY[:-1], KEY + "0", "short", "x" * 600, digest_of(KEY)])
async def test_another_key_is_401(asking: RunningEdge, key: str) -> None:
    """Also the hash of a good one."""
    answer = await shown(asking, f"X-API-Key: {key}")

    assert (answer.status, answer.error["code"]) == (401, "unauthenticated")


async def test_keys_come_and_go_with_the_file(asking: RunningEdge, keys: Path) -> None:
    """A second later, without a restart; a file with a mistake changes nothing but the log."""

    async def status(key: str) -> int:
        return (await shown(asking, f"X-API-Key: {key}")).status

    async def is_exchanged() -> bool:
        return (await status(KEY), await status(LATER_KEY)) == (401, 101)

    async def is_told() -> bool:
        assert await status(KEY) == 101
        return "api_keys_kept" in asking.process.output

    try:
        write(keys, "[[key]]\nid = 7")
        await eventually(is_told)
        write(keys, key_row(LATER_KEY, "ci-2"))
        await eventually(is_exchanged)
    finally:
        write(keys, key_row(KEY, "ci-1"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reading(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge that reads sessions and API keys in Redis, beside JWT."""
    async with running_edge(SharedRedis(session_redis, "identities-reading"), **IN_REDIS) as running:
        yield running


IN_REDIS: dict[str, Any] = {
    "AUTH__SOURCES": '["authorization", "cookie", "api_key"]',
    "AUTH__COOKIE__HOLDS": "session",
    "AUTH__COOKIE__SESSION_KEY": "shop:session:{id}",
    "AUTH__API_KEY__REDIS": "true",
    "AUTH__API_KEY__MAX_AGE": "1",
    "ORIGINS__ALLOWED": json.dumps([ORIGIN]),
    "HEARTBEAT__INTERVAL": "1",
    "HEARTBEAT__TIMEOUT": "3",
}
SESSION = json.dumps({"sub": "u-1", "tenant": "acme", "scope": "orders:read"})


def put_session(redis: RedisServer, id_: str, value: str = SESSION, *options: str | int) -> list[str]:
    """Write a session and return the header lines that show it."""
    redis.execute("SET", f"shop:session:{id_}", value, *options)
    return [f"Cookie: session={id_}", f"Origin: {ORIGIN}"]


def put_key(redis: RedisServer, prefix: str, key: str, id_: str = "ci-1") -> str:
    """Write an API key and return the header line that shows it."""
    record = {"id": id_, "user": "importer", "tenant": "acme", "permissions": ["orders:read"]}
    redis.execute("HSET", f"{prefix}:_keys", digest_of(key), encode_msgpack(record))
    return f"X-API-Key: {key}"


async def test_a_session_in_redis_opens_a_connection_that_ends_with_it(reading: RunningEdge) -> None:
    """Its key's life is the connection's: then 4001."""
    lines = put_session(reading.redis.server, "canary-session-brief", SESSION, "PX", 1500)
    async with opened(reading, *lines) as wire:
        assert wire.greeting["user"] == "u-1"
        assert await may_read(wire, "tenant:acme:resource:orders:1") == "subscribed"
        assert (await wire.closing()).code == 4001

    assert (await shown(reading, *lines)).status == 401


async def test_who_logged_out_does_not_come_back(reading: RunningEdge) -> None:
    """The core service deletes the session."""
    lines = put_session(reading.redis.server, "canary-session-of-a-guest")
    assert (await shown(reading, *lines)).status == 101
    reading.redis.server.execute("DEL", "shop:session:canary-session-of-a-guest")

    assert (await shown(reading, *lines)).status == 401


async def test_a_key_in_redis_works_at_once_and_ends_when_it_is_taken_out(reading: RunningEdge) -> None:
    """After `auth.api_key.max_age` at the latest; one that was unknown before is not refused for long."""
    redis, prefix = reading.redis.server, reading.redis.prefix
    line = f"X-API-Key: {KEY}"
    assert (await shown(reading, line)).status == 401
    put_key(redis, prefix, KEY)

    async def answers(status: int) -> bool:
        return (await shown(reading, line)).status == status

    await eventually(lambda: answers(101), 5)
    async with opened(reading, line) as wire:
        assert wire.greeting["user"] == "importer"
        redis.execute("DEL", f"{prefix}:_keys")
        await eventually(lambda: answers(401), 5)
        await wire.silence()


REVOKED_KEY = CANARIES.remember("fw_canary-key-revoked-0123456789")


async def test_a_key_is_revoked_by_its_id(reading: RunningEdge) -> None:
    """Its connection closes and it is refused from then on; the owner's other keys are not touched."""
    redis, prefix = reading.redis.server, reading.redis.prefix
    revoked = put_key(redis, prefix, REVOKED_KEY, "ci-7")
    other = put_key(redis, prefix, LATER_KEY, "ci-8")
    async with opened(reading, revoked) as wire, opened(reading, other) as bystander:
        async with reading.publisher() as publisher:
            await publisher.revoke("acme", token="ci-7")
        assert (await wire.closing()).code == 4503
        await bystander.silence()

    assert (await shown(reading, revoked)).status == 401
    assert (await shown(reading, other)).status == 101


SPOILT = "canary-session-spoilt"
SPOILT_KEY = CANARIES.remember("fw_canary-key-spoilt-0123456789")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("SET", f"shop:session:{SPOILT}", "a:1:{s:4:'user'}"), f"Cookie: session={SPOILT}"),
        (("HSET", f"shop:session:{SPOILT}", "user", "u-1"), f"Cookie: session={SPOILT}"),
        (("HSET", "PREFIX:_keys", digest_of(SPOILT_KEY), "garbage"), f"X-API-Key: {SPOILT_KEY}"),
    ],
    ids=["another format", "no text", "a key"],
)
async def test_adapter_errors_for_records_in_redis_fail_closed(
    reading: RunningEdge, command: tuple[str, ...], line: str
) -> None:
    """K1, K11: a record that cannot be read is 503, never in."""
    redis = reading.redis
    redis.server.execute("DEL", f"shop:session:{SPOILT}")
    redis.server.execute(*(part.replace("PREFIX", redis.prefix) for part in command))

    answer = await shown(reading, line, f"Origin: {ORIGIN}")

    assert (answer.status, answer.error["code"]) == (503, "unavailable")


async def test_while_redis_is_away_nobody_comes_in_by_session_or_key(redis_server: RedisServer) -> None:
    """K1, K11: 503 for good ones and bad ones alike; when it is back, good ones come in."""
    redis = SharedRedis(redis_server, "fanwire")
    async with running_edge(redis, **{**IN_REDIS, "AUTH__API_KEY__MAX_AGE": "0"}) as edge:
        session, key = (
            put_session(redis_server, "canary-session-0123456789"),
            put_key(redis_server, "fanwire", KEY),
        )
        for lines in (session, [key]):
            assert (await shown(edge, *lines)).status == 101
        redis_server.kill()
        bad_session = ["Cookie: session=canary-session-unknown", f"Origin: {ORIGIN}"]
        for lines in (session, [key], bad_session, [f"X-API-Key: {LATER_KEY}"]):
            answer = await shown(edge, *lines)
            assert (answer.status, answer.error["code"]) == (503, "unavailable"), lines
        redis_server.start()
        put_session(redis_server, "canary-session-0123456789")
        put_key(redis_server, "fanwire", KEY)

        async def are_back() -> bool:
            return [(await shown(edge, *lines)).status for lines in (session, [key])] == [101, 101]

        await eventually(are_back, 20)


async def test_a_function_of_the_operator_tells_whose_a_token_is_in_a_cookie_too(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """What it raises, and how long it takes, is `unavailable`; what it does not know is 401."""
    write(tmp_path / "shop_identities.py", CALLABLE)
    async with running_edge(
        shared_redis,
        environment={"PYTHONPATH": str(tmp_path)},
        AUTH__JWT__SECRET=None,
        AUTH__SOURCES='["authorization", "cookie"]',
        AUTH__VERIFIER="callable",
        AUTH__CALLABLE="shop_identities:verify",
        ORIGINS__ALLOWED=json.dumps([ORIGIN]),
        OUTBOUND__TIMEOUT="0.5",
    ) as edge:
        for lines in ([bearer("shop-canary")], ["Cookie: session=shop-canary", f"Origin: {ORIGIN}"]):
            async with opened(edge, *lines) as wire:
                assert (wire.greeting["user"], wire.greeting["tenant"]) == ("7", "shop")
                assert await may_read(wire, "tenant:shop:resource:orders:1") == "subscribed"
        for token, status in (("nobody", 401), ("broken-canary", 503), ("slow-canary", 503)):
            assert (await shown(edge, bearer(token))).status == status
        assert edge.process.output.count("callable_failed") == 2
