"""A real WebSocket server whose every word the test decides."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

from fanwire_protocol.codec import decode_msgpack
from fanwire_protocol.frames import Frame, encode_frame
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from tests.client.wire import connected, subscribed

DEADLINE_SECONDS = 5.0


class Peer:
    """The server's end of one connection."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request = request
        self.socket = socket
        self.close_code: int | None = None
        self._commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.is_over = asyncio.Event()

    @property
    def is_packed(self) -> bool:
        """Whether the connection speaks msgpack."""
        return self.socket.ws_protocol == MSGPACK_SUBPROTOCOL

    async def send(self, *frames: Frame) -> None:
        """Send frames, in what the connection speaks."""
        for item in frames:
            if self.is_packed:
                await self.socket.send_bytes(encode_frame(item, "msgpack"))
            else:
                await self.socket.send_str(encode_frame(item).decode())

    async def command(self, type_: str) -> dict[str, Any]:
        """Return the next command, which must be of this type; pings are skipped unless asked for."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                found = await self._commands.get()
                if found["type"] == type_ or found["type"] != "ping":
                    assert found["type"] == type_
                    return found

    async def welcome(self, **numbers: int) -> dict[str, Any]:
        """Say `connected`, answer the one `subscribe` that follows, and return it."""
        await self.send(connected())
        command = await self.command("subscribe")
        recovered = True if "since" in command else None
        await self.send(subscribed(command["channels"], recovered=recovered, reply_to=command["id"]))
        return command

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a code."""
        await self.socket.close(code=code, message=reason.encode())

    def cut(self) -> None:
        """End the connection without a close frame."""
        transport = self.request.transport
        assert transport is not None
        transport.abort()

    async def over(self) -> None:
        """Wait until the connection is over."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.is_over.wait()

    async def listen(self) -> None:
        """Collect commands until the connection is over."""
        async for message in self.socket:
            if self.is_packed:
                assert message.type is WSMsgType.BINARY
                size, command = len(message.data), decode_msgpack(message.data)
            else:
                assert message.type is WSMsgType.TEXT
                size, command = len(message.data.encode()), json.loads(message.data)
            assert size <= 4096
            self._commands.put_nowait(command)
        self.close_code = self.socket.close_code
        self.is_over.set()


class ScriptedServer:
    """Listens on a free port; refuses what was queued in `refusals` and accepts the rest.

    Where it is deaf, it never reads from what it accepts.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.refusals: deque[web.Response] = deque()
        self.accepted: list[Peer] = []
        self.is_deaf = False
        self.speaks: tuple[str, ...] = (JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL)
        self._hung_up = asyncio.Event()
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        application = web.Application()
        application.router.add_get("/ws", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        self.url = ""

    async def peer(self) -> Peer:
        """Return the next connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._peers.get()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.refusals:
            return self.refusals.popleft()
        socket = web.WebSocketResponse(protocols=self.speaks, autoping=True)
        await socket.prepare(request)
        peer = Peer(request, socket)
        self.accepted.append(peer)
        self._peers.put_nowait(peer)
        if self.is_deaf:
            await self._hung_up.wait()
        else:
            await peer.listen()
        return socket

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"ws://{host}:{port}/ws"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hung_up.set()
        await self._runner.cleanup()
