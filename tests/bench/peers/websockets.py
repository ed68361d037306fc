"""`websockets` with its `broadcast()`, behind Redis Pub/Sub."""

from __future__ import annotations

from tests.bench.peers.peer import Peer, json_subscription
from tests.bench.peers.python_peers import server, version_of

__all__ = ["WEBSOCKETS"]

WEBSOCKETS = Peer(
    name="websockets",
    conditions="`broadcast()`, Redis Pub/Sub, uvloop, no compression, no keepalive pings, JWT by PyJWT",
    sink="pubsub",
    dialect="plain",
    version=version_of("websockets", "uvloop"),
    command=server("websockets_server.py"),
    subscribe=json_subscription,
)
