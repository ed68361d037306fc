"""The broker's side: rights, TLS, poisoned entries, publishers that overreach. S41 to S44."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
import redis.exceptions

from fanwire_protocol.event import encode_event
from fanwire_protocol.keys import control_key, stream_key
from fanwire_publisher import Publisher, PublishRefused
from tests.docs.pages import page
from tests.edge.running import ORDERS, RunningEdge, edge_process, order, running_edge
from tests.kit.canaries import CANARIES
from tests.kit.certificates import Authority
from tests.kit.processes import free_port
from tests.kit.redis_server import RedisServer, SharedRedis

PASSWORD = CANARIES.remember("acl-password-5d0c81")
GUIDE = page("docs/guides/security.md")


def _rights() -> dict[str, list[str]]:
    """Return the `ACL SETUSER` lines of the guide, by user."""
    lines = re.findall(r"^ACL SETUSER (\w+) (.+)$", GUIDE.section("Redis"), re.MULTILINE)
    return {user: rule.replace(">…", f">{PASSWORD}").split() for user, rule in lines}


@pytest.fixture
def guarded(redis_server: RedisServer) -> RedisServer:
    """A broker with the users of the guide, and none without a password."""
    for user, rule in _rights().items():
        redis_server.execute("ACL", "SETUSER", user, *rule)
    return redis_server


def _as(server: RedisServer, user: str) -> str:
    return server.url.replace("redis://", f"redis://{user}:{PASSWORD}@")


async def test_s41_the_rights_of_the_guide_are_enough(guarded: RedisServer) -> None:
    """An edge and a publisher with no others work together, limits and revocations among it."""
    shared = SharedRedis(guarded, "fanwire")
    async with (
        running_edge(
            shared,
            BROKER__URL=_as(guarded, "edge"),
            LIMITS__CONNECTIONS_PER_USER="5",
            LIMITS__ATTEMPTS_PER_MINUTE="100",
            AUTH__SOURCES='["authorization", "api_key"]',
            AUTH__API_KEY__REDIS="true",
            AUDIT__TARGET="redis",
        ) as edge,
        edge.client() as wire,
    ):
        await wire.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}, "subscribed")
        async with Publisher.from_url(_as(guarded, "shop"), prefix="fanwire") as publisher:
            await publisher.publish(ORDERS, "order.updated", 1, tenant="acme", resource=(ORDERS, "1"))
            await wire.message("order.updated")
            await publisher.revoke("acme", user="u-1")
        assert (await wire.closing()).code == 4503
    assert guarded.execute("XLEN", "fanwire:_audit") >= 2
    denied = guarded.execute("ACL", "LOG")
    assert denied == [], denied


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("edge", ("XADD", stream_key("fanwire", ORDERS, 0), "*", "e", "x")),
        ("edge", ("XADD", control_key("fanwire"), "*", "e", "x")),
        ("edge", ("DEL", stream_key("fanwire", ORDERS, 0))),
        ("edge", ("XTRIM", stream_key("fanwire", ORDERS, 0), "MAXLEN", "0")),
        ("edge", ("HSET", "fanwire:_revoked", "a", "b")),
        ("edge", ("HDEL", "fanwire:_revoked", "a")),
        ("edge", ("HSET", "fanwire:_keys", "a", "b")),
        ("edge", ("CONFIG", "GET", "*")),
        ("edge", ("GET", "other")),
        ("edge", ("XRANGE", "other", "-", "+")),
        ("edge", ("FLUSHALL",)),
        ("shop", ("XREAD", "STREAMS", stream_key("fanwire", ORDERS, 0), "0")),
        ("shop", ("XRANGE", stream_key("fanwire", ORDERS, 0), "-", "+")),
        ("shop", ("XADD", "other", "*", "e", "x")),
        ("shop", ("HGETALL", "fanwire:_keys")),
        ("shop", ("ACL", "LIST")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_s41_and_what_neither_needs_is_refused(
    guarded: RedisServer, user: str, command: tuple[str, ...]
) -> None:
    """An edge writes no event and no order, a publisher reads none, and nobody leaves the prefix."""
    with (
        redis.Redis(port=guarded.port, username=user, password=PASSWORD) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command)


@pytest.fixture
def authority() -> Iterator[Authority]:
    """Who signs the broker's certificate."""
    with closing(Authority()) as authority:
        yield authority


