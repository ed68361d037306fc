"""A publisher in one process, two edges in two more, one Redis; clients of another make."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.listener import Listener, listening
from tests.e2e.publishing import Call, publish_in_child
from tests.e2e.truth import Written, check, is_on
from tests.e2e.writer import in_log_order, resource
from tests.kit.edges import edge_on
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

TENANTS = ("acme", "globex", "initech")
TOPICS = ("orders", "invoices", "projects")
READ_ALL = ["orders:read", "invoices:read", "projects:read"]
CALLS = 600

# The channels of each client of each tenant, and who it is.
CLIENTS: Sequence[tuple[dict[str, Any], tuple[str, ...]]] = (
    ({"sub": "u-1", "roles": ["admin"]}, ("orders:1",)),
    ({"sub": "u-1", "roles": ["viewer"]}, ("orders:*",)),
    ({"sub": "u-2", "roles": ["admin", "viewer"]}, ("orders:1", "orders:*", "invoices:2")),
    ({"sub": "u-3"}, ("*", "projects:*", "projects:3")),
    ({"sub": "u-4"}, ()),
)


def _any_call(chance: random.Random, clients: Sequence[tuple[str, str]]) -> Call:
    """Return one call of any kind, and the topic and channels that the contract gives it."""
    tenant = chance.choice(TENANTS)
    topic, id_ = chance.choice(TOPICS), str(chance.randrange(4))
    user, role = f"u-{chance.randrange(1, 5)}", chance.choice(("admin", "viewer"))
    own, other = resource(topic, id_, tenant), f"tenant:{tenant}:user:{user}"
    tenant_of_client, client_id = chance.choice(clients)
    kinds = {
        "resource": Call("publish", (topic,), {"tenant": tenant, "resource": (topic, id_)}, topic, (own,)),
        "both": Call(
            "publish",
            (topic,),
            {"tenant": tenant, "resource": (topic, id_), "to": ("user", user)},
            topic,
            (own, other),
        ),
        "channel": Call("publish_channel", (own,), {}, "channels", (own,)),
        "user": Call("send_to_user", (tenant, user), {}, "direct", (other,)),
        "role": Call("send_to_role", (tenant, role), {}, "direct", (f"tenant:{tenant}:role:{role}",)),
        "connection": Call(
            "send_to_connection",
            (tenant_of_client, client_id),
            {},
            "direct",
            (f"tenant:{tenant_of_client}:connection:{client_id}",),
        ),
        "all": Call("broadcast", (tenant,), {}, "direct", (f"tenant:{tenant}:all",)),
        "system": Call("broadcast", (None,), {}, "system", ("system:all",)),
    }
    [kind] = chance.choices(tuple(kinds), weights=(8, 3, 2, 2, 2, 2, 1, 1))
    return kinds[kind]


def _due(listener: Listener, written: Sequence[Written]) -> int:
    names = listener.names
    return sum(any(is_on(name, channel) for name in names) for each in written for channel in each.channels)


@pytest.mark.parametrize("partitions", [1, 4])
async def test_every_client_gets_its_events_once_in_order_and_no_others(
    partitions: int, shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Exact, wildcard and server-joined channels of three tenants on two edges: exactly what is due."""
    settings = {"FANWIRE_BROKER__PARTITIONS": str(partitions)}
    async with (
        edge_on(shared_redis, **settings) as first,
        edge_on(shared_redis, **settings) as second,
        AsyncExitStack() as stack,
    ):
        listeners: list[tuple[str, Listener]] = []
        for edge in (first, second):
            for tenant in TENANTS:
                for claims, names in CLIENTS:
                    channels = [f"tenant:{tenant}:resource:{name}" for name in names]
                    rights = {"permissions": READ_ALL, "channels": [f"tenant:{tenant}:resource:*"]}
                    client = listening(edge.url, *channels, claims={"tenant": tenant, **claims, **rights})
                    listeners.append((tenant, await stack.enter_async_context(client)))
        chance = random.Random(partitions)
        ids = [(tenant, listener.client_id) for tenant, listener in listeners]
        calls = [_any_call(chance, ids) for _ in range(CALLS)]

        written = in_log_order(
            await publish_in_child(shared_redis.url, shared_redis.prefix, partitions, calls, tmp_path)
        )

        for _, listener in listeners:
            due = _due(listener, written)
            await eventually(lambda: len(listener.events) >= due, 10, "all events")  # noqa: B023
            await listener.ping()
            report = check(listener, written)
            assert (report.delivered, report.missing, report.gaps) == (due, [], {})
        for tenant, listener in listeners:
            foreign = [each for each in TENANTS if each != tenant]
            assert not any(f"tenant:{other}:" in str(listener.events) for other in foreign)
        print(f"{CALLS} events became {sum(len(each.events) for _, each in listeners)} frames")  # noqa: T201
