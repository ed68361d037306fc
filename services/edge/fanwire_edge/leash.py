"""The leash: a worker's end of the line to its supervisor.

Theory of operation. A worker's standard input is one end of a pair of sockets; `child.py` holds the other.
Lines of JSON go both ways. Down: the settings first, so that all workers have the same and no secret
stands in an argument, then orders. Up: that it listens, or why it cannot, and reports when asked for. The
end of the line is the supervisor's end, also where nobody could say so: the worker then leaves the port to
those who come after, and hurries.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fanwire_edge.core.totals import Families, plain
from fanwire_edge.drain import Drain
from fanwire_protocol.settings import SettingError

__all__ = ["Leash", "MAX_LINE_BYTES", "Worker", "line_of"]

MAX_LINE_BYTES = 2**20
FIRST_LINE_SECONDS = 10.0
_STDIN = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """What a supervisor may ask of a worker: how it is, to leave, and to free the port at once."""

    is_ready: Callable[[], bool]
    families: Callable[[], Families]
    drain: Drain
    stop_listening: Callable[[], Awaitable[None]]


class Leash:
    """One worker's line. Before the loop runs it is used blocking, then by `obey`."""

    def __init__(self) -> None:
        """Take standard input; raises SettingError where that is no such line."""
        try:
            self._line = socket.socket(fileno=_STDIN)
        except OSError as problem:
            raise SettingError("--worker: is for the edge itself; use --workers N") from problem
        self._line.settimeout(FIRST_LINE_SECONDS)

    def settings(self) -> dict[str, Any]:
        """Return the settings as a document. Raises EOFError where the supervisor is gone."""
        line = bytearray()
        # Byte by byte, because what follows is for the loop to read.
        while not line.endswith(b"\n"):
            line += self._byte()
        document: dict[str, Any] = json.loads(line)
        return document

    def _byte(self) -> bytes:
        try:
            byte = self._line.recv(1)
        except ConnectionError:
            byte = b""
        if not byte:
            raise EOFError("the supervisor is gone")
        return byte

    def refuse(self, why: str) -> None:
        """Tell the supervisor that there is no use in starting anew."""
        self._line.setblocking(True)
        try:
            self._line.sendall(line_of({"refused": why}))
        except OSError:
            pass  # Nobody is left to be told.

    async def obey(self, worker: Worker) -> None:
        """Carry out orders as long as there is somebody to give them; then see that the worker ends."""
        # A duplicate, so that this end outlives the loop for a refusal.
        reader, writer = await asyncio.open_unix_connection(sock=self._line.dup(), limit=MAX_LINE_BYTES)
        try:
            writer.write(line_of({"listening": True}))
            await _follow(reader, writer, worker)
        finally:
            # What was counted since the last report.
            writer.write(_report(0, worker))
            writer.close()
        await worker.stop_listening()
        worker.drain.hurry()


async def _follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, worker: Worker) -> None:
    try:
        while line := await reader.readline():
            match json.loads(line):
                case {"order": "report", "number": int(number)}:
                    writer.write(_report(number, worker))
                case {"order": "drain"}:
                    worker.drain.begin()
                case {"order": "hurry"}:
                    worker.drain.hurry()
    except (OSError, ValueError):
        pass  # It was killed with something unread, or in the middle of a line, which is an end too.


def _report(number: int, worker: Worker) -> bytes:
    families = plain(worker.families())
    return line_of({"report": number, "is_ready": worker.is_ready(), "families": families})


def line_of(message: dict[str, Any]) -> bytes:
    """Return one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
