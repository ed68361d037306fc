"""What an edge answers one user who subscribes to channels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiohttp

from fanwire_parity._table import Table
from fanwire_protocol.codes import CloseCode, ErrorCode
from fanwire_protocol.commands import MAX_COMMAND_BYTES

__all__ = ["answers_of"]

# What an edge says before the upgrade, or with a close code behind it, as the answer to every subscription
# that would have followed.
_STATUSES = {401: "unauthenticated", 403: "forbidden", 429: "rate_limited", 503: "unavailable"}
_CLOSES: Mapping[int, str] = {
    CloseCode.UNAUTHENTICATED: "unauthenticated",
    CloseCode.FORBIDDEN: "forbidden",
    CloseCode.RATE_LIMITED: "rate_limited",
    CloseCode.DRAINING: "unavailable",
}
NO_CONNECTION = "no connection"
CUT = "connection lost"
SILENT = "no answer"
# Leaves room for what stands around the names in a command.
_NAMES_BYTES = MAX_COMMAND_BYTES - 128
_NAMES = 100
# How often a command is sent again that came too soon, as the edge says.
_ATTEMPTS = 30


class _Ended(Exception):
    """The edge says no more; *answer* stands for what it did not say."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


async def answers_of(
    session: aiohttp.ClientSession, table: Table, headers: Mapping[str, str], channels: Sequence[str]
) -> Mapping[str, str]:
    """Return the edge's answer for each of *channels*: `subscribed`, a code, or how the connection failed."""
    known: dict[str, str] = {}
    try:
        async with await _opened(session, table, headers) as socket:
            talk = _Talk(socket, table.timeout_seconds)
            for names in _portions(channels):
                known.update(await talk.ask(names))
    except _Ended as end:
        return dict.fromkeys(channels, end.answer) | known
    except aiohttp.ClientError:
        return dict.fromkeys(channels, CUT) | known
    return known


async def _opened(
    session: aiohttp.ClientSession, table: Table, headers: Mapping[str, str]
) -> aiohttp.ClientWebSocketResponse:
    try:
        async with asyncio.timeout(table.timeout_seconds):
            return await session.ws_connect(table.edge, headers=headers, origin=table.origin)
    except aiohttp.WSServerHandshakeError as refusal:
        raise _Ended(_STATUSES.get(refusal.status, f"HTTP {refusal.status}")) from refusal
    except (aiohttp.ClientError, TimeoutError) as problem:
        raise _Ended(NO_CONNECTION) from problem


def _portions(names: Sequence[str]) -> Iterator[list[str]]:
    """Yield *names*, each once, in such portions as one command takes."""
    portion: list[str] = []
    size = 0
    for name in dict.fromkeys(names):
        length = len(json.dumps(name)) + 2
        if portion and (size + length > _NAMES_BYTES or len(portion) == _NAMES):
            yield portion
            portion, size = [], 0
        portion.append(name)
        size += length
    if portion:
        yield portion


class _Talk:
    """Commands and their answers; each frame has to come within *seconds*."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, seconds: float) -> None:
        self._socket = socket
        self._seconds = seconds
        self._number = 0

    async def ask(self, names: Sequence[str]) -> Mapping[str, str]:
        """Subscribe to *names*, leave what was joined, and return the answers; raises _Ended."""
        known: dict[str, str] = {}
        left = list(names)
        while left:
            found = await self._call("subscribe", left)
            known |= found
            joined = [name for name in left if found[name] == "subscribed"]
            if not joined:
                break
            await self._call("unsubscribe", joined)
            # These met the limit of channels that the others had filled.
            left = [name for name in left if found[name] == ErrorCode.LIMIT_EXCEEDED]
        return known

    async def _call(self, type_: str, names: Sequence[str]) -> Mapping[str, str]:
        """Send a command about *names* and return its answers, by name."""
        known: dict[str, str] = {}
        for _ in range(_ATTEMPTS):
            self._number += 1
            await self._socket.send_json({"type": type_, "id": self._number, "channels": list(names)})
            pause = await self._answers(set(names), known)
            if pause is None:
                break
            await asyncio.sleep(pause)
        return known

    async def _answers(self, waiting: set[str], known: dict[str, str]) -> float | None:
        """Note the answers to the last command in *known*.

        Returns after how many seconds the edge wants to hear it again, None where it was in time.
        """
        pause = None
        while waiting:
            frame = await self._frame()
            if frame.get("replyTo") == self._number:
                found = _found(frame, waiting)
                known.update(found)
                waiting -= found.keys()
                pause = _pause(frame)
        return pause

    async def _frame(self) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._socket.receive()
        except TimeoutError as problem:
            raise _Ended(SILENT) from problem
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise _Ended(_CLOSES.get(self._socket.close_code or 0, CUT))
        frame: Mapping[str, Any] = message.json()
        return frame


def _found(frame: Mapping[str, Any], waiting: set[str]) -> dict[str, str]:
    """Return what *frame* answers of the channels *waiting*."""
    match frame.get("type"):
        case "subscribed" | "unsubscribed" as answer:
            return {name: answer for name in frame["payload"]["channels"] if name in waiting}
        case "error":
            code = str(frame["payload"].get("code", ErrorCode.INVALID_MESSAGE))
            named = frame.get("channel")
            # An error that names no channel is about the whole command.
            return dict.fromkeys(waiting if named is None else waiting & {named}, code)
    return {}


def _pause(frame: Mapping[str, Any]) -> float | None:
    payload = frame.get("payload", {})
    if frame.get("type") != "error" or payload.get("code") != ErrorCode.RATE_LIMITED:
        return None
    return float(payload.get("retryAfterMs", 1000)) / 1000
