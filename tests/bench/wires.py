"""Connections of the publisher to what takes its events: one write for a group, and its confirmation."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

__all__ = ["HttpWire", "NatsWire", "RedisWire", "Wire", "WireBroke"]

_TIMEOUT_SECONDS = 10.0
_CHUNK_BYTES = 65536


class WireBroke(RuntimeError):
    """The other side refused an event, or is gone."""


class Wire(Protocol):
    """Takes a group of messages that are ready to be sent."""

    def send(self, messages: Sequence[bytes]) -> None:
        """Send all of them at once and return when they are confirmed; raises WireBroke."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class _Connection:
    """A socket whose answers are only counted: *mark* stands *per_answer* times in each."""

    def __init__(self, address: str, mark: bytes, per_answer: int = 1) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._mark, self._per_answer = mark, per_answer

    def close(self) -> None:
        self._socket.close()

    def ask(self, data: bytes, answers: int) -> bytes:
        """Send *data* and return what came once there are *answers*; raises WireBroke."""
        self._socket.sendall(data)
        received, wanted = b"", answers * self._per_answer
        while received.count(self._mark) < wanted:
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise WireBroke(f"closed after {received[-200:]!r}")
            received += chunk
        return received


class _Wire:
    """What all wires share."""

    _connection: _Connection

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class RedisWire(_Wire):
    """Commands of Redis, in one pipeline; `lines` is how many lines each is answered with."""

    def __init__(self, url: str, lines: int) -> None:
        address = url.removeprefix("redis://").partition("/")[0]
        self._connection = _Connection(address, b"\r\n", lines)

    def send(self, messages: Sequence[bytes]) -> None:
        """Send commands; raises WireBroke."""
        received = self._connection.ask(b"".join(messages), len(messages))
        if received.startswith(b"-") or b"\r\n-" in received:
            raise WireBroke(received[:200].decode(errors="replace"))


class NatsWire(_Wire):
    """PUB messages of the NATS protocol; a PING behind each group confirms it."""

    def __init__(self, address: str, token: str) -> None:
        self._connection = _Connection(address, b"PONG\r\n")
        hello = f'CONNECT {{"verbose":false,"pedantic":false,"auth_token":"{token}"}}\r\nPING\r\n'
        self._connection.ask(hello.encode(), 1)

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages; raises WireBroke."""
        received = self._connection.ask(b"".join(messages) + b"PING\r\n", 1)
        if b"-ERR" in received:
            raise WireBroke(received[:200].decode(errors="replace"))


class HttpWire(_Wire):
    """POST requests, pipelined on one connection."""

    def __init__(self, address: str) -> None:
        self._connection = _Connection(address, b"HTTP/1.1 ")

    def send(self, messages: Sequence[bytes]) -> None:
        """Send requests; raises WireBroke."""
        received = self._connection.ask(b"".join(messages), len(messages))
        if b"HTTP/1.1 4" in received or b"HTTP/1.1 5" in received:
            raise WireBroke(received[:200].decode(errors="replace"))
