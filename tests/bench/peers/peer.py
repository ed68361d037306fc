"""What the benchmark knows of a peer: how it is started, spoken to, and fed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.programs import BUILD

__all__ = [
    "NODE_MODULES",
    "PLAIN_PREFIX",
    "PYTHON",
    "SOCKET_IO_PREFIX",
    "NotInstalled",
    "Peer",
    "Place",
    "json_subscription",
    "socket_io_subscription",
]

HERE = Path(__file__).parent
NODE_MODULES = BUILD / "node" / "node_modules"
PYTHON = BUILD / "peers-venv" / "bin" / "python"
PLAIN_PREFIX = '{"type":"u"'
SOCKET_IO_PREFIX = '42["u",'


class NotInstalled(RuntimeError):
    """The peer is not on this machine; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs: its ports, its broker, a folder for its files, and the key of the tokens."""

    port: int
    publish_port: int
    redis_url: str
    folder: Path
    secret: str


@dataclass(frozen=True, slots=True)
class Peer:
    """One system; `channels` of the functions are places like `b:1`, with %d for the client's number.

    `sink` names how it is published to (`sinks.py`), `dialect` what its clients speak (`dialects.h`);
    `version` raises NotInstalled.
    """

    name: str
    conditions: str
    sink: str
    dialect: str
    version: Callable[[], str]
    command: Callable[[Place], list[str]]
    subscribe: Callable[[Sequence[str]], str | None]
    path: Callable[[Sequence[str]], str] = lambda _: "/ws"
    event_prefix: str = PLAIN_PREFIX
    uses_redis: bool = True
    has_own_publish_port: bool = False

    def publish_address(self, place: Place) -> str:
        """Return what the publisher is told to connect to."""
        return place.redis_url if self.uses_redis else f"127.0.0.1:{place.publish_port}"


def json_subscription(channels: Sequence[str]) -> str:
    """Return the command of the servers that are our own writing."""
    return json.dumps({"type": "subscribe", "channels": list(channels)}, separators=(",", ":"))


def socket_io_subscription(channels: Sequence[str]) -> str:
    """Return an event of Socket.IO that asks for an acknowledgement."""
    return "420" + json.dumps(["subscribe", list(channels)], separators=(",", ":"))
