"""Fixtures for all tests."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.kit.canary_hook import pytest_runtest_makereport as pytest_runtest_makereport
from tests.kit.redis_server import RedisServer, SharedRedis

# A busy machine may take a second for any example. `make test` tries the same examples each time, so that it
# fails for what was changed; `make faults` looks further.
settings.register_profile("fanwire", deadline=None, derandomize="FANWIRE_TEST_LONG" not in os.environ)
settings.load_profile("fanwire")

# A shell's background job ignores Ctrl-C, and so would every child that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count(1)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """An own, empty redis-server; for tests that kill, stop or configure it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def session_redis() -> Iterator[RedisServer]:
    """The server behind `shared_redis`; tests never kill, stop or flush it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def shared_redis(session_redis: RedisServer) -> SharedRedis:
    """A prefix of its own on a server that all tests of the process share."""
    return SharedRedis(session_redis, f"t{next(_numbers)}")
