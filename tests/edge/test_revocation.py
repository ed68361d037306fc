"""Revocations and disconnections: who is ended, who is kept out, and what an edge does that missed some."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import msgpack
import pytest

from fanwire_edge.control import STALE_MS
from fanwire_protocol import JsonValue
from fanwire_protocol.event import encode_event
from fanwire_protocol.keys import control_key, revoked_key, stream_key
from fanwire_publisher import Outgoing, Publisher
from tests.edge.running import ORDERS, RunningEdge, order, running_edge
from tests.edge.wire import Closing, HttpAnswer, Wire, upgrade_request
from tests.kit.processes import http_status
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

PERMISSION_CHANGED, PERMISSION_REVOKED, DISCONNECTED = 4003, 4503, 4504
# Issued a moment after now: by another machine's clock, which an edge accepts.
LATER = 20


def seconds(offset: float = 0) -> int:
    """Return the time in seconds since the epoch, moved by *offset*."""
    return int(time.time() + offset)


def milliseconds(offset_seconds: float = 0) -> int:
    """Return the time in milliseconds since the epoch, moved by *offset_seconds*."""
    return int((time.time() + offset_seconds) * 1000)


def entry(op: str, **fields: Any) -> bytes:
    """Return a control entry as any program can write it."""
    packed: bytes = msgpack.packb({"v": 1, "op": op, "id": f"{op}-1", "at": milliseconds(), **fields})
    return packed


def tell(edge: RunningEdge, data: bytes, *, revoked: str | None = None) -> str:
    """Add an entry to the control stream, and before that, where *revoked* is its id, to the hash."""
    redis, prefix = edge.redis.server, edge.redis.prefix
    if revoked is not None:
        redis.execute("HSET", revoked_key(prefix), revoked, data)
    added: bytes = redis.execute("XADD", control_key(prefix), "*", "e", data)
    return added.decode()


async def knock(edge: RunningEdge, tenant: str, **claims: Any) -> HttpAnswer:
    """Ask for a WebSocket and return the answer."""
    async with await edge.dial() as wire:
        return await wire.ask(upgrade_request(f"Authorization: Bearer {edge.token(tenant, **claims)}"))


async def is_refused(edge: RunningEdge, tenant: str) -> bool:
    """Tell whether the tenant's users are kept out."""
    return (await knock(edge, tenant)).status == 401


async def closed(wire: Wire, code: int, *, reconnect: bool) -> Closing:
    """Wait for the end, which is this *code*, told before in a frame."""
    closing = await wire.closing()
    assert closing.code == code
    assert (closing.farewell["code"], closing.farewell["reconnect"]) == (code, reconnect)
    return closing


@asynccontextmanager
async def listening(edge: RunningEdge, tenant: str, *ids: str, **claims: Any) -> AsyncIterator[Wire]:
    """Connect, and subscribe to orders."""
    async with edge.client(tenant, **claims) as wire:
        channels = [f"tenant:{tenant}:resource:orders:{id_}" for id_ in ids]
        await wire.call({"type": "subscribe", "channels": channels}, "subscribed")
        yield wire


async def test_a_revoked_user_is_gone_and_stays_away(edge: RunningEdge, tenant: str) -> None:
    """All connections of the user close with 4503 and what was issued up to then is refused. Others stay, and
    so does a credential that is issued later."""
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(edge.publisher())
        user = [await stack.enter_async_context(edge.client(tenant, sub="u-1")) for _ in range(3)]
        other = await stack.enter_async_context(edge.client(tenant, sub="u-2"))
        elsewhere = await stack.enter_async_context(edge.client(f"{tenant}x", sub="u-1"))

        await publisher.revoke(tenant, user="u-1")

        for wire in user:
            await closed(wire, PERMISSION_REVOKED, reconnect=False)
        refused = await knock(edge, tenant, sub="u-1", iat=seconds(-1))
        assert (refused.status, refused.error["code"]) == (401, "unauthenticated")
        assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert (await knock(edge, tenant, sub="u-1")).status == 401, "it does not say when it was issued"
        assert (await knock(edge, tenant, sub="u-1", iat=seconds(LATER))).status == 101
        await other.silence()
        await elsewhere.silence()


