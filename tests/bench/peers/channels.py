"""Django Channels with channels_redis, on uvicorn."""

from __future__ import annotations

from tests.bench.peers.peer import Peer, json_subscription
from tests.bench.peers.python_peers import server, version_of

__all__ = ["CHANNELS"]

CHANNELS = Peer(
    name="Django Channels",
    conditions="channels_redis' Pub/Sub layer (the faster one), uvicorn with uvloop and its sans-I/O "
    "WebSocket protocol, no compression, JWT by PyJWT",
    sink="channels",
    dialect="plain",
    version=version_of("channels", "channels_redis", "Django", "uvicorn"),
    command=server("channels_server.py"),
    subscribe=json_subscription,
)
