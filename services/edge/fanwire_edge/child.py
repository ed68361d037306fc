"""A child: the supervisor's end of one life of a worker (see `leash.py` for what goes over the line)."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fanwire_edge.core.totals import Family, families_from
from fanwire_edge.leash import MAX_LINE_BYTES, line_of

__all__ = ["Child", "Report"]

START_SECONDS = 30.0
# From the end of the line to the end of the process.
EXIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """How a worker is, and all that it counts."""

    is_ready: bool
    families: tuple[Family, ...]


class Child:
    """One process. `refusal` is why a new one would not start either, `last` what it told last,
    `heard_at` when that was, by the loop's clock.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.refusal: str | None = None
        self.last: Report | None = None
        # A process that starts has nothing to say for a while, and nobody depends on it.
        self.heard_at = asyncio.get_running_loop().time() + START_SECONDS
        self._process = process
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._awaited: dict[int, asyncio.Future[Report | None]] = {}

    @classmethod
    async def start(cls, argv: Sequence[str], document: Mapping[str, Any]) -> Self:
        """Start *argv* and hand it its settings. Raises OSError where the system has no room for it."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # A session of its own: Ctrl-C is for the supervisor, who passes it on.
                process = await asyncio.create_subprocess_exec(
                    *argv, stdin=theirs.fileno(), start_new_session=True
                )
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE_BYTES)
        writer.write(line_of(dict(document)))
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def run(self) -> int:
        """Listen to it until it ends, and return its exit status, negative for a signal."""
        try:
            while line := await self._reader.readline():
                self.heard_at = asyncio.get_running_loop().time()
                self._take(json.loads(line))
        except (OSError, ValueError):
            pass  # Killed in the middle of a line.
        finally:
            for answer in self._awaited.values():
                if not answer.done():
                    answer.set_result(None)
            self._writer.close()
        return await self.end(EXIT_SECONDS)

    async def report(self, seconds: float) -> Report | None:
        """Ask how it is; None where there is no answer within *seconds*."""
        if self._writer.transport.get_write_buffer_size() or self._writer.is_closing():
            return None  # It does not even read.
        number = next(self._numbers)
        self._awaited[number] = answer = asyncio.get_running_loop().create_future()
        self.order("report", number=number)
        try:
            async with asyncio.timeout(seconds):
                found: Report | None = await answer
                return found
        except TimeoutError:
            return None
        finally:
            del self._awaited[number]

    def order(self, order: str, **details: int) -> None:
        """Tell it to `report`, to `drain` or to `hurry`."""
        if not self._writer.is_closing():
            self._writer.write(line_of({"order": order, **details}))

    async def end(self, seconds: float) -> int:
        """Let go of the line, on which it ends by itself; kill it after *seconds*."""
        self._writer.close()
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
        return await self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        try:
            self._process.kill()
        except ProcessLookupError:
            pass  # It has ended, which is what was wanted.

    def _take(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"refused": str(why)}:
                self.refusal = why
            case {"report": int(number), "is_ready": bool(is_ready), "families": [*families]}:
                self.last = Report(is_ready, families_from(families))
                answer = self._awaited.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(self.last)
