"""A client of another make that writes down everything: comes back, resumes, fails over between edges."""

from __future__ import annotations

import asyncio
import json
import random as randomness
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from tests.kit.recorded_session import Identity, RecordedSession
from tests.kit.recording import Recorder

__all__ = ["RecordingClient", "Timing"]

_OPEN_SECONDS = 10.0
_ABNORMAL = 1006
# Refusals that pass: too many attempts, or an edge (or what stands before it) that is leaving.
_PASSING = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a client pings, gives a silent connection up, and comes back.

    *random* (0 to 1) draws from the whole window of a backoff that doubles from *shortest_seconds* to
    *longest_seconds*; with *follows_server* it is never narrower than the jitter that the server told.
    """

    ping_seconds: float = 5.0
    silence_seconds: float = 15.0
    shortest_seconds: float = 0.05
    longest_seconds: float = 1.0
    follows_server: bool = False
    random: Callable[[], float] = randomness.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class RecordingClient:
    """One session on one or several edges (*urls*, tried in turn); `run` it in a task."""

    def __init__(
        self,
        recorder: Recorder,
        urls: Sequence[str],
        who: Identity,
        channels: Sequence[str],
        timing: Timing | None = None,
    ) -> None:
        self.session = RecordedSession(recorder, who, channels)
        self.who = who
        self.urls = urls
        self._timing = timing or Timing()
        self._socket: ClientConnection | None = None
        self._is_ending = False
        self.connections = 0
        self.failures = 0

    @property
    def is_ready(self) -> bool:
        """Whether it is connected and every channel was answered."""
        return self._socket is not None and self.session.is_answered

    async def run(self) -> None:
        """Be connected until `end`, or until the server says not to come back.

        Raises InvalidStatus where an edge refuses for good.
        """
        turn = failed = 0
        while True:
            may_return = await self._attempt(self.urls[turn % len(self.urls)])
            if self._is_ending or may_return is False:
                return
            failed = 0 if may_return else failed + 1
            self.failures += may_return is None
            turn += 1
            await self._timing.sleep(self._timing.random() * self._window(failed))

    async def ping(self) -> None:
        """Ask for fresh positions, and for channels that are not answered, where it is connected."""
        socket = self._socket
        if socket is None:
            # What is asked for now would count as asked for on the next connection, and never be.
            return
        try:
            for command in (*self.session.ask(), '{"type":"ping"}'):
                await socket.send(command)
        except ConnectionClosed:
            pass  # The reader explains.

    def cut(self) -> None:
        """Cut the connection as a network does, without a word."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def end(self, until: int | None) -> None:
        """Stop for good; everything confirmed up to *until* (monotonic ns) had to be here."""
        self._is_ending = True
        if self._socket is not None:
            await self._socket.close()
        self.session.end(until)

    def _window(self, failed: int) -> float:
        timing = self._timing
        window = min(timing.longest_seconds, timing.shortest_seconds * float(1 << min(failed, 16)))
        return max(window, self.session.jitter_ms / 1000) if timing.follows_server else window

    async def _attempt(self, url: str) -> bool | None:
        """Connect and stay until it is over; tell whether to come back, None where nothing answered."""
        try:
            async with self._dial(url) as socket:
                return await self._stay(socket)
        except InvalidStatus as refusal:
            if refusal.response.status_code not in _PASSING:
                raise
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, EOFError):
            pass  # Nobody is there, or somebody who is just leaving.
        return None

    def _dial(self, url: str) -> connect:
        query = self.session.query()
        return connect(
            f"{url}?{urlencode(query)}" if query else url,
            subprotocols=[Subprotocol(text) for text in ("fanwire.v1.json", "bearer", self.who.token)],
            compression=None,
            ping_interval=None,
            max_size=None,
            open_timeout=_OPEN_SECONDS,
            close_timeout=1.0,
            proxy=None,
        )

    async def _stay(self, socket: ClientConnection) -> bool:
        self.session.begin()
        async with asyncio.TaskGroup() as tasks:
            beating: asyncio.Task[None] | None = None
            try:
                while True:
                    self.session.take(json.loads(await self._receive(socket)))
                    if beating is None:
                        self._socket = socket
                        self.connections += 1
                        beating = tasks.create_task(self._beat())
            except ConnectionClosed:
                pass
            except TimeoutError:
                socket.transport.abort()
            finally:
                self._socket = None
                if beating is not None:
                    beating.cancel()
                may_return = self.session.lose(socket.close_code or _ABNORMAL)
        return may_return

    async def _receive(self, socket: ClientConnection) -> str | bytes:
        async with asyncio.timeout(self._timing.silence_seconds):
            return await socket.recv()

    async def _beat(self) -> None:
        while True:
            await self.ping()
            await asyncio.sleep(self._timing.ping_seconds)
