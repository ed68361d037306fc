"""The audit log in a file, or on standard output: whole lines, appended by a thread of their own.

A disk or a reader that hangs holds up that thread and nobody else, not even the end of the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeAlias

from fanwire_edge.core.audit import MAX_LINE_BYTES
from fanwire_edge.ports import AuditFailed
from fanwire_protocol.settings import SettingError

__all__ = ["AuditFile", "AuditStdout"]

# Owner and group; a log shipper is in the group.
MODE = 0o640
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_Job: TypeAlias = tuple[Callable[[], None], "asyncio.Future[None]"]


class _Hand:
    """A thread that does one thing after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, work: Callable[[], None]) -> None:
        """Do *work* and raise what it raises; who is cancelled does not stop it."""
        if self._thread is None:
            # The interpreter does not wait for a daemon when it ends, whatever that waits for.
            self._thread = threading.Thread(target=self._work, name="fanwire-audit", daemon=True)
            self._thread.start()
        done = asyncio.get_running_loop().create_future()
        self._jobs.put((work, done))
        await asyncio.shield(done)

    def _work(self) -> None:
        while True:
            work, done = self._jobs.get()
            problem: BaseException | None = None
            try:
                work()
            except BaseException as error:  # noqa: BLE001  # who waits for it raises it
                problem = error
            try:
                done.get_loop().call_soon_threadsafe(_settle, done, problem)
            except RuntimeError:
                # The loop has ended; nobody waits any more.
                return


def _settle(done: asyncio.Future[None], problem: BaseException | None) -> None:
    if problem is None:
        done.set_result(None)
    else:
        done.set_exception(problem)


class AuditStdout:
    """Appends to what is open under a number; standard output by default."""

    def __init__(self, number: int = 1) -> None:
        self._number = number
        self._hand = _Hand()
        # Whether the last write ended within a line.
        self._is_torn = False

    async def write(self, lines: Sequence[bytes]) -> None:
        """Append *lines*; raises AuditFailed."""
        await self._hand.do(lambda: self._append(lines))

    def reopen(self) -> None:
        """Go on: there is no name to open anew."""

    async def close(self) -> None:
        """Go on: what is open is closed with the process."""

    def _descriptor(self) -> int:
        return self._number

    def _append(self, lines: Sequence[bytes]) -> None:
        written = 0
        try:
            descriptor = self._descriptor()
            for count, piece in _pieces(lines):
                self._put(descriptor, piece)
                written += count
        except OSError as error:
            raise AuditFailed(error.strerror or type(error).__name__, written) from error

    def _put(self, descriptor: int, piece: bytes) -> None:
        """Write *piece*; where a line was left unfinished before, the next one begins behind its end."""
        data = b"\n" + piece if self._is_torn else piece
        taken = os.write(descriptor, data)
        self._is_torn = self._is_torn and taken == 0
        while taken < len(data):
            self._is_torn = True
            taken += os.write(descriptor, data[taken:])
        self._is_torn = False


class AuditFile(AuditStdout):
    """Appends to the file *path*, or to the new one that logrotate has put in its place.

    Raises SettingError where it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            super().__init__(os.open(path, _FLAGS, MODE))
        except OSError as error:
            raise SettingError(
                f"audit.path: cannot append to {path!r}: {error.strerror}; "
                "give a file in a folder that this process may write to"
            ) from error
        self._path = path
        self._is_stale = False

    def reopen(self) -> None:
        """Open the name anew before the next line."""
        self._is_stale = True

    def _descriptor(self) -> int:
        if self._is_stale or self._is_moved():
            fresh = os.open(self._path, _FLAGS, MODE)
            os.close(self._number)
            self._number, self._is_stale, self._is_torn = fresh, False, False
        return self._number

    def _is_moved(self) -> bool:
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return True
        mine = os.fstat(self._number)
        return (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino)


def _pieces(lines: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines joined, with their number, in pieces that a pipe with several writers takes whole."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        if held and size + len(line) > MAX_LINE_BYTES:
            yield len(held), b"".join(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        yield len(held), b"".join(held)
