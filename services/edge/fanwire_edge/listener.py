"""Listening sockets: bound where settings say, alone or shared by the workers of one edge."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from fanwire_edge.settings import DeliverySettings
from fanwire_protocol.settings import SettingError

__all__ = ["bound", "most_half_open", "port_of", "reserved", "serve", "tune"]

BACKLOG = 4096
# More than a storm brings before its requests are read.
MOST_HALF_OPEN = 16_384
# How long the kernel offers bytes to a peer that takes none. One that may catch up at its own pace takes
# them in large steps, a minute apart at a kilobyte a second.
USER_TIMEOUT_MS = 30_000
PATIENT_USER_TIMEOUT_MS = 180_000


def bound(host: str, port: int, setting: str, *, is_shared: bool = False) -> socket.socket:
    """Return a socket on an address; where it *is_shared* each worker has one, and the kernel spreads.

    Raises SettingError, which names *setting*.
    """
    try:
        return _bound(host, port, is_shared=is_shared)
    except OSError as problem:
        raise SettingError(
            f"{setting}: cannot listen on {host}:{port}: {problem.strerror}; "
            f"take another port, or 0 for a free one"
        ) from problem


@contextmanager
def reserved(host: str, port: int, setting: str) -> Iterator[int]:
    """Hold an address for workers that share it, and yield its port.

    Raises SettingError where somebody listens there: the kernel would let another edge of the same user
    share it, and each would get a part of the other's clients.
    """
    with bound(host, port, setting):
        pass
    # Without listening it gets no connections.
    with bound(host, port, setting, is_shared=True) as place:
        yield int(place.getsockname()[1])


def tune(listener: socket.socket, delivery: DeliverySettings) -> None:
    """Give what is accepted its buffer and its deadline.

    Without them the kernel hides megabytes for a client that does not read, and keeps a peer for many
    minutes that is gone without a word.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, delivery.send_buffer_bytes)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        rules = (delivery.policy, *delivery.policies)
        is_patient = not all(rule.lower().rstrip().endswith("disconnect") for rule in rules)
        timeout_ms = PATIENT_USER_TIMEOUT_MS if is_patient else USER_TIMEOUT_MS
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def most_half_open() -> int:
    """Return on how many sockets nothing needs to be said yet: at most half of the files that may be open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_HALF_OPEN if allowed < 0 else max(1, min(MOST_HALF_OPEN, allowed // 2))


async def serve(runner: web.AppRunner, listener: socket.socket) -> None:
    """Accept connections for *runner*."""
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()


def port_of(runner: web.AppRunner) -> int:
    """Return the port that *runner* serves."""
    return int(runner.addresses[0][1])


def _bound(host: str, port: int, *, is_shared: bool) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
