"""A client that speaks HTTP and WebSocket byte by byte, so that it can also speak them wrongly."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["ABORTED", "Closing", "HttpAnswer", "Wire", "frame_bytes", "upgrade_request"]

DEADLINE_SECONDS = 5.0
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
# The code of a connection whose end nobody announced (RFC 6455 section 7.1.5).
ABORTED = 1006


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a server answered before or instead of the upgrade; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def error(self) -> dict[str, str]:
        """The `error` of a JSON body."""
        assert self.headers["content-type"].startswith("application/json"), self
        found: dict[str, str] = json.loads(self.body)["error"]
        return found


@dataclass(frozen=True, slots=True)
class Closing:
    """How a connection ended, and the messages that came before."""

    code: int
    reason: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def farewell(self) -> dict[str, Any]:
        """The payload of the last message, a `disconnect` frame."""
        last = self.messages[-1]
        assert last["type"] == "disconnect", self.messages
        payload: dict[str, Any] = last["payload"]
        return payload


def upgrade_request(
    *lines: str,
    path: str = "/ws",
    method: str = "GET",
    http: str = "1.1",
    version: str = "13",
    key: str | None = None,
) -> bytes:
    """Return the bytes of an opening handshake with further header *lines*."""
    key = base64.b64encode(os.urandom(16)).decode() if key is None else key
    head = [
        f"{method} {path} HTTP/{http}",
        "Host: edge.test",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Version: {version}",
        f"Sec-WebSocket-Key: {key}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def frame_bytes(
    payload: bytes | str, opcode: int = TEXT, *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """Return one client's frame; *reserved* are the three reserved bits."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    size = len(data)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


class Wire:
    """One TCP connection to an edge. Every read has a deadline. Use it as an async context manager."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting: dict[str, Any] = {}

    @classmethod
    async def dial(cls, port: int) -> Self:
        """Connect to a loopback port."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    @property
    def client_id(self) -> str:
        """The id that the greeting gave."""
        return str(self.greeting["clientId"])

    # HTTP

    async def ask(self, request: bytes) -> HttpAnswer:
        """Send a request and return the answer, with its body where it has one."""
        self.writer.write(request)
        return await self.http_answer()

    async def http_answer(self) -> HttpAnswer:
        """Return the next HTTP answer."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.strip().split("\r\n")
            pairs = [line.split(":", 1) for line in lines]
            names = [name.lower() for name, _ in pairs]
            assert len(set(names)) == len(names), f"a header stands twice: {names}"
            headers = {name.lower(): value.strip() for name, value in pairs}
            status = int(status_line.split(" ", 2)[1])
            size = 0 if status == 101 else int(headers.get("content-length", 0))
            return HttpAnswer(status, headers, await self.reader.readexactly(size))

    async def open(self, *lines: str, path: str = "/ws") -> Self:
        """Upgrade with these header *lines*, and read the greeting."""
        answer = await self.ask(upgrade_request(*lines, path=path))
        assert answer.status == 101, answer
        self.greeting = (await self.message("connected"))["payload"]
        return self

    # Out

    def send(self, *commands: Mapping[str, Any] | str) -> None:
        """Send commands, all in one segment: maps as JSON, strings as they are."""
        texts = [each if isinstance(each, str) else json.dumps(each) for each in commands]
        self.writer.write(b"".join(map(frame_bytes, texts)))

    def send_frame(self, payload: bytes | str, opcode: int = TEXT, **options: Any) -> None:
        """Send one frame; the options are those of `frame_bytes`."""
        self.writer.write(frame_bytes(payload, opcode, **options))

    # In

    async def frame(self, deadline_seconds: float = DEADLINE_SECONDS) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame, which is whole and not masked."""
        async with asyncio.timeout(deadline_seconds):
            first, second = await self.reader.readexactly(2)
            assert first & 0x80, "the server sends whole messages"
            assert not second & 0x80, "the server does not mask"
            size = second
            if size == 126:
                [size] = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                [size] = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def message(
        self, type_: str | None = None, deadline_seconds: float = DEADLINE_SECONDS
    ) -> dict[str, Any]:
        """Return the next message; it is of *type_* where that is given. PINGs are passed over."""
        opcode, payload = await self.frame(deadline_seconds)
        while opcode == PING:
            opcode, payload = await self.frame(deadline_seconds)
        assert opcode == TEXT, (opcode, payload)
        found: dict[str, Any] = json.loads(payload)
        assert type_ in (None, found["type"]), found
        return found

    async def messages(self, count: int) -> list[dict[str, Any]]:
        """Return the next *count* messages."""
        return [await self.message() for _ in range(count)]

    async def call(self, command: Mapping[str, Any] | str, type_: str | None = None) -> dict[str, Any]:
        """Send a command and return the next message."""
        self.send(command)
        return await self.message(type_)

    async def positions(self) -> dict[str, str]:
        """Return the positions of a `pong`."""
        found: dict[str, str] = (await self.call({"type": "ping"}, "pong"))["payload"]["positions"]
        return found

    async def silence(self) -> None:
        """Fail where the next message is not the answer to a ping sent now."""
        await self.call({"type": "ping", "id": "silence"}, "pong")

    async def closing(self, deadline_seconds: float = DEADLINE_SECONDS) -> Closing:
        """Read until the server sends CLOSE or goes away."""
        messages: list[dict[str, Any]] = []
        while True:
            try:
                opcode, payload = await self.frame(deadline_seconds)
            except (asyncio.IncompleteReadError, ConnectionError):
                return Closing(ABORTED, "", messages)
            if opcode == TEXT:
                messages.append(json.loads(payload))
            elif opcode == CLOSE:
                return Closing(int.from_bytes(payload[:2], "big"), payload[2:].decode(), messages)

    async def answer_close(self, code: int) -> None:
        """Answer the server's CLOSE, and wait for the end of the stream."""
        self.send_frame(code.to_bytes(2, "big"), CLOSE)
        assert await self.rest() == b""

    async def rest(self, deadline_seconds: float = DEADLINE_SECONDS) -> bytes:
        """Return everything up to the end of the stream, or to its loss."""
        found = b""
        try:
            async with asyncio.timeout(deadline_seconds):
                while data := await self.reader.read(65536):
                    found += data
        except ConnectionError:
            pass  # Aborted by the server: an end as good as any other.
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self.writer.wait_closed()
        except ConnectionError:
            pass  # The server was first.


def types(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the types of *messages*."""
    return [message["type"] for message in messages]
