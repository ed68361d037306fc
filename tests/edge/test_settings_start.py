"""What stops an edge from starting: exit status 2 and one line (PROTOCOL §9)."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.edge.running import edge_process
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import SECRET

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("a number that is none", {"EDGE__MAX_CONNECTIONS": "many"}, "FANWIRE_EDGE__MAX_CONNECTIONS"),
    ("a port out of range", {"EDGE__OPS_PORT": "65536"}, "FANWIRE_EDGE__OPS_PORT"),
    ("a misspelt setting", {"EDGE__MAX_CONECTIONS": "1"}, "FANWIRE_EDGE__MAX_CONECTIONS"),
    ("a misspelt section", {"BROKR__URL": "redis://localhost"}, "FANWIRE_BROKR__URL"),
    ("an unknown loop", {"EDGE__LOOP": "trio"}, "FANWIRE_EDGE__LOOP"),
    ("no source", {"AUTH__SOURCES": "[]"}, "auth.sources"),
    ("a source of nothing", {"AUTH__SOURCES": '["none"]'}, "auth.sources"),
    ("a short secret", {"AUTH__JWT__SECRET": "short-secret"}, "auth.jwt.secret"),
    ("two keys", {"AUTH__JWT__PUBLIC_KEY": "PEM"}, "auth.jwt"),
    ("an algorithm of another key", {"AUTH__JWT__ALGORITHMS": '["none"]'}, "auth.jwt.algorithms"),
    ("a timeout below the interval", {"HEARTBEAT__TIMEOUT": "10"}, "heartbeat.timeout"),
    ("more workers than can be", {"EDGE__WORKERS": "257"}, "FANWIRE_EDGE__WORKERS"),
    ("an address that is none", {"EDGE__OPS_HOST": "no.such.host.invalid"}, "edge.ops_port"),
    ("a broker URL that is none", {"BROKER__URL": "http://localhost:6379"}, "broker.url"),
    ("a broker option that is none", {"BROKER__URL": "redis://localhost:1/0?colour=red"}, "broker.url"),
    ("a broker port that is none", {"BROKER__URL": "redis://:short-secret@localhost:x/0"}, "broker.url"),
]


async def refused(redis: SharedRedis, settings: dict[str, Any]) -> str:
    """Return the one line with which an edge of *settings* does not start."""
    process, _, _ = edge_process(redis, **settings)
    async with process:
        status = await process.wait_for_exit()
        lines = [line for line in process.output.splitlines() if " INFO " not in line]
        assert (status, len(lines)) == (2, 1), process.output
        assert SECRET not in process.output
        assert "short-secret" not in process.output
        return lines[0]


@pytest.mark.parametrize(("_", "settings", "name"), WRONG, ids=[row[0] for row in WRONG])
async def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(
    shared_redis: SharedRedis, _: str, settings: dict[str, Any], name: str
) -> None:
    """And a value that would work; no secret stands in it."""
    line = await refused(shared_redis, settings)

    assert line.startswith(f"fanwire edge: {name}")


@pytest.mark.parametrize("setting", ["edge.port", "edge.ops_port"])
async def test_a_port_in_use_stops_the_start_likewise(shared_redis: SharedRedis, setting: str) -> None:
    """The line says which of the two ports, and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        option = {"edge.port": "--port", "edge.ops_port": "--ops-port"}[setting]
        process, _, _ = edge_process(shared_redis, option, str(port))
        async with process:
            assert await process.wait_for_exit() == 2
            [line] = process.output.splitlines()
    assert line.startswith(f"fanwire edge: {setting}: cannot listen on 127.0.0.1:{port}: ")


async def test_another_number_of_partitions_than_the_log_has_stops_the_start(
    shared_redis: SharedRedis,
) -> None:
    """The line names the number that would work."""
    shared_redis.server.execute("HSET", f"{shared_redis.prefix}:_config", "partitions", "3")

    line = await refused(shared_redis, {"BROKER__PARTITIONS": "4"})

    assert line.startswith("fanwire edge: broker.partitions: 4 ")
    assert "use 3" in line


async def test_without_a_key_an_edge_does_not_start(shared_redis: SharedRedis) -> None:
    """Nothing switches authentication off."""
    process, _, _ = edge_process(shared_redis, AUTH__JWT__SECRET=None)
    async with process:
        assert await process.wait_for_exit() == 2
        [line] = process.output.splitlines()
    assert line.startswith("fanwire edge: auth.jwt: has no key")


async def test_the_config_file_is_read_and_its_errors_name_it(
    shared_redis: SharedRedis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A TOML file with a wrong setting is told from one that is no TOML and one that is not there."""
    folder = tmp_path_factory.mktemp("config")
    cases = {
        "wrong.toml": ("[edge]\nops_port = 'x'\n", "edge.ops_port"),
        "broken.toml": ("[edge", "--config"),
        "absent.toml": (None, "--config"),
    }
    for name, (text, expected) in cases.items():
        path = folder / name
        if text is not None:
            path.write_text(text)
        process, _, _ = edge_process(shared_redis, "--config", str(path), EDGE__OPS_PORT=None)
        async with process:
            assert await process.wait_for_exit() == 2
            [line] = process.output.splitlines()
            assert line.startswith(f"fanwire edge: {expected}")
