"""A client of another make: the library `websockets`, which notes all that it gets."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.kit.tokens import make_token
from tests.kit.wait import eventually

__all__ = ["ALL_OF_ACME", "Frame", "Listener", "listening"]

Frame = Mapping[str, Any]
OPEN_SECONDS = 10.0
ALL_OF_ACME = "tenant:acme:resource:*"


class Listener:
    """One open WebSocket and everything that came over it, in `frames`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._raw: list[str | bytes] = []
        self._frames: list[Frame] = []
        self._ids = itertools.count(1)
        self.close_code: int | None = None

    @property
    def frames(self) -> list[Frame]:
        """What came so far, in order."""
        # Decoded when asked for, so that a listener keeps up with a fast edge.
        for raw in self._raw[len(self._frames) :]:
            self._frames.append(json.loads(raw))
        return self._frames

    @property
    def count(self) -> int:
        """How many frames came."""
        return len(self._raw)

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, by `close_code`."""
        return self.close_code is not None

    @property
    def client_id(self) -> str:
        """The id that the edge gave this connection."""
        client_id: str = self.frames[0]["payload"]["clientId"]
        return client_id

    @property
    def names(self) -> list[str]:
        """The channels and patterns that the edge confirmed."""
        confirmed = self.of_type("connected") + self.of_type("subscribed")
        return [name for frame in confirmed for name in frame["payload"]["channels"]]

    def of_type(self, type_: str) -> list[Frame]:
        """Return the frames of one type."""
        return [frame for frame in self.frames if frame["type"] == type_]

    @property
    def gaps(self) -> list[Frame]:
        """The payloads of the gaps."""
        return [frame["payload"] for frame in self.of_type("gap")]

    @property
    def events(self) -> list[Frame]:
        """The frames of events."""
        return [frame for frame in self.frames if "offset" in frame and frame["type"] != "gap"]

    async def subscribe(self, *channels: str) -> Frame:
        """Subscribe and return the answer; raises AssertionError where something is refused."""
        answer = await self.command("subscribe", channels=list(channels))
        assert answer["type"] == "subscribed", answer
        return answer

    async def ping(self) -> Mapping[str, str]:
        """Return the positions of a `pong`."""
        positions: Mapping[str, str] = (await self.command("ping"))["payload"]["positions"]
        return positions

    async def command(self, type_: str, **fields: Any) -> Frame:
        """Send a command and return the first frame that answers it."""
        number = await self.send(type_, **fields)
        answered: Callable[[], Frame | None] = lambda: self._answer(number)  # noqa: E731
        frame = await eventually(answered, OPEN_SECONDS, f"an answer to {type_}")
        assert frame is not None
        return frame

    async def send(self, type_: str, **fields: Any) -> int:
        """Send a command and return its id."""
        number = next(self._ids)
        await self._connection.send(json.dumps({"type": type_, "id": number, **fields}))
        return number

    def pause(self) -> None:
        """Stop reading from the socket."""
        self._connection.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        self._connection.transport.resume_reading()

    async def collect(self) -> None:
        """Take frames until the connection ends."""
        try:
            while True:
                self._raw.append(await self._connection.recv())
        except ConnectionClosed:
            self.close_code = self._connection.close_code

    def _answer(self, number: int) -> Frame | None:
        return next((frame for frame in self.frames if frame.get("replyTo") == number), None)


@asynccontextmanager
async def listening(
    url: str,
    *channels: str,
    claims: Mapping[str, Any] | None = None,
    receive_buffer_bytes: int | None = None,
) -> AsyncIterator[Listener]:
    """Connect as a browser does, with a token as a subprotocol, and subscribe to *channels*.

    The token is that of a user of `acme` who may read all of its resources, changed by *claims*.

    A small *receive_buffer_bytes* makes the kernel take little for a listener that is paused.
    """
    async with connect(
        url,
        subprotocols=[Subprotocol("bearer"), Subprotocol(_token(claims))],
        sock=None if receive_buffer_bytes is None else _socket_to(url, receive_buffer_bytes),
        compression=None,
        ping_interval=None,
        max_queue=None,
        open_timeout=OPEN_SECONDS,
        close_timeout=0.5,
        proxy=None,
    ) as connection:
        assert connection.subprotocol == "bearer"
        listener = Listener(connection)
        async with asyncio.TaskGroup() as tasks:
            collecting = tasks.create_task(listener.collect())
            try:
                await eventually(lambda: listener.count > 0, OPEN_SECONDS, "the greeting")
                if channels:
                    await listener.subscribe(*channels)
                yield listener
            finally:
                collecting.cancel()
                connection.transport.abort()


def _token(claims: Mapping[str, Any] | None) -> str:
    return make_token(**{"channels": [ALL_OF_ACME], **(claims or {})})


def _socket_to(url: str, receive_buffer_bytes: int) -> socket.socket:
    host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
    connection = socket.socket()
    # Before connecting, since the window is agreed on then.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.connect((host, int(port)))
    connection.setblocking(False)
    return connection