@pytest.mark.parametrize(
    "conditions",
    [
        {"role": "clerk"},
        {"token": "t-1"},
        {"user": "u-1", "role": "clerk"},
        {"user": "u-1", "role": "no segment!"},
        {"role": "no segment!"},
        {"user": "u-1", "role": "clerk", "token": "t-1"},
        {},
    ],
    ids=str,
)
async def test_conditions_say_who_is_meant(
    edge: RunningEdge, tenant: str, conditions: dict[str, Any]
) -> None:
    """Whoever meets all of them is ended and kept out, everybody else stays."""
    claims = {"sub": "u-1", "roles": ["clerk", "no segment!"], "jti": "t-1"}
    names = {"user": "sub", "token": "jti"}
    others = [
        {**claims, names[name]: "another"} if name in names else {**claims, "roles": ["guest"]}
        for name in conditions
    ]
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(edge.publisher())
        meant = await stack.enter_async_context(edge.client(tenant, **claims))
        spared = [await stack.enter_async_context(edge.client(tenant, **each)) for each in others]

        await publisher.revoke(tenant, **conditions)

        await closed(meant, PERMISSION_REVOKED, reconnect=False)
        assert (await knock(edge, tenant, **claims)).status == 401
        for wire, each in zip(spared, others, strict=True):
            await wire.silence()
            assert (await knock(edge, tenant, **each)).status == 101


async def test_one_connection_can_be_ended(edge: RunningEdge, tenant: str) -> None:
    """By its id, which no credential is tied to: the user may open another one."""
    async with edge.client(tenant) as one, edge.client(tenant) as other, edge.publisher() as publisher:
        await publisher.revoke(tenant, client=one.client_id)

        await closed(one, PERMISSION_REVOKED, reconnect=False)
        await other.silence()
        assert (await knock(edge, tenant)).status == 101


async def test_a_revocation_ends(edge: RunningEdge, tenant: str) -> None:
    """At `until` old credentials are good again."""
    async with edge.client(tenant) as wire, edge.publisher() as publisher:
        await publisher.revoke(tenant, user="u-1", until=milliseconds(1))
        await closed(wire, PERMISSION_REVOKED, reconnect=False)
        assert (await knock(edge, tenant)).status == 401

        async def is_let_in() -> bool:
            return (await knock(edge, tenant)).status == 101

        await eventually(is_let_in, 5)


async def test_who_was_issued_later_is_not_ended(edge: RunningEdge, tenant: str) -> None:
    """An order that comes late finds a new credential, which it was not given for."""
    async with edge.client(tenant, iat=seconds(LATER)) as wire, edge.client(tenant) as old:
        tell(edge, entry("revoke", tenant=tenant, user="u-1"))

        await closed(old, PERMISSION_REVOKED, reconnect=False)
        await wire.silence()


async def test_no_event_behind_a_revocation_comes_through(edge: RunningEdge, tenant: str) -> None:
    """What is added to the log later than a revocation does not reach who was revoked, at any pace."""
    redis, prefix = edge.redis, edge.redis.prefix
    async with listening(edge, tenant, "*") as wire, listening(edge, tenant, "*", sub="u-2") as other:
        async with redis.client() as client, client.pipeline(transaction=True) as pipeline:
            revocation = entry("revoke", tenant=tenant, user="u-1")
            pipeline.execute_command("XADD", control_key(prefix), "*", "e", revocation)
            for number in range(50):
                event = encode_event(order(tenant, number))
                pipeline.execute_command("XADD", stream_key(prefix, ORDERS, 0), "*", "e", event)
            await pipeline.execute()

        closing = await closed(wire, PERMISSION_REVOKED, reconnect=False)
        assert [message["type"] for message in closing.messages] == ["disconnect"]
        assert len(await other.messages(50)) == 50


