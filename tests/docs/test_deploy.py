"""The Redis settings in deploy/ are ones that a server takes."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import aiohttp
import pytest
from redis.exceptions import ResponseError

from tests.docs.pages import ROOT
from tests.kit.edges import EdgeProcess
from tests.kit.processes import Process, free_port
from tests.kit.redis_server import RedisServer, connect, redis_program
from tests.kit.tokens import make_token

CONF = ROOT / "deploy" / "redis" / "fanwire.conf"
SETTINGS = dict(re.findall(r"^([a-z-]+) (\S+)$", CONF.read_text(encoding="utf-8"), re.MULTILINE))
OPTIONAL = dict(re.findall(r"^# ([a-z]+(?:-[a-z]+)+) (\S+)$", CONF.read_text(encoding="utf-8"), re.MULTILINE))


async def test_redis_starts_with_the_file_as_it_is(tmp_path: Path) -> None:
    """A server that is given the file has each of its settings."""
    port = free_port()
    argv = (redis_program(), str(CONF), "--port", str(port), "--dir", str(tmp_path), "--bind", "127.0.0.1")
    async with Process(argv) as server, connect(f"redis://127.0.0.1:{port}/0") as client:
        await server.wait_for_output("Ready to accept connections")
        assert await client.config_get(*SETTINGS) == SETTINGS

    assert SETTINGS["maxmemory-policy"] == "noeviction"
    assert SETTINGS["appendonly"] == "yes"


async def test_redis_takes_the_file_by_include() -> None:
    """Included behind other settings the file wins."""
    async with RedisServer(config={"include": str(CONF)}) as server, server.client() as client:
        assert await client.config_get(*SETTINGS) == SETTINGS


def test_settings_that_are_commented_out_do_what_they_say(redis_server: RedisServer) -> None:
    """With them a master without a replica refuses to write."""
    assert set(OPTIONAL) == {"min-replicas-to-write", "min-replicas-max-lag"}
    for name, value in OPTIONAL.items():
        redis_server.execute("CONFIG", "SET", name, value)

    with pytest.raises(ResponseError, match=r"NOREPLICAS|enough good replicas"):
        redis_server.execute("XADD", "fanwire:orders:0", "*", "e", "x")


async def test_sigterm_says_goodbye_and_ends_the_edge(redis_server: RedisServer) -> None:
    """A connection gets `disconnect` and close code 1012, and the process ends with 0."""
    headers = {"Authorization": f"Bearer {make_token()}"}
    async with EdgeProcess(redis_server.url) as edge, aiohttp.ClientSession() as session:
        async with session.ws_connect(edge.url, headers=headers) as client:
            assert (await client.receive_json(timeout=5))["type"] == "connected"
            edge.process.signal(signal.SIGTERM)
            assert (await client.receive_json(timeout=5))["type"] == "disconnect"
            assert (await client.receive(timeout=5)).data == 1012
        assert await edge.process.wait_for_exit() == 0
