"""The systems that a user would pick instead, each one a module of its own."""

from __future__ import annotations

from tests.bench.peers.channels import CHANNELS
from tests.bench.peers.nats import NATS
from tests.bench.peers.nchan import NCHAN
from tests.bench.peers.node import NODE_WS, SOCKET_IO
from tests.bench.peers.peer import NotInstalled, Peer, Place
from tests.bench.peers.python_socketio import PYTHON_SOCKET_IO
from tests.bench.peers.websockets import WEBSOCKETS

__all__ = ["PEERS", "NotInstalled", "Peer", "Place"]

PEERS: tuple[Peer, ...] = (NATS, NCHAN, NODE_WS, WEBSOCKETS, SOCKET_IO, PYTHON_SOCKET_IO, CHANNELS)