async def test_a_disconnected_user_may_come_back(edge: RunningEdge, tenant: str) -> None:
    """4504 says not to come back by oneself, and nothing keeps the user out."""
    async with edge.client(tenant) as wire, edge.client(tenant, sub="u-2") as other:
        async with edge.publisher() as publisher:
            await publisher.disconnect(tenant, user="u-1")

        await closed(wire, DISCONNECTED, reconnect=False)
        await other.silence()
        assert (await knock(edge, tenant)).status == 101


async def test_an_order_is_carried_out_once(edge: RunningEdge, tenant: str) -> None:
    """A `disconnect` that is added again, or was given long before its entry, ends nobody."""
    again = entry("disconnect", tenant=tenant, id=f"again-{tenant}")
    stale = entry("disconnect", tenant=tenant, id=f"stale-{tenant}", at=milliseconds(-STALE_MS / 1000 - 1))
    async with edge.client(tenant) as wire:
        tell(edge, again)
        await closed(wire, DISCONNECTED, reconnect=False)
    async with edge.client(tenant) as wire:
        for data in (again, stale):
            entry_id = tell(edge, data)
            await eventually(lambda: entry_id in edge.process.output)  # noqa: B023
        await wire.silence()


async def test_a_channel_is_withdrawn(edge: RunningEdge, tenant: str) -> None:
    """Whoever is on it, or on a pattern that holds it, is sent to come back (4003), and what the claims of
    old credentials say of it counts no more. Other channels are as before."""
    channel = f"tenant:{tenant}:resource:orders:42"
    async with AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(edge.publisher())
        on_it, on_all, elsewhere = [
            await stack.enter_async_context(listening(edge, tenant, id_)) for id_ in ("42", "*", "43")
        ]

        await publisher.revoke(tenant, user="u-1", channels=[channel])

        await closed(on_it, PERMISSION_CHANGED, reconnect=True)
        await closed(on_all, PERMISSION_CHANGED, reconnect=True)
        await elsewhere.silence()
        for name in (channel, f"tenant:{tenant}:resource:orders:*"):
            error = await elsewhere.call({"type": "subscribe", "channel": name}, "error")
            assert (error["channel"], error["payload"]["code"]) == (name, "forbidden")
        async with listening(edge, tenant, "42", iat=seconds(LATER)) as newer:
            await newer.silence()
        async with listening(edge, tenant, "42", sub="u-2") as other:
            await other.silence()


@pytest.mark.parametrize(
    "broken",
    [
        b"\xc1",
        msgpack.packb([1]),
        entry("revoke"),
        entry("revoke", tenant="no segment!"),
        entry("revoke", tenant="acme", at="now"),
        entry("revoke", tenant="acme", v=2),
        entry("disconnect", tenant="acme", channels=["tenant:acme:resource:orders:1"]),
    ],
    ids=["no msgpack", "a list", "for nobody", "tenant", "at", "version", "channels"],
)
async def test_a_broken_order_is_counted_and_stops_nothing(
    edge: RunningEdge, tenant: str, broken: bytes
) -> None:
    """It is logged with the id of its entry, and the next order is carried out."""
    before = await edge.metric("orders_total", operation="invalid")
    async with edge.client(tenant) as wire, edge.publisher() as publisher:
        entry_id = tell(edge, broken)
        await publisher.revoke(tenant, user="u-1")
        await closed(wire, PERMISSION_REVOKED, reconnect=False)

    assert await edge.metric("orders_total", operation="invalid") == before + 1
    told = [line for line in edge.process.output.splitlines() if entry_id in line]
    assert len(told) == 1
    assert "control_invalid" in told[0]


