"""Fixtures for tests of the publisher."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(redis_server.address) as proxy:
        yield proxy
