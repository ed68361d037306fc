"""Recording clients for tests of faults: they read as slowly as a test wants."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from tests.kit.recorded_session import Identity
from tests.kit.recording import Recorder, rights
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.tokens import make_token

__all__ = ["ALL_OF_ACME", "Pace", "Reader", "identity", "resource"]

ALL_OF_ACME = "tenant:acme:resource:*"
# The kernel doubles it, and takes at most a few KB for a reader that is slow.
SMALL_BUFFER = 4096


def resource(topic: str, id_: str) -> str:
    """Return a channel of `acme`; type and topic have the same name."""
    return f"tenant:acme:resource:{topic}:{id_}"


def identity(number: int) -> Identity:
    """Return a user of `acme` who may read all of its resources."""
    user = f"u-{number}"
    token = make_token(sub=user, tenant="acme", channels=[ALL_OF_ACME])
    return Identity(f"client-{number}", "acme", token, rights("acme", user, channels=[ALL_OF_ACME]))


@dataclass(slots=True)
class Pace:
    """How fast clients read, until a test changes it; at first as fast as they can."""

    burst_bytes: int = 0
    rest_seconds: float = 0.0

    def rest_after(self, burst_bytes: int, seconds: float) -> None:
        """Let them rest for *seconds* after every *burst_bytes*."""
        self.burst_bytes, self.rest_seconds = burst_bytes, seconds

    def limit(self, bytes_per_second: int) -> None:
        """Let them rest after every frame, for as long as it should have taken."""
        self.burst_bytes, self.rest_seconds = 0, 1 / bytes_per_second

    def go(self) -> None:
        """Let them read as fast as they can again."""
        self.burst_bytes, self.rest_seconds = 0, 0.0


class Reader(RecordingClient):
    """A recording client that reads at a *pace*, through a small window, for little to hide in the kernel."""

    def __init__(
        self,
        recorder: Recorder,
        urls: Sequence[str],
        number: int,
        channels: Sequence[str],
        pace: Pace,
        timing: Timing,
    ) -> None:
        super().__init__(recorder, urls, identity(number), channels, timing)
        self._pace = pace
        self._burst = 0

    def _dial(self, url: str) -> connect:
        dialled = super()._dial(url)
        dialled.create_connection_kwargs.update(_small_window(url))
        return dialled

    async def _receive(self, socket: ClientConnection) -> str | bytes:
        message = await super()._receive(socket)
        pace = self._pace
        self._burst = self._burst + len(message) if pace.rest_seconds else 0
        if self._burst > pace.burst_bytes:
            times = 1 if pace.burst_bytes else self._burst
            self._burst = 0
            await asyncio.sleep(times * pace.rest_seconds)
        return message


def _small_window(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    connection = socket.socket()
    try:
        # Before the connection is made, for the window to be as small.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.connect((parts.hostname or "", parts.port or 0))
        connection.setblocking(False)
    except OSError:
        connection.close()
        raise
    return {"sock": connection}
