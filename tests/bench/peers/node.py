"""Node: `ws` behind Redis Pub/Sub, and socket.io with its redis-streams adapter."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from functools import partial

from tests.bench.peers.peer import (
    HERE,
    NODE_MODULES,
    SOCKET_IO_PREFIX,
    NotInstalled,
    Peer,
    Place,
    json_subscription,
    socket_io_subscription,
)

__all__ = ["NODE_WS", "SOCKET_IO"]


def _version_of(*packages: str) -> Callable[[], str]:
    def version() -> str:
        node = shutil.which("node")
        if node is None:
            raise NotInstalled("no program node (Debian package nodejs)")
        shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=10)
        found = [f"{package} {_package_version(package)}" for package in packages]
        return ", ".join([*found, f"Node {shown.stdout.strip()}"])

    return version


def _package_version(package: str) -> str:
    try:
        version: str = json.loads((NODE_MODULES / package / "package.json").read_text())["version"]
    except OSError as error:
        raise NotInstalled(f"no npm package {package} in {NODE_MODULES.parent.name}") from error
    return version


def _command(script: str, place: Place) -> list[str]:
    # NODE_PATH: the packages are not beside the scripts, which are part of the sources.
    program = ["env", f"NODE_PATH={NODE_MODULES}", "NODE_ENV=production", "node"]
    return [*program, str(HERE / "node" / script), str(place.port), place.redis_url, place.secret]


NODE_WS = Peer(
    name="Node ws",
    conditions="behind Redis Pub/Sub, messages forwarded as bytes, no compression, no pings, JWT by "
    "jsonwebtoken at the upgrade",
    sink="pubsub",
    dialect="plain",
    version=_version_of("ws", "redis", "jsonwebtoken"),
    command=partial(_command, "ws.cjs"),
    subscribe=json_subscription,
)
SOCKET_IO = Peer(
    name="socket.io",
    conditions="redis-streams adapter, WebSocket only, no compression, JWT by jsonwebtoken in a middleware, "
    "connection state recovery off",
    sink="socketio-stream",
    dialect="engineio",
    version=_version_of("socket.io", "@socket.io/redis-streams-adapter"),
    command=partial(_command, "socketio.cjs"),
    subscribe=socket_io_subscription,
    path=lambda _: "/socket.io/?EIO=4&transport=websocket",
    event_prefix=SOCKET_IO_PREFIX,
)
