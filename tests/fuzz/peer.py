"""A peer that says what it was told to and takes note of all that comes back; and what may come back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.edge.wire import CLOSE, PING, PONG, TEXT

__all__ = ["Peer", "check_frames", "check_http"]

DEADLINE_SECONDS = 10.0
CLOSES = {1002, 1003, 1007, 1009, 4506}
STATUSES = {101, 200, 400, 401, 404, 405, 413, 417, 426, 431, 503}
FRAME_TYPES = {"connected", "subscribed", "unsubscribed", "gap", "pong", "error", "disconnect"}
HEAD_END = b"\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


class Peer(asyncio.Protocol):
    """One TCP connection. What was received is whole also where the connection was reset."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.is_lost = asyncio.Event()
        self.has_news = asyncio.Event()
        self.was_reset = False
        self.transport: asyncio.Transport | None = None

    @classmethod
    @asynccontextmanager
    async def dial(cls, port: int) -> AsyncIterator[Peer]:
        """Connect to a loopback port; at the end nothing is left of it."""
        transport, peer = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        try:
            yield peer
        finally:
            transport.abort()
            await peer.is_lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.has_news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.was_reset = exc is not None
        self.is_lost.set()
        self.has_news.set()

    @property
    def answers(self) -> bytes:
        """What was received, without the answer to `Expect: 100-continue`."""
        return bytes(self.received).removeprefix(CONTINUE)

    async def say(self, segments: Sequence[bytes]) -> None:
        """Send each of *segments* by itself, as long as there is somebody to send it to."""
        assert self.transport is not None
        for segment in segments:
            if not self.is_lost.is_set():
                self.transport.write(segment)
                await asyncio.sleep(0)

    async def upgraded(self) -> bool:
        """Wait for the end of the first answer's head, or of the connection; tells whether that is 101."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while HEAD_END not in self.answers and not self.is_lost.is_set():
                self.has_news.clear()
                await self.has_news.wait()
        found = _STATUS.match(self.answers)
        return found is not None and found[1] == b"101" and HEAD_END in self.answers

    async def leave(self) -> None:
        """Say that nothing more comes, and wait for the server to close: a hang is a failure."""
        assert self.transport is not None
        if not self.is_lost.is_set():
            with suppress(OSError):  # It was reset meanwhile.
                self.transport.write_eof()
        await self.end()

    async def end(self) -> None:
        """Wait for the server to close."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.is_lost.wait()


def check_http(data: bytes, token: str) -> list[int]:
    """Check answers before an upgrade: allowed ones, that do not repeat the token. Returns their status."""
    found = [int(status) for status in _STATUS.findall(data)]
    assert data.startswith(b"HTTP/") or not data, data[:200]
    assert set(found) <= STATUSES, found
    assert token.encode() not in data, "the answer repeats the token"
    return found


def check_frames(data: bytes, *, was_reset: bool = False) -> int | None:
    """Check the frames after an upgrade and return the code of the CLOSE, None where there is none.

    They are whole, except for the last of a connection that was reset; nothing comes behind a CLOSE.
    """
    at, code = 0, None
    last: dict[str, Any] = {}
    while at < len(data):
        assert code is None, "something comes behind the CLOSE"
        opcode, payload, at = _frame(data, at)
        if at > len(data):
            assert was_reset, "the last frame is cut off"
            return None
        match opcode:
            case 0x1:
                last = json.loads(payload)
                assert last["type"] in FRAME_TYPES, last
            case 0x8:
                code = int.from_bytes(payload[:2], "big")
            case _:
                assert opcode in (PING, PONG), opcode
    _check_end(code, last)
    return code


def _check_end(code: int | None, last: dict[str, Any]) -> None:
    if last.get("type") == "disconnect":
        assert code in CLOSES, (code, last)
        assert last["payload"]["code"] == code
    elif code is not None:
        # The peer's own, sent back.
        assert code not in (1005, 1006, 1015), code
        assert 1000 <= code <= 4999, code


def _frame(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return opcode and payload of the frame at *at*, and where the next one begins."""
    assert data[at] & 0xF0 == 0x80, f"head {data[at]:#x}"
    opcode = data[at] & 0x0F
    assert opcode in (TEXT, CLOSE, PING, PONG), opcode
    if at + 1 >= len(data):
        return opcode, b"", len(data) + 1
    size, start = data[at + 1], at + 2
    assert size < 0x80, "the server does not mask"
    if size >= 126:
        width = 2 if size == 126 else 8
        size, start = int.from_bytes(data[start : start + width], "big"), start + width
    return opcode, data[start : start + size], start + size
