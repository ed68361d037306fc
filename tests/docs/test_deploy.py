"""The Redis settings in deploy/ are ones that a server takes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT
from tests.kit.processes import Process, free_port
from tests.kit.redis_server import RedisServer, connect, redis_program
from tests.kit.wait import eventually

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


async def test_settings_that_are_commented_out_do_what_they_say(redis_server: RedisServer) -> None:
    """With them a master that has lost its replicas refuses to write."""
    assert set(OPTIONAL) == {"min-replicas-to-write", "min-replicas-max-lag"}
    for name, value in OPTIONAL.items():
        assert redis_server.execute("CONFIG", "SET", name, value) in (b"OK", "OK", True)

    async with redis_server.client() as client:
        refused = await eventually(lambda: _refusal(redis_server))
        assert refused.startswith("NOREPLICAS")
        assert await client.dbsize() == 0


def _refusal(server: RedisServer) -> str:
    try:
        server.execute("XADD", "fanwire:orders:0", "*", "e", "x")
    except Exception as problem:  # noqa: BLE001  # whatever it is, its text is looked at
        return str(problem)
    return ""
