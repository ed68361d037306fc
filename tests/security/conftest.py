"""A running edge that the cases share, each with a tenant of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.edge.running import RunningEdge, running_edge
from tests.kit.redis_server import RedisServer, SharedRedis

_tenants = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge with the settings it has by default."""
    async with running_edge(SharedRedis(session_redis, "security")) as running:
        yield running


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{next(_tenants)}"
