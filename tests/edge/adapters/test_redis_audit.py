"""The audit log as a stream in Redis."""

from __future__ import annotations

import pytest

from fanwire_edge.adapters.redis_audit import RedisAudit
from fanwire_edge.ports import AuditFailed
from tests.kit.redis_server import RedisServer, SharedRedis

LINES = [f'{{"number":{number}}}\n'.encode() for number in range(500)]


async def test_each_line_is_an_entry_without_its_end(shared_redis: SharedRedis) -> None:
    """In order, under the internal key of the prefix."""
    sink = RedisAudit(shared_redis.url, shared_redis.prefix, 100_000)
    await sink.write(LINES[:3])
    sink.reopen()
    await sink.close()

    found = shared_redis.server.execute("XRANGE", f"{shared_redis.prefix}:_audit", "-", "+")
    assert [fields for _, fields in found] == [{b"line": line[:-1]} for line in LINES[:3]]


async def test_the_oldest_entries_go(shared_redis: SharedRedis) -> None:
    """About as many stay as there may be: Redis forgets whole blocks of a hundred."""
    sink = RedisAudit(shared_redis.url, shared_redis.prefix, 100)
    for _ in range(3):
        await sink.write(LINES)
    await sink.close()

    assert 100 <= shared_redis.server.execute("XLEN", f"{shared_redis.prefix}:_audit") <= 300


async def test_a_redis_that_is_away_is_told_and_comes_back(redis_server: RedisServer) -> None:
    """The call does not wait long, and the next one may succeed."""
    sink = RedisAudit(redis_server.url, "fanwire", 100)
    await sink.write(LINES[:1])
    redis_server.kill()
    with pytest.raises(AuditFailed) as caught:
        await sink.write(LINES[1:3])
    assert caught.value.written == 0

    redis_server.restart()
    await sink.write(LINES[3:4])
    await sink.close()

    (entry,) = redis_server.execute("XRANGE", "fanwire:_audit", "-", "+")
    assert entry[1] == {b"line": LINES[3][:-1]}


async def test_a_key_that_is_no_stream_is_told(shared_redis: SharedRedis) -> None:
    """And the lines may be tried again."""
    shared_redis.server.execute("SET", f"{shared_redis.prefix}:_audit", "x")
    sink = RedisAudit(shared_redis.url, shared_redis.prefix, 100)
    with pytest.raises(AuditFailed, match="WRONGTYPE") as caught:
        await sink.write(LINES[:2])
    await sink.close()

    assert caught.value.written == 0
