"""Sessions that a core service keeps in Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from fanwire_edge.adapters.redis_lookup import MAX_CONNECTIONS, RedisLookup
from fanwire_edge.adapters.redis_sessions import RedisSessions
from fanwire_edge.core.claims import ClaimNames, ClaimRules
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from tests.kit.canaries import CANARIES
from tests.kit.redis_server import RedisServer, SharedRedis

NOW = 1_800_000_000.0
ID = CANARIES.remember("canary.0123456789abcdef")
RULES = ClaimRules(ClaimNames(user="user.id", tenant="tenant"), is_token=False)


@pytest.fixture
async def lookup(shared_redis: SharedRedis) -> AsyncIterator[RedisLookup]:
    """Connections to the shared server."""
    connections = RedisLookup(shared_redis.url)
    yield connections
    await connections.close()


@pytest.fixture
def sessions(shared_redis: SharedRedis, lookup: RedisLookup) -> RedisSessions:
    """Sessions under a prefix of their own."""
    return RedisSessions(lookup, f"{shared_redis.prefix}:session:{{id}}", RULES, lambda: NOW)


def put(redis: SharedRedis, value: object, *options: str | int) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    redis.server.execute("SET", f"{redis.prefix}:session:{ID}", text, *options)


SESSION: dict[str, Any] = {"user": {"id": 42}, "tenant": "acme", "roles": ["staff"], "csrf": "x"}


async def test_a_session_identifies_its_user_for_ever(
    shared_redis: SharedRedis, sessions: RedisSessions
) -> None:
    """Where its key has no end; what else stands in it is not looked at."""
    put(shared_redis, SESSION)

    assert await sessions.verify(ID) == Principal("42", "acme", ("staff",))


@pytest.mark.parametrize(("exp", "seconds"), [(None, 100), (NOW + 50, 50), (NOW + 500, 100)])
async def test_a_session_ends_with_its_key_or_before(
    shared_redis: SharedRedis, sessions: RedisSessions, exp: float | None, seconds: float
) -> None:
    """Whichever end comes first."""
    put(shared_redis, {**SESSION, "exp": exp}, "EX", 100)

    expires_at = (await sessions.verify(ID)).expires_at

    assert expires_at == pytest.approx(NOW + seconds, abs=5)


async def test_a_session_that_is_not_there_or_over_identifies_nobody(
    shared_redis: SharedRedis, sessions: RedisSessions
) -> None:
    """Who logged out has no session any more."""
    with pytest.raises(InvalidToken, match="no such session"):
        await sessions.verify(ID)
    put(shared_redis, {**SESSION, "exp": NOW})
    with pytest.raises(InvalidToken, match="expired"):
        await sessions.verify(ID)


@pytest.mark.parametrize(
    "value",
    ["", "a:1:{s:4:'user'}", "[1]", "7", '{"user": {}}', '{"user": {"id": 1}, "tenant": 1, "exp": true}'],
    ids=["empty", "another format", "a list", "a number", "no user", "an end that is none"],
)
async def test_a_session_that_says_nothing_lets_nobody_in(
    shared_redis: SharedRedis, sessions: RedisSessions, value: str
) -> None:
    """It is somebody's mistake, and not the client's."""
    put(shared_redis, value, "EX", 100)

    with pytest.raises(VerifierUnavailable) as caught:
        await sessions.verify(ID)
    assert ID not in str(caught.value)


@pytest.mark.parametrize("id_", ["short", f"x:{ID}", f"{ID}*", f"{ID}\r\nDEL x", f"{ID}%3A", ""])
async def test_an_id_that_is_none_is_not_looked_up(sessions: RedisSessions, id_: str) -> None:
    """Nobody reaches another key by it."""
    with pytest.raises(InvalidToken, match="session's id"):
        await sessions.verify(id_)


async def test_adapter_errors_for_session_lookups_fail_closed(redis_server: RedisServer) -> None:
    """K1, K11: a Redis that is away or refuses is `unavailable`, and knows its sessions when it is back."""
    lookup = RedisLookup(redis_server.url)
    sessions = RedisSessions(lookup, "session:{id}", RULES, lambda: NOW)
    redis_server.execute("HSET", f"session:{ID}", "user", "42")
    with pytest.raises(VerifierUnavailable, match="WRONGTYPE"):
        await sessions.verify(ID)
    redis_server.kill()
    with pytest.raises(VerifierUnavailable, match="Redis does not tell"):
        await sessions.verify(ID)
    redis_server.start()
    redis_server.execute("SET", f"session:{ID}", json.dumps(SESSION))
    assert (await sessions.verify(ID)).user == "42"
    await lookup.close()


async def test_nobody_gets_another_s_session_however_many_come_and_go(
    shared_redis: SharedRedis, lookup: RedisLookup, sessions: RedisSessions
) -> None:
    """Who leaves in the middle of a look-up leaves no answer behind for the next; connections stay few."""
    users = [f"u-{number}" for number in range(20)]
    for user in users:
        name = f"{shared_redis.prefix}:session:session-of-{user:0>8}"
        shared_redis.server.execute("SET", name, json.dumps({"user": {"id": user}, "tenant": "acme"}))
    found: list[tuple[str, str]] = []
    chance = Random(7)

    async def come(user: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                found.append((user, (await sessions.verify(f"session-of-{user:0>8}")).user))
        except TimeoutError:
            pass  # It left.

    before = len(shared_redis.server.execute("CLIENT", "LIST").splitlines())
    async with asyncio.TaskGroup() as tasks:
        for number in range(400):
            user = users[number % len(users)]
            tasks.create_task(come(user, 5.0 if number % 3 == 0 else chance.uniform(0, 0.1)))
    after = len(shared_redis.server.execute("CLIENT", "LIST").splitlines())

    assert [pair for pair in found if pair[0] != pair[1]] == []
    assert len(found) > 100
    assert after - before <= MAX_CONNECTIONS
