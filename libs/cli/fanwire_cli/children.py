"""Child processes: started in order, watched while they run, ended in the opposite order.

Theory of operation. Each child leads a session of its own, so that Ctrl-C reaches only the parent, which
then ends the children one after the other: SIGTERM, a deadline, SIGKILL for what is left of the session.
A task per child reads its output and notices its end. A child that ends by itself is a failure of the
whole: the task raises ChildEnded, and the TaskGroup that all of it runs in unwinds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

__all__ = ["ChildEnded", "Children", "Program"]

_LEASH = str(Path(__file__).with_name("leash.py"))
_LAST_LINES = 15
_MAX_LINE_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; the environment may hold secrets and is in no `repr`."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    end_seconds: float = 5.0


class ChildEnded(Exception):
    """A child ended by itself; carries its name, exit status and last lines of output."""

    def __init__(self, name: str, status: int, last_lines: tuple[str, ...]) -> None:
        how = f"was ended by signal {-status}" if status < 0 else f"ended with exit code {status}"
        super().__init__(f"{name} {how}")
        self.name = name
        self.status = status
        self.last_lines = last_lines


class Children:
    """The children of one parent. `show` is given each line of output with the name of its child."""

    def __init__(self, show: Callable[[str, str], None]) -> None:
        self._show = show
        self._running: list[_Child] = []

    async def start(self, program: Program, group: asyncio.TaskGroup) -> None:
        """Start *program* and watch it in *group*, which gets ChildEnded when it ends by itself."""
        child = _Child(program, await _spawn(program), self._show)
        self._running.append(child)
        group.create_task(child.watch(), name=f"watch {program.name}")

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children, the oldest first."""
        return tuple(child.pid for child in self._running)

    def last_lines(self, name: str) -> tuple[str, ...]:
        """Return the last lines that the child *name* printed."""
        return next((child.last_lines for child in self._running if child.name == name), ())

    async def end(self) -> None:
        """End every child, the youngest first, each within its deadline. Nothing is left when it returns."""
        while self._running:
            await self._running[-1].end()
            self._running.pop()


class _Child:
    def __init__(
        self, program: Program, process: asyncio.subprocess.Process, show: Callable[[str, str], None]
    ) -> None:
        self._program = program
        self._process = process
        self._show = show
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self.name = program.name
        self.pid = process.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        return tuple(self._last_lines)

    async def watch(self) -> NoReturn:
        await self._read_output()
        status = await self._process.wait()
        raise ChildEnded(self.name, status, self.last_lines)

    async def end(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._program.end_seconds):
                await self._drain()
        except TimeoutError:
            pass  # It did not obey, or left children of its own that hold its output open.
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)
        except ProcessLookupError:
            pass  # It has ended, which is what was wanted.

    async def _drain(self) -> None:
        stdout = self._process.stdout
        while stdout is not None and await stdout.read(65_536):
            pass
        await self._process.wait()

    async def _read_output(self) -> None:
        rest = b""
        stdout = self._process.stdout
        while stdout is not None and (data := await stdout.read(65_536)):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line)
            rest = rest[-_MAX_LINE_BYTES:]
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        text = line[:_MAX_LINE_BYTES].decode(errors="replace").rstrip()
        self._last_lines.append(text)
        self._show(self.name, text)


async def _spawn(program: Program) -> asyncio.subprocess.Process:
    # -S and -E keep the leash's own start short and independent of the environment meant for the program.
    leash = (sys.executable, "-S", "-E", _LEASH, str(os.getpid()))
    return await asyncio.create_subprocess_exec(
        *leash,
        *program.argv,
        env=dict(program.environment),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