async def test_revocations_are_measured(edge: RunningEdge, tenant: str) -> None:
    """From the broker's clock to the last goodbye, where there was any."""
    name = "revocation_latency_seconds_count"
    before = await edge.metric(name)
    async with edge.client(tenant) as wire, edge.publisher() as publisher:
        await publisher.revoke(tenant, user="nobody")
        await publisher.revoke(tenant, user="u-1")
        await closed(wire, PERMISSION_REVOKED, reconnect=False)

    assert await edge.metric(name) == before + 1


@pytest.fixture
async def unsubscribing(shared_redis: SharedRedis) -> AsyncIterator[RunningEdge]:
    """An edge that ends subscriptions and keeps connections."""
    async with running_edge(shared_redis, AUTHORIZATION__ON_REVOKE="unsubscribe") as running:
        yield running


async def test_a_subscription_ends_and_the_connection_stays(unsubscribing: RunningEdge, tenant: str) -> None:
    """`authorization.on_revoke = "unsubscribe"`: it is told once what has ended, and nothing more of it
    comes."""
    edge = unsubscribing
    orders = f"tenant:{tenant}:resource:orders"
    async with listening(edge, tenant, "42", "43", "*") as wire, edge.publisher() as publisher:
        await publisher.revoke(tenant, user="u-1", channels=[f"{orders}:42"])

        told = await wire.message("unsubscribed")
        assert told["payload"]["reason"] == "revoked"
        assert set(told["payload"]["channels"]) == {f"{orders}:42", f"{orders}:*"}
        edge.add_event(ORDERS, tenant, 42)
        edge.add_event(ORDERS, tenant, 44)
        edge.add_event(ORDERS, tenant, 43)
        assert (await wire.message("order.updated"))["payload"]["number"] == 43
        error = await wire.call({"type": "subscribe", "channel": f"{orders}:42", "since": {}}, "error")
        assert error["payload"]["code"] == "forbidden"


async def test_a_replay_of_a_withdrawn_channel_stops(unsubscribing: RunningEdge, tenant: str) -> None:
    """What a connection that is behind has not got yet of it, it does not get."""
    edge, count = unsubscribing, 1500
    orders = f"tenant:{tenant}:resource:orders"
    begin = {"orders": edge.add_event(ORDERS, tenant, 1) + "~" + await identity(edge)}
    async with edge.client(tenant) as wire, edge.publisher() as publisher:
        # Far more of the first than sockets hold, and only then the second.
        for number in range(2):
            payload: JsonValue = {"number": number, "filler": "x" * 5000}
            each = Outgoing(ORDERS, "order.updated", payload, tenant=tenant, resource=("orders", str(number)))
            await publisher.publish_many([each] * count)
        transport = cast(asyncio.Transport, wire.writer.transport)
        transport.pause_reading()
        wire.send({"type": "subscribe", "channels": [f"{orders}:0", f"{orders}:1"], "since": begin})
        await eventually(lambda: edge.metric("connections_behind"), 5)
        await publisher.revoke(tenant, channels=[f"{orders}:1"])
        await eventually(lambda: edge.metric("subscriptions_ended_total", reason="revoked"), 5)
        transport.resume_reading()

        await wire.message("subscribed")
        numbers = []
        while (message := await wire.message())["type"] == "order.updated":
            numbers.append(message["payload"]["number"])
        assert (message["type"], message["payload"]["channels"]) == ("unsubscribed", [f"{orders}:1"])
        while len(numbers) < count:
            numbers.append((await wire.message("order.updated"))["payload"]["number"])
        await wire.silence()

    assert numbers == [0] * count


async def identity(edge: RunningEdge) -> str:
    """Return what positions of the broker end with."""
    async with edge.redis.client() as client:
        info = await client.info("replication")
    return str(info["master_replid"])[:8]


