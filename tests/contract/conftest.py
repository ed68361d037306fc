"""Every suite of this folder that asks for a `broker` runs on each of them."""

from __future__ import annotations

import pytest

from tests.contract.brokers import Broker, Memory, Redis


@pytest.fixture(params=["memory", "redis"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """A broker of the test's own, empty."""
    if request.param == "memory":
        return Memory()
    return Redis(request.getfixturevalue("redis_server"))
