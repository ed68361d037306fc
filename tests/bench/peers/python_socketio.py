"""python-socketio with its Redis manager, on uvicorn."""

from __future__ import annotations

from tests.bench.peers.peer import SOCKET_IO_PREFIX, Peer, socket_io_subscription
from tests.bench.peers.python_peers import server, version_of

__all__ = ["PYTHON_SOCKET_IO"]

PYTHON_SOCKET_IO = Peer(
    name="python-socketio",
    conditions="Redis manager (Pub/Sub), uvicorn with uvloop, WebSocket only, no compression, JWT by PyJWT",
    sink="socketio-pubsub",
    dialect="engineio",
    version=version_of("python-socketio", "python-engineio", "uvicorn"),
    command=server("socketio_server.py"),
    subscribe=socket_io_subscription,
    path=lambda _: "/socket.io/?EIO=4&transport=websocket",
    event_prefix=SOCKET_IO_PREFIX,
)
