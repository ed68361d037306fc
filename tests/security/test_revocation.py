"""Withdrawn access: it is felt at once, and nobody else can say that it was withdrawn. S17, S45.

PROTOCOL §5 decides the close code, which is 4503 where the list of cases has another one.
"""

from __future__ import annotations

import re
import time
from contextlib import AsyncExitStack
from typing import Any

import msgpack
import pytest
import redis
import redis.exceptions

from fanwire_protocol.keys import control_key, revoked_key
from fanwire_publisher import Outgoing, Publisher, PublishRefused
from tests.docs.pages import page
from tests.edge.running import ORDERS, RunningEdge, running_edge
from tests.edge.wire import upgrade_request
from tests.kit.canaries import CANARIES
from tests.kit.redis_server import RedisServer, SharedRedis

PASSWORD = CANARIES.remember("acl-password-77f1c2")
# Where one machine's second ends, another's has begun.
LATER = 20
[FEED] = re.findall(
    r"^ACL SETUSER feed (.+)$", page("docs/guides/security.md").section("Revocation"), re.MULTILINE
)
WHO: dict[str, Any] = {"sub": "u-1", "jti": "t-1"}
SUBJECTS: dict[str, dict[str, Any]] = {"token": {"token": "t-1"}, "user": {"user": "u-1"}, "tenant": {}}
STRANGERS: dict[str, dict[str, Any]] = {"token": {"jti": "t-2"}, "user": {"sub": "u-2"}, "tenant": {}}


async def status_of(edge: RunningEdge, tenant: str, **claims: Any) -> int:
    """Return how a handshake is answered."""
    async with await edge.dial() as wire:
        token = edge.token(tenant, **claims)
        return (await wire.ask(upgrade_request(f"Authorization: Bearer {token}"))).status


def seconds(offset: float = 0) -> int:
    """Return the time in seconds since the epoch, moved by *offset*."""
    return int(time.time() + offset)


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_s17_who_was_revoked_before_does_not_come_in(
    edge: RunningEdge, tenant: str, subject: str
) -> None:
    """By token, user or tenant: 401 from then on, and as before for everybody else."""
    assert await status_of(edge, tenant, **WHO) == 101
    async with edge.publisher() as publisher:
        await publisher.revoke(tenant, **SUBJECTS[subject])
        async with edge.client(f"{tenant}-2") as wire:
            await wire.silence()

    assert await status_of(edge, tenant, **WHO) == 401
    assert await status_of(edge, tenant, **WHO, iat=seconds(-1)) == 401
    assert await status_of(edge, tenant, **WHO, iat=seconds(LATER)) == 101
    if STRANGERS[subject]:
        assert await status_of(edge, tenant, **{**WHO, **STRANGERS[subject]}) == 101
    assert await status_of(edge, f"{tenant}-2", **WHO) == 101


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_s17_who_is_revoked_is_closed_and_gets_no_event_of_later(
    edge: RunningEdge, tenant: str, subject: str
) -> None:
    """4503 within a second, though events go on; not one of them was published after `revoke` returned."""
    async with edge.client(tenant, **WHO) as wire, edge.publisher() as publisher:
        name = f"tenant:{tenant}:resource:orders:*"
        await wire.call({"type": "subscribe", "channel": name}, "subscribed")

        async def publish(payload: str) -> None:
            await publisher.publish(ORDERS, "order.updated", payload, tenant=tenant, resource=(ORDERS, "1"))

        await publish("before")
        assert (await wire.message())["payload"] == "before"
        await publisher.revoke(tenant, **SUBJECTS[subject])
        returned = time.monotonic()
        for _ in range(20):
            await publish("after")
        closing = await wire.closing()

    assert time.monotonic() - returned < 1
    assert (closing.code, closing.farewell["reconnect"]) == (4503, False)
    assert closing.messages[:-1] == []


@pytest.fixture
def guarded(redis_server: RedisServer) -> SharedRedis:
    """A broker with two publishers: `admin` may give orders, `feed`, which is the guide's, may not."""
    rights = "on >… +@all %RW~fanwire:control %RW~fanwire:_revoked", FEED
    for user, rule in zip(("admin", "feed"), rights, strict=True):
        redis_server.execute("ACL", "SETUSER", user, *rule.replace("…", PASSWORD).split())
    return SharedRedis(redis_server, "fanwire")


