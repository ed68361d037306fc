"""The contract of `RevocationSource`: every adapter keeps it."""

from __future__ import annotations

import pytest

from fanwire_edge.adapters.redis_revocations import PAGE_FIELDS, RedisRevocations
from fanwire_edge.ports import RevocationSource, TailLost
from fanwire_protocol.keys import revoked_key
from tests.contract.brokers import PREFIX, Broker
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer


async def read(source: RevocationSource) -> dict[str, bytes]:
    """Return everything that was written down."""
    found: dict[str, bytes] = {}
    async for page in source.pages():
        found.update(page)
    return found


async def test_what_was_written_down_is_found(broker: Broker) -> None:
    """All of it, as it is, however much; and what is added later the next time."""
    source = broker.revocations()
    assert await read(source) == {}

    for number in range(2 * PAGE_FIELDS):
        broker.revoke(f"o-{number}", bytes([number % 256]))
    assert await read(source) == {f"o-{n}": bytes([n % 256]) for n in range(2 * PAGE_FIELDS)}
    broker.revoke("late", b"order")
    assert (await read(source))["late"] == b"order"


async def test_a_broker_that_is_away_is_told(broker: Broker) -> None:
    """And asked again when it is back."""
    source = broker.revocations()
    broker.stop()
    with pytest.raises(TailLost):
        await read(source)
    broker.restart()
    assert await read(source) == {}


async def test_a_silent_broker_is_not_waited_for(redis_server: RedisServer) -> None:
    """Each page has a deadline."""
    async with FaultProxy(redis_server.address) as proxy:
        source = RedisRevocations(proxy.url(), PREFIX)
        proxy.black_hole()
        with pytest.raises(TailLost):
            await read(source)


async def test_a_key_that_is_no_hash_is_told(redis_server: RedisServer) -> None:
    """Nothing is known then, rather than nothing revoked."""
    redis_server.execute("SET", revoked_key(PREFIX), "text")
    with pytest.raises(TailLost, match="WRONGTYPE"):
        await read(RedisRevocations(f"{redis_server.url}?decode_responses=true", PREFIX))


async def test_a_text_that_is_none_is_no_reason_to_stop(redis_server: RedisServer) -> None:
    """Fields may have any bytes; what they are called is for the log only."""
    redis_server.execute("HSET", revoked_key(PREFIX), b"\xff", b"\xc1")
    assert await read(RedisRevocations(redis_server.url, PREFIX)) == {"\ufffd": b"\xc1"}
