"""A TCP proxy that injects faults: what networks do, at the moment a test wants it.

Each direction of a connection is read in chunks of at most 16 KB into a queue of four, so at most about
64 KB wait in the proxy, and 64 KB in each socket: a slow direction pushes back on its sender. Faults are
plain attributes that may be changed at any time and hold for all connections.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field
from typing import Self

from tests.kit.faults import Direction
from tests.kit.processes import free_port

HOST = "127.0.0.1"
CHUNK_BYTES = 16_384
QUEUED_CHUNKS = 4
SOCKET_BYTES = 65_536
CONNECT_SECONDS = 5.0
STOP_SECONDS = 5.0
_HOLD_POLL_SECONDS = 0.005


class _Ended(Exception):
    """The connection is over; ends its task group."""


@dataclass(eq=False, slots=True)
class _Link:
    """One proxied connection: the client's side and the target's side."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def reset(self) -> None:
        for writer in (self.client, self.target):
            _abort(writer)
        self.ended.set()


class FaultProxy:
    """Forwards a free loopback port to *target*, with the faults of `up` (to the target) and `down`.

    An async context manager. `target` may be changed at any time and holds for new connections.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = free_port()
        self.up = Direction()
        self.down = Direction()
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._opening = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the proxy."""
        return HOST, self.port

    @property
    def connections(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._links)

    def url(self, scheme: str = "redis", path: str = "/0") -> str:
        """Return a URL of the proxy."""
        return f"{scheme}://{HOST}:{self.port}{path}"

    async def start(self) -> Self:
        """Listen."""
        await self.accept()
        return self

    async def stop(self) -> None:
        """Stop listening, reset every connection and wait for the end of all; raises TimeoutError."""
        self.refuse()
        async with asyncio.timeout(STOP_SECONDS):
            while self._links or self._opening:
                self.reset()
                await asyncio.sleep(_HOLD_POLL_SECONDS)

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED); open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Accept connections again after refuse()."""
        if self._server is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What a listener has, its connections inherit, the window among it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            listener.bind(self.address)
            self._server = await asyncio.start_server(
                self._serve, sock=listener, limit=CHUNK_BYTES, backlog=1024
            )

    def reset(self) -> None:
        """Break every open connection with RST, on both sides."""
        for link in self._links:
            link.reset()

    def half_close(self, *, up: bool = False, down: bool = False) -> None:
        """Send FIN towards the target (*up*) or the client (*down*); the other direction goes on."""
        for link in self._links:
            if up:
                link.target.write_eof()
            if down:
                link.client.write_eof()

    def black_hole(self) -> None:
        """Lose everything in both directions and keep the connections open; heal() ends it."""
        self.up.swallow = self.down.swallow = True

    def heal(self) -> None:
        """Take back the faults of both directions."""
        self.up.heal()
        self.down.heal()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._opening += 1
        try:
            target_reader, target = await self._dial()
        except OSError:
            _abort(writer)
            return
        finally:
            self._opening -= 1
        link = _Link(writer, target)
        self._links.add(link)
        for side in (writer, target):
            side.transport.set_write_buffer_limits(high=CHUNK_BYTES)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._both(link, reader, target_reader))
                group.create_task(_raise_once_ended(link))
        except* (_Ended, OSError):
            pass  # Both sides are closed below, which tells each peer.
        finally:
            self._links.discard(link)
            for side in (writer, target):
                side.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
            connection.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connection, self.target)
            except BaseException:
                connection.close()
                raise
            return await asyncio.open_connection(sock=connection, limit=CHUNK_BYTES)

    async def _both(self, link: _Link, client: asyncio.StreamReader, target: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_forward(client, link.target, self.up))
            group.create_task(_forward(target, link.client, self.down))
        raise _Ended


async def _raise_once_ended(link: _Link) -> None:
    await link.ended.wait()
    raise _Ended


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Direction) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
    async with asyncio.TaskGroup() as group:
        group.create_task(_read(reader, queue))
        group.create_task(_write(queue, writer, faults))


async def _read(reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
    loop = asyncio.get_running_loop()
    data = b"first"
    while data:
        data = await reader.read(CHUNK_BYTES)
        await queue.put((loop.time(), data))


async def _write(
    queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, faults: Direction
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        read_at, data = await queue.get()
        if (early := read_at + faults.latency_seconds - loop.time()) > 0:
            await asyncio.sleep(early)
        while faults.hold:  # noqa: ASYNC110  # tests switch a plain attribute, not an Event
            await asyncio.sleep(_HOLD_POLL_SECONDS)
        if not data and not faults.swallow:
            writer.write_eof()
        if not data:
            break
        for piece in faults.slices(data):
            await _write_piece(piece, writer, faults)
    # After a swallowed end nobody knows that the stream is over, as after a cable was pulled.
    if faults.swallow:
        await asyncio.Event().wait()


async def _write_piece(piece: bytes, writer: asyncio.StreamWriter, faults: Direction) -> None:
    if faults.swallow:
        faults.swallowed_bytes += len(piece)
        return
    left = faults.cut_after_bytes
    if left is not None:
        piece = piece[:left]
        faults.cut_after_bytes = left - len(piece)
    writer.write(piece)
    faults.passed_bytes += len(piece)
    await writer.drain()
    if left is not None and faults.cut_after_bytes == 0:
        faults.cut_after_bytes = None
        raise _Ended
    if pause := faults.pause_after(piece):
        await asyncio.sleep(pause)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST, also where bytes wait."""
    if writer.transport.is_closing():
        return
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
