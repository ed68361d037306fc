"""Fixtures for the client's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.scripted_server import ScriptedServer


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A WebSocket server that says what the test tells it to."""
    async with ScriptedServer() as running:
        yield running
