"""Running edges, one for each event loop, which the tests of a process share by tenants of their own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge.running import NO_BUDGETS, RunningEdge, running_edge
from tests.kit.redis_server import RedisServer, SharedRedis

_tenants = itertools.count(1)


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def loop_name(request: pytest.FixtureRequest) -> str:
    """The event loop that the edge runs on."""
    name: str = request.param
    return name


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """An edge with the settings it has by default, but for pings: tests ask with them where they wait."""
    redis = SharedRedis(session_redis, f"edge-{loop_name}")
    async with running_edge(redis, EDGE__LOOP=loop_name, LIMITS__PINGS_PER_SECOND="0") as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def brisk_edge(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """An edge with short times and low limits."""
    redis = SharedRedis(session_redis, f"brisk-{loop_name}")
    async with running_edge(
        redis,
        EDGE__LOOP=loop_name,
        EDGE__UPGRADE_SECONDS="1",
        EDGE__PLAIN_GET_STATUS="400",
        EDGE__MAX_CONNECTIONS="4",
        HEARTBEAT__INTERVAL="0.5",
        HEARTBEAT__TIMEOUT="1.5",
        LIMITS__MAX_CHANNELS="6",
        AUTH__DEFAULT_TENANT="lonely",
        AUTH__SOURCES='["authorization", "subprotocol"]',
        LOGGING__JSON="true",
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lavish_edge(session_redis: RedisServer, loop_name: str) -> AsyncIterator[RunningEdge]:
    """An edge on which clients may ask for as much as they like."""
    redis = SharedRedis(session_redis, f"lavish-{loop_name}")
    async with running_edge(redis, EDGE__LOOP=loop_name, **NO_BUDGETS) as running:
        yield running


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{next(_tenants)}"
