"""What a refresh takes away is gone: decisions from before, and roles that are revoked in its middle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.edge.mirror import SERVED, guest, mirrored_edge, order, refusals, subscribe, subscribed
from tests.edge.running import RunningEdge
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.rest_api import Answer, RestApi
from tests.kit.wait import eventually


@pytest.fixture(scope="module")
def api() -> Iterator[RestApi]:
    """A REST API, which each test tells what it serves to whom."""
    with RestApi() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mirror(session_redis: RedisServer, api: RestApi) -> AsyncIterator[RunningEdge]:
    """An edge that keeps what it was told for an hour."""
    async with mirrored_edge(SharedRedis(session_redis, "refreshed"), api) as edge:
        yield edge


def _later(edge: RunningEdge, api: RestApi, *served: str, **claims: Any) -> dict[str, Any]:
    """Return the command that shows another token, to which the API serves these paths."""
    token = edge.token(scope=None, jti="later", **claims)
    api.table.update({(f"Bearer {token}", path): SERVED for path in ("/me", *served)})
    return {"type": "authenticate", "token": token}


async def test_a_decision_for_the_token_of_before_counts_for_no_new_subscription(
    mirror: RunningEdge, api: RestApi
) -> None:
    """Who was on a channel, left it and shows a token that may not read it is not let back on it."""
    async with guest(mirror, api, "/orders/1") as client:
        await subscribed(client, order(1))
        await client.call({"type": "unsubscribe", "channel": order(1)}, "unsubscribed")
        await client.call(_later(mirror, api), "authenticated")

        refused = await client.call(subscribe(order(1)), "error")

        assert refusals([refused]) == {order(1): ("forbidden", 403)}


async def test_a_role_that_is_revoked_in_the_middle_of_a_refresh_ends_the_connection(
    mirror: RunningEdge, api: RestApi
) -> None:
    """The connection goes by the new token already, but is not on the channels of its roles yet."""
    async with guest(mirror, api, "/orders/2") as client, mirror.publisher() as publisher:
        await subscribed(client, order(2))
        command = _later(mirror, api, roles=["admin"])
        api.table[f"Bearer {command['token']}", "/orders/2"] = Answer(SERVED, delay_seconds=1.5)
        asked = api.count("/orders/2")
        client.send(command)
        await eventually(lambda: api.count("/orders/2") > asked)

        await publisher.revoke("acme", role="admin")

        assert (await client.closing()).code == 4503
