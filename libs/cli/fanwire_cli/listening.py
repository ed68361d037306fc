"""Ports of the loopback interface: which are taken, and which one to take instead."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable

__all__ = ["HOST", "any_free_port", "is_free", "next_free_port"]

HOST = "127.0.0.1"
_LAST_PORT = 65_535
# Below the kernel's ephemeral ports: a client that keeps dialling a dead port among those may in the end
# connect to itself.
_QUIET_PORTS = range(12_000, 32_000)


def is_free(port: int) -> bool:
    """Tell whether a server could listen on *port* of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def next_free_port(port: int, taken: Iterable[int] = ()) -> int:
    """Return the first free port above *port* that is not in *taken*."""
    others = set(taken)
    return next(n for n in range(port + 1, _LAST_PORT) if n not in others and is_free(n))


def any_free_port() -> int:
    """Return a free port that nobody expects to be anything."""
    return next(port for port in iter(lambda: random.choice(_QUIET_PORTS), None) if is_free(port))