def url_of(shared: SharedRedis, user: str) -> str:
    """Return the URL of the broker for *user*."""
    return shared.url.replace("redis://", f"redis://{user}:{PASSWORD}@")


async def test_s45_only_who_may_write_control_gives_orders(guarded: SharedRedis) -> None:
    """A publisher without that right publishes, and is refused when it tries to revoke, by any means."""
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(running_edge(guarded))
        wire = await stack.enter_async_context(edge.client())
        feed = await stack.enter_async_context(Publisher.from_url(url_of(guarded, "feed")))
        admin = await stack.enter_async_context(Publisher.from_url(url_of(guarded, "admin")))

        with pytest.raises(PublishRefused, match="NoPermission"):
            await feed.revoke("acme", user="u-1")
        with pytest.raises(PublishRefused, match="NoPermission"):
            await feed.disconnect("acme", user="u-1")
        forged = msgpack.packb({"v": 1, "op": "revoke", "id": "o-1", "at": 1, "tenant": "acme"})
        with redis.Redis(port=guarded.server.port, username="feed", password=PASSWORD) as client:
            for command in (
                ("XADD", control_key("fanwire"), "*", "e", forged),
                ("HSET", revoked_key("fanwire"), "o-1", forged),
                ("HDEL", revoked_key("fanwire"), "o-1"),
                ("DEL", control_key("fanwire")),
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)
        event = Outgoing(ORDERS, "order.updated", 1, tenant="acme", resource=(ORDERS, "1"))
        await feed.publish_many([event, event])
        await wire.silence()

        await admin.revoke("acme", user="u-1")
        assert (await wire.closing()).code == 4503


def recorded(edge: RunningEdge) -> list[bytes]:
    """Return the orders of the control stream, as bytes."""
    entries = edge.redis.server.execute("XRANGE", control_key(edge.redis.prefix), "-", "+")
    return [dict(fields)[b"e"] for _, fields in entries]


async def test_s45_replayed_orders_change_nothing(edge: RunningEdge, tenant: str) -> None:
    """An order that is recorded and added again, in whatever order, ends nobody who came in since, and what
    was revoked stays revoked."""
    key = control_key(edge.redis.prefix)
    async with edge.publisher() as publisher, edge.client(tenant, sub="last") as last:
        await publisher.revoke(tenant, user="u-1")
        await publisher.revoke(tenant, user="u-1")
        await publisher.disconnect(tenant)
        assert (await last.closing()).code == 4504
    orders = recorded(edge)[-3:]

    async with edge.client(tenant, iat=seconds(LATER)) as wire:
        for order in (*orders, *reversed(orders)):
            edge.redis.server.execute("XADD", key, "*", "e", order)
        async with edge.publisher() as publisher, edge.client(tenant, sub="last") as last:
            await publisher.disconnect(tenant, user="last")
            assert (await last.closing()).code == 4504
        await wire.silence()
    assert await status_of(edge, tenant) == 401
    assert await status_of(edge, tenant, iat=seconds(-1)) == 401


@pytest.mark.parametrize(
    "fields",
    [
        {"tenant": None},
        {"tenant": "*"},
        {"v": 2},
        {"at": None},
        {"at": 10**18},
        {"id": None},
        {"user": ["u-1"]},
        {"channels": ["tenant:other:resource:orders:1"]},
        {"channels": ["tenant:*"]},
    ],
    ids=str,
)
async def test_s45_forged_orders_are_not_guessed_at(
    edge: RunningEdge, tenant: str, fields: dict[str, Any]
) -> None:
    """What does not keep the rules is counted and does nothing, least of all to everybody."""
    before = await edge.metric("orders_total", operation="invalid")
    now = int(time.time() * 1000)
    order = {"v": 1, "op": "revoke", "id": f"forged-{tenant}", "at": now, "tenant": tenant, **fields}
    async with edge.client(tenant) as wire, edge.client(tenant, sub="last") as last:
        edge.redis.server.execute("XADD", control_key(edge.redis.prefix), "*", "e", msgpack.packb(order))
        async with edge.publisher() as publisher:
            await publisher.disconnect(tenant, user="last")
        assert (await last.closing()).code == 4504
        await wire.silence()
    assert await edge.metric("orders_total", operation="invalid") == before + 1
