"""Orders to the edges: what is written down, what is told, and what callers are told when that fails."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgpack
import pytest

from fanwire_protocol.orders import Operation, Order, decode_order
from fanwire_publisher import InvalidEvent, Publisher, PublisherClosed, PublishFailed, PublishRefused
from fanwire_publisher._ledger import CONTROL_ENTRIES
from fanwire_publisher._orders import ENDLESS_MS, GRACE_MS, LOOKED_AT, pairs_of
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually
from tests.publisher.reading import announcements, entries

CONTROL, REVOKED = "fanwire:control", "fanwire:_revoked"
CHANNEL = "tenant:acme:resource:orders:*"


def written(server: RedisServer) -> dict[str, Order]:
    """Return the revocations that edges will find."""
    found = {}
    for field, value in pairs(server):
        order = decode_order(value)
        assert isinstance(order, Order)
        found[field.decode()] = order
    return found


def pairs(server: RedisServer) -> list[tuple[bytes, bytes]]:
    """Return the fields of the hash with their values."""
    found: dict[bytes, bytes] = server.execute("HGETALL", REVOKED)
    return list(found.items())


def told(server: RedisServer) -> list[Order]:
    """Return the orders of the control stream."""
    decoded = [decode_order(fields[b"e"]) for _, fields in entries(server, CONTROL)]
    return [order for order in decoded if isinstance(order, Order)]


async def test_a_revocation_is_written_down_and_told(redis_server: RedisServer) -> None:
    """Under one id, which is returned, with all that was said and the time of the call."""
    before = int(time.time() * 1000)
    conditions: dict[str, Any] = {"user": "u-1", "role": "a role", "token": "t-1", "client": "c-1"}
    async with Publisher.from_url(redis_server.url) as publisher:
        id_ = await publisher.revoke("acme", **conditions, channels=[CHANNEL], until=before + 60_000)

    [order] = told(redis_server)
    assert written(redis_server) == {id_: order}
    assert before <= order.at <= int(time.time() * 1000)
    expected = {**conditions, "tenant": "acme", "channels": (CHANNEL,), "until": before + 60_000}
    assert order == Order(Operation.REVOKE, id_, order.at, **expected)


async def test_a_disconnection_is_told_only(redis_server: RedisServer) -> None:
    """It holds for those who are here now, so nobody who comes later has to know of it."""
    async with Publisher.from_url(redis_server.url) as publisher:
        id_ = await publisher.disconnect("acme", user="u-1")

    [order] = told(redis_server)
    assert order == Order(Operation.DISCONNECT, id_, order.at, tenant="acme", user="u-1")
    assert written(redis_server) == {}


async def test_orders_to_every_tenant_have_to_be_allowed(redis_server: RedisServer) -> None:
    """As events to everyone have to."""
    async with Publisher.from_url(redis_server.url, allow_system=True) as publisher:
        await publisher.revoke(None, token="t-1")
        with pytest.raises(InvalidEvent, match="names nobody"):
            await publisher.revoke(None)

    assert [order.tenant for order in told(redis_server)] == [None]


@pytest.mark.parametrize(
    ("tenant", "fields", "path"),
    [
        (None, {"user": "u-1"}, "tenant"),
        ("a:b", {}, "tenant"),
        ("acme", {"user": "no segment"}, "user"),
        ("acme", {"role": ""}, "role"),
        ("acme", {"until": 1.5}, "until"),
        ("acme", {"until": 1}, "until"),
        ("acme", {"channels": []}, "channels"),
        ("acme", {"channels": [CHANNEL, "tenant:other:resource:orders:1"]}, "channels[1]"),
        ("acme", {"channels": ["tenant:acme:user:u-1"]}, "channels[0]"),
        ("acme", {"channels": CHANNEL}, "channels"),
    ],
    ids=str,
)
async def test_what_breaks_the_rules_is_refused_before_anything_is_sent(
    tenant: str | None, fields: dict[str, Any], path: str, redis_server: RedisServer
) -> None:
    """The error names the field."""
    async with Publisher.from_url(redis_server.url) as publisher:
        with pytest.raises(InvalidEvent) as refused:
            await publisher.revoke(tenant, **fields)

    assert refused.value.path.startswith(path)
    assert redis_server.execute("EXISTS", CONTROL, REVOKED) == 0


async def test_lost_replies_are_retried_with_the_same_id(
    proxy: FaultProxy, redis_server: RedisServer
) -> None:
    """The order may then stand in the stream twice, which edges carry out once; the call returns once."""
    async with Publisher.from_url(proxy.url()) as publisher, asyncio.TaskGroup() as group:
        await publisher.disconnect("acme", user="first")
        proxy.down.swallow = True
        revoking = group.create_task(publisher.revoke("acme", user="u-1"))
        await eventually(lambda: written(redis_server))
        proxy.heal()
        proxy.reset()
        id_ = await revoking

    assert {order.id for order in told(redis_server)[1:]} == {id_}
    assert list(written(redis_server)) == [id_]


async def test_an_order_without_an_answer_fails_in_time(proxy: FaultProxy) -> None:
    """With its id, as an event does: it may be carried out or not."""
    async with Publisher.from_url(proxy.url(), retry_seconds=0.3) as publisher:
        await publisher.disconnect("acme", user="first")
        proxy.black_hole()
        with pytest.raises(PublishFailed, match="not confirmed") as failed:
            await publisher.revoke("acme", user="u-1")

    assert type(failed.value) is PublishFailed
    assert len(failed.value.event_id) == 36


async def test_an_order_that_was_never_sent_is_known_to_be_nowhere() -> None:
    """Where no connection could be made."""
    async with FaultProxy(("127.0.0.1", 1)) as proxy:
        proxy.refuse()
        async with Publisher.from_url(proxy.url(), retry_seconds=0.2) as publisher:
            with pytest.raises(PublishRefused, match=r"gave up after 0\.2 s: ConnectionError"):
                await publisher.revoke("acme", user="u-1")


@pytest.mark.parametrize(
    ("allowed", "kind"),
    [(["%R~*"], PublishRefused), ([f"%RW~{REVOKED}"], PublishFailed)],
    ids=["none", "half"],
)
async def test_who_may_not_give_orders_is_told_at_once(
    allowed: list[str], kind: type[PublishFailed], redis_server: RedisServer
) -> None:
    """What is only written down is felt by edges that start later, so it is not refused for certain."""
    redis_server.execute("ACL", "SETUSER", "clerk", "on", ">secret", "+@all", *allowed)
    url = redis_server.url.replace("redis://", "redis://clerk:secret@")
    async with Publisher.from_url(url) as publisher:
        with pytest.raises(PublishFailed, match="NoPermission") as failed:
            await publisher.revoke("acme", user="u-1")

    assert type(failed.value) is kind
    assert told(redis_server) == []


async def test_who_may_not_give_orders_may_publish(redis_server: RedisServer) -> None:
    """Edges find a new topic by the set then, within seconds."""
    keys = ("%RW~fanwire:orders:*", "%RW~fanwire:topics", "%RW~fanwire:_config")
    redis_server.execute("ACL", "SETUSER", "shop", "on", ">secret", "+@all", *keys)
    url = redis_server.url.replace("redis://", "redis://shop:secret@")
    async with Publisher.from_url(url) as publisher:
        await publisher.publish("orders", "x", tenant="acme")

    assert announcements(redis_server, "fanwire") == []
    assert redis_server.execute("SMEMBERS", "fanwire:topics") == {b"orders"}


async def test_a_closed_publisher_gives_no_orders(redis_server: RedisServer) -> None:
    """As it publishes no events."""
    publisher = Publisher.from_url(redis_server.url)
    await publisher.aclose()
    with pytest.raises(PublisherClosed):
        await publisher.revoke("acme", user="u-1")


@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_is_over_is_forgotten_a_little_at_a_time(protocol: int, redis_server: RedisServer) -> None:
    """An hour after its end, whosever clock is right; what has no end after a month, what nobody understands
    never."""
    now = int(time.time() * 1000)

    def order(id_: str, at: int, until: int | None = None) -> tuple[str, bytes]:
        fields = {"v": 1, "op": "revoke", "id": id_, "at": at, "tenant": "acme", "until": until}
        return id_, msgpack.packb(fields)

    kept = [
        order("holds", now - 1000, now + 60_000),
        order("ended lately", now - 7_200_000, now - 60_000),
        order("endless", now - ENDLESS_MS),
        ("broken", b"\xc1"),
        ("another", msgpack.packb({"v": 1, "op": "ask"})),
    ]
    over = [order(f"over-{n}", now - 10**8, now - GRACE_MS - 1000) for n in range(3 * LOOKED_AT)]
    over.append(order("endless and over", now - ENDLESS_MS - GRACE_MS - 1000))
    for each in (*kept, *over):
        redis_server.execute("HSET", REVOKED, *each)
    url = f"{redis_server.url}?protocol={protocol}"
    async with Publisher.from_url(url) as publisher:
        before = len(over)
        await publisher.revoke("acme", user="first", until=now + 60_000)
        left = {field.decode() for field, _ in pairs(redis_server)}
        assert before - LOOKED_AT <= len([field for field in left if "over" in field]) < before
        for _ in range(100):
            await publisher.revoke("acme", user="u-1", until=now + 60_000)
            left = {field.decode() for field, _ in pairs(redis_server)}
            # Later ones crowd out what there is to look at.
            for id_ in left - {id_ for id_, _ in (*kept, *over)}:
                redis_server.execute("HDEL", REVOKED, id_)
            if not any("over" in field for field in left):
                break

    assert left >= {id_ for id_, _ in kept}
    assert not any("over" in field for field in left)


def test_fields_come_in_pairs_or_in_a_row() -> None:
    """As RESP3 and RESP2 have them; an error is none."""
    assert pairs_of([[b"a", b"1"], [b"b", b"2"]]) == pairs_of([b"a", b"1", b"b", b"2"])
    assert pairs_of([]) == []
    assert pairs_of(ValueError()) == ()


async def test_the_control_stream_is_kept_short(redis_server: RedisServer) -> None:
    """Edges that missed what was cut off find it in the hash."""
    script = "for i = 1, 12000 do redis.call('XADD', KEYS[1], '*', 'e', 'x') end"
    redis_server.execute("EVAL", script, 1, CONTROL)
    async with Publisher.from_url(redis_server.url) as publisher:
        await publisher.disconnect("acme")

    assert redis_server.execute("XLEN", CONTROL) <= CONTROL_ENTRIES + 100
