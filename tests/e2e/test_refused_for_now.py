"""The Python client at an edge whose authorizer is away for a while."""

from __future__ import annotations

import asyncio

from fanwire_client import Client, Event
from tests.edge.mirror import SERVED, mirrored_edge, order
from tests.kit.redis_server import SharedRedis
from tests.kit.rest_api import Answer, RestApi
from tests.kit.wait import eventually

DEADLINE_SECONDS = 20


async def test_a_client_outlasts_an_authorizer_that_is_away(shared_redis: SharedRedis) -> None:
    """While the API hangs nobody can tell, first for the subscription, then for its renewal: the client asks
    until somebody can, misses nothing of what was published meanwhile, and notes no cut."""
    settings = {"AUTHORIZATION__MAX_AGE": "2", "AUTHORIZATION__DEADLINE_SECONDS": "0.5"}
    with RestApi() as api:
        api.fault = Answer(hang=True)
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            mirrored_edge(shared_redis, api, **settings) as edge,
            Client(
                f"ws://127.0.0.1:{edge.port}/ws", token=edge.token(scope=None), random=lambda: 0.1
            ) as client,
            client.subscribe(order(1)) as subscription,
        ):
            await eventually(lambda: edge.metric("authorizations_total", decision="unavailable"))
            api.fault = SERVED
            await subscription.ready()
            published = [edge.add_event("orders", "acme", 1)]
            found = [await anext(subscription)]

            api.fault = Answer(hang=True)
            await eventually(lambda: edge.metric("subscriptions_ended_total", reason="expired"))
            published += [edge.add_event("orders", "acme", 1) for _ in range(3)]
            asked = api.count()
            await eventually(lambda: api.count() > asked)
            api.fault = SERVED
            found += [await anext(subscription) for _ in range(3)]

            offsets = [item.offset for item in found if isinstance(item, Event)]
            assert [str(offset).partition("@")[2].partition("~")[0] for offset in offsets] == published
            assert (client.statistics().connections, client.statistics().duplicates) == (1, 0)