async def test_an_edge_that_starts_knows_what_was_revoked(shared_redis: SharedRedis, tenant: str) -> None:
    """Before it is ready it has read the hash; what does not decode there is passed over."""
    async with Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix) as publisher:
        await publisher.revoke(tenant, user="u-1")
        await publisher.revoke(tenant, user="u-2", channels=[f"tenant:{tenant}:resource:orders:1"])
    shared_redis.server.execute("HSET", revoked_key(shared_redis.prefix), "broken", b"\xc1")
    async with running_edge(shared_redis) as edge:
        assert (await knock(edge, tenant)).status == 401
        async with edge.client(tenant, sub="u-2") as wire:
            names = [f"tenant:{tenant}:resource:orders:{number}" for number in (1, 2)]
            wire.send({"type": "subscribe", "channels": names})
            assert (await wire.message("error"))["channel"] == names[0]
            assert (await wire.message("subscribed"))["payload"]["channels"] == names[1:]


async def test_nobody_comes_in_while_it_is_unknown_what_was_revoked(
    shared_redis: SharedRedis, tenant: str
) -> None:
    """An edge that cannot read the hash is not ready, answers 503, and goes on by itself once it can."""
    key = revoked_key(shared_redis.prefix)
    async with running_edge(shared_redis) as edge:
        shared_redis.server.execute("SET", key, "no hash")
        async with edge.client(tenant) as wire:
            lose_control(edge)
            await eventually(lambda: status_of(edge, 503), 10)
            answer = await knock(edge, tenant)
            assert (answer.status, answer.error["code"]) == (503, "unavailable")
            shared_redis.server.execute("DEL", key)
            await eventually(lambda: status_of(edge, 200), 10)
            await wire.silence()


async def status_of(edge: RunningEdge, expected: int) -> bool:
    """Tell whether /readyz answers *expected*."""
    status = await asyncio.to_thread(http_status, edge.ops_url("/readyz"))
    return status == expected


def lose_control(edge: RunningEdge) -> None:
    """Add entries to the control stream and trim it before the edge can read the first of them."""
    add, trim = "redis.call('XADD', KEYS[1], '*', 'e', ARGV[1])", "redis.call('XTRIM', KEYS[1], 'MAXLEN', 1)"
    script = f"for i = 1, 3 do {add} end {trim}"
    edge.redis.server.execute("EVAL", script, 1, control_key(edge.redis.prefix), entry("ask"))


async def test_a_hole_in_the_control_stream_is_made_good(shared_redis: SharedRedis, tenant: str) -> None:
    """An order whose entry was trimmed before the edge read it is found in the hash."""
    async with (
        running_edge(shared_redis) as edge,
        edge.client(tenant) as wire,
        edge.client(tenant, sub="u-2") as other,
    ):
        data = entry("revoke", tenant=tenant, user="u-1")
        shared_redis.server.execute("HSET", revoked_key(shared_redis.prefix), "hole", data)
        lose_control(edge)

        await closed(wire, PERMISSION_REVOKED, reconnect=False)
        await other.silence()
        assert (await knock(edge, tenant)).status == 401


async def test_another_broker_is_asked_anew(redis_server: RedisServer, tenant: str) -> None:
    """When the broker's identity changes, what its hash says is carried out on open connections. What the
    edge knows from before, and the broker has lost, holds on."""
    redis = SharedRedis(redis_server, "fanwire")
    async with running_edge(redis) as edge, edge.client(tenant) as wire:
        async with edge.publisher() as publisher:
            await publisher.revoke(f"{tenant}x")
            await eventually(lambda: is_refused(edge, f"{tenant}x"))
        redis_server.restart()
        redis_server.execute("HSET", revoked_key("fanwire"), "x", entry("revoke", tenant=tenant))

        closing = await wire.closing(10)
        assert closing.code == PERMISSION_REVOKED
        await edge.process.wait_for_http(edge.ops_url("/readyz"), 200)
        assert await is_refused(edge, f"{tenant}x")
