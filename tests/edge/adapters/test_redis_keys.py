"""API keys in Redis: a hash of records, each asked for by the SHA-256 of what a client showed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fanwire_edge.adapters.api_keys import ApiKeyVerifier
from fanwire_edge.adapters.redis_keys import RedisApiKeys
from fanwire_edge.adapters.redis_lookup import RedisLookup
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.codec import encode_msgpack
from fanwire_protocol.keys import api_keys_key
from tests.kit.canaries import CANARIES
from tests.kit.redis_server import RedisServer, SharedRedis

NOW = 1_800_000_000.0
KEY = CANARIES.remember("fw_canary-0123456789abcdef")
SHA256 = hashlib.sha256(KEY.encode()).hexdigest()
GOOD: dict[str, Any] = {"id": "ci-1", "user": "u-1", "tenant": "acme"}


@pytest.fixture
async def keys(shared_redis: SharedRedis) -> AsyncIterator[ApiKeyVerifier]:
    """Verifies by the hash of a prefix of its own."""
    lookup = RedisLookup(shared_redis.url)
    yield ApiKeyVerifier(RedisApiKeys(lookup, shared_redis.prefix, None), lambda: NOW)
    await lookup.close()


def put(redis: SharedRedis, value: bytes) -> None:
    redis.server.execute("HSET", api_keys_key(redis.prefix), SHA256, value)


async def test_a_key_identifies_its_owner(shared_redis: SharedRedis, keys: ApiKeyVerifier) -> None:
    """Any program that can write the hash makes keys; the record need not repeat it."""
    put(shared_redis, encode_msgpack({**GOOD, "roles": ["bot"], "expires": NOW + 5}))

    assert await keys.verify(KEY) == Principal("u-1", "acme", ("bot",), expires_at=NOW + 5, token_id="ci-1")


async def test_a_key_that_is_not_there_or_over_identifies_nobody(
    shared_redis: SharedRedis, keys: ApiKeyVerifier
) -> None:
    """Nor does one under another's hash."""
    with pytest.raises(InvalidToken, match="not known"):
        await keys.verify(KEY)
    put(shared_redis, encode_msgpack({**GOOD, "expires": NOW}))
    with pytest.raises(InvalidToken, match="expired"):
        await keys.verify(KEY)
    put(shared_redis, encode_msgpack({**GOOD, "sha256": "0" * 64}))
    with pytest.raises(InvalidToken, match="not known"):
        await keys.verify(KEY)


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"\xc1", encode_msgpack([GOOD]), encode_msgpack({**GOOD, "user": 7})],
    ids=["empty", "JSON", "no msgpack", "a list", "a user that is none"],
)
async def test_a_record_that_cannot_be_meant_lets_nobody_in(
    shared_redis: SharedRedis, keys: ApiKeyVerifier, value: bytes
) -> None:
    """It is somebody's mistake, and not the client's."""
    put(shared_redis, value)

    with pytest.raises(VerifierUnavailable, match=SHA256[:8]) as caught:
        await keys.verify(KEY)
    assert SHA256 not in str(caught.value)


async def test_adapter_errors_for_key_lookups_fail_closed(redis_server: RedisServer) -> None:
    """K1, K11: a Redis that is away, refuses or hangs is `unavailable`; when back, it knows its keys."""
    lookup = RedisLookup(redis_server.url)
    keys = ApiKeyVerifier(RedisApiKeys(lookup, "fanwire", None), lambda: NOW)
    redis_server.execute("SET", "fanwire:_keys", "no hash")
    with pytest.raises(VerifierUnavailable, match="WRONGTYPE"):
        await keys.verify(KEY)
    redis_server.kill()
    with pytest.raises(VerifierUnavailable, match="Redis does not tell"):
        await keys.verify(KEY)
    redis_server.start()
    redis_server.execute("HSET", "fanwire:_keys", SHA256, encode_msgpack(GOOD))
    assert (await keys.verify(KEY)).user == "u-1"
    redis_server.pause()
    began = time.monotonic()
    with pytest.raises(VerifierUnavailable):
        await keys.verify(KEY)
    assert time.monotonic() - began < 5
    redis_server.resume()
    assert (await keys.verify(KEY)).user == "u-1"
    await lookup.close()
