"""nats-server with its own WebSocket listener; a subject for each channel."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from tests.bench.peers.peer import NotInstalled, Peer, Place
from tests.bench.sinks import NATS_TOKEN, nats_subject

__all__ = ["NATS"]

_CONFIGURATION = """\
host: 127.0.0.1
port: {publish_port}
max_connections: 64000
authorization {{ token: "{token}" }}
websocket {{ host: 127.0.0.1, port: {port}, no_tls: true, compression: false, handshake_timeout: "30s" }}
"""


def _version() -> str:
    if shutil.which("nats-server") is None:
        raise NotInstalled("no program nats-server (Debian package nats-server)")
    shown = subprocess.run(
        ["nats-server", "--version"], capture_output=True, text=True, check=True, timeout=10
    )
    return shown.stdout.strip().removeprefix("nats-server: ")


def _command(place: Place) -> list[str]:
    file = place.folder / "nats.conf"
    file.write_text(_CONFIGURATION.format(port=place.port, publish_port=place.publish_port, token=NATS_TOKEN))
    return ["nats-server", "--config", str(file)]


def _subscribe(channels: Sequence[str]) -> str:
    hello = f'CONNECT {{"verbose":false,"pedantic":false,"protocol":1,"auth_token":"{NATS_TOKEN}"}}\r\n'
    wanted = "".join(f"SUB {nats_subject(place)} {number}\r\n" for number, place in enumerate(channels, 1))
    return f"{hello}{wanted}PING\r\n"


NATS = Peer(
    name="nats-server",
    conditions="core NATS (no JetStream), its WebSocket listener without TLS and compression; a static token "
    "instead of a JWT; several messages may share a WebSocket frame",
    sink="nats",
    dialect="nats",
    version=_version,
    command=_command,
    subscribe=_subscribe,
    path=lambda _: "/",
    event_prefix="MSG ",
    uses_redis=False,
    has_own_publish_port=True,
)