def _tls_broker(authority: Authority, port: int, host: str, *, days: int = 1) -> RedisServer:
    file = authority.server_file(host, days=days)
    return RedisServer(
        config={
            "tls-port": str(port),
            "tls-cert-file": file,
            "tls-key-file": file,
            "tls-ca-cert-file": authority.file,
            "tls-auth-clients": "no",
            "requirepass": PASSWORD,
        }
    )


async def test_s42_a_broker_behind_tls_is_read(authority: Authority) -> None:
    """With the right authority and the right name."""
    port = free_port()
    with _tls_broker(authority, port, "localhost") as server:
        url = f"rediss://:{PASSWORD}@localhost:{port}/0?ssl_ca_certs={authority.file}"
        async with running_edge(SharedRedis(server, "tls"), BROKER__URL=url) as edge, edge.client():
            assert await edge.metric("tail_reading") == 1


@pytest.mark.parametrize(
    ("host", "days", "is_trusted"),
    [("localhost", 1, False), ("other.example", 1, True), ("localhost", -1, True)],
    ids=["another authority", "another name", "expired"],
)
async def test_s42_a_broker_that_cannot_prove_who_it_is_is_not_read(
    authority: Authority, host: str, days: int, is_trusted: bool
) -> None:
    """The edge is not ready and says why, without the password."""
    port = free_port()
    with closing(Authority()) as other, _tls_broker(authority, port, host, days=days) as server:
        trusted = authority if is_trusted else other
        url = f"rediss://:{PASSWORD}@localhost:{port}/0?ssl_ca_certs={trusted.file}"
        process, _, ops_port = edge_process(SharedRedis(server, "tls"), BROKER__URL=url)
        async with process:
            await process.wait_for_output("broker_unreachable")
            await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz", 503, 5)
            assert "certificate" in process.output.lower()
            assert PASSWORD not in process.output


POISON: dict[str, Callable[[str], bytes]] = {
    "no msgpack": lambda _: b"\xc1",
    "10 MB": lambda _: b"\xc6" + (10_000_000).to_bytes(4, "big") + bytes(10_000_000),
    "a tenant that is none": lambda tenant: encode_event(order(tenant, 1)).replace(b"tenant-", b"tenant:"),
    "no tenant": lambda _: encode_event(order(None, 1)),
    "a payload that is cut off": lambda tenant: encode_event(order(tenant, 1))[:-3],
}


@pytest.mark.parametrize("what", POISON)
async def test_s43_a_poisoned_entry_is_skipped_once_and_the_topic_flows_on(
    edge: RunningEdge, tenant: str, what: str
) -> None:
    """It is counted and named, and no client is told of a gap."""
    before = await edge.metric("events_invalid_total")
    async with edge.client(tenant) as wire:
        await wire.call({"type": "subscribe", "channel": f"tenant:{tenant}:resource:orders:*"}, "subscribed")
        poisoned = edge.add(ORDERS, POISON[what](tenant))
        edge.add_event(ORDERS, tenant, 7)

        assert (await wire.message())["payload"]["number"] == 7
    assert await edge.metric("events_invalid_total") == before + 1
    assert edge.process.output.count(poisoned) == 1


async def test_s44_a_publisher_keeps_to_the_topics_that_its_rights_name(redis_server: RedisServer) -> None:
    """What it may not write it is told at once, and nobody sees it."""
    rule = [each.replace("~fanwire:*", "~fanwire:shop.*") for each in _rights()["shop"]]
    shared = ("%RW~fanwire:topics", "%RW~fanwire:control", "%RW~fanwire:_config")
    redis_server.execute("ACL", "SETUSER", "shop", *rule, *shared)
    async with Publisher.from_url(_as(redis_server, "shop"), prefix="fanwire") as publisher:
        await publisher.publish("shop.orders", "order.updated", 1, tenant="acme", resource=(ORDERS, "1"))
        with pytest.raises(PublishRefused, match="NoPermission"):
            await publisher.publish("bank.orders", "order.updated", 1, tenant="acme", resource=(ORDERS, "1"))
    assert redis_server.execute("EXISTS", stream_key("fanwire", "bank.orders", 0)) == 0
