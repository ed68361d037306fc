"""Child processes that are told what to do by lines and answer with lines of JSON."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.bench.machine import run_on

__all__ = ["NoAnswer", "Process", "is_listening", "poll_until"]

ROOT = Path(__file__).parents[2]
_CHUNK_BYTES = 65536


class NoAnswer(RuntimeError):
    """A process of the benchmark ended, or did not answer or get there in time."""


def poll_until(
    condition: Callable[[], bool], what: str, deadline_seconds: float, every_seconds: float = 0.02
) -> None:
    """Wait until *condition* holds; raises NoAnswer naming *what* after the deadline."""
    deadline = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NoAnswer(f"not within {deadline_seconds:g} s: {what}")
        time.sleep(every_seconds)


def is_listening(port: int) -> bool:
    """Tell whether something takes connections on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A running program on a core of its own choice. Use it as a context manager."""

    def __init__(self, command: Sequence[str | Path], core: int) -> None:
        self._name = Path(command[0]).name if str(command[0]) != sys.executable else str(command[2])
        self._child = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        run_on(core, self._child.pid)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, line: str, deadline_seconds: float = 10.0) -> dict[str, Any]:
        """Send a line and return the answer; raises NoAnswer."""
        self.tell(line)
        return self.read(deadline_seconds)

    def tell(self, line: str) -> None:
        """Send a line; raises NoAnswer where the program has ended."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line.encode() + b"\n")
            self._child.stdin.flush()
        except OSError as error:
            raise NoAnswer(f"{self._name} has ended") from error

    def read(self, deadline_seconds: float) -> dict[str, Any]:
        """Return the next line the program writes; raises NoAnswer."""
        assert self._child.stdout is not None
        deadline = time.monotonic() + deadline_seconds
        while b"\n" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._child.stdout], [], [], left)[0]:
                raise NoAnswer(f"{self._name} did not answer within {deadline_seconds:g} s")
            chunk = self._child.stdout.raw.read(_CHUNK_BYTES)  # type: ignore[attr-defined]
            if not chunk:
                raise NoAnswer(f"{self._name} ended with status {self._child.wait(5)}")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the program: by the end of its input, then by force."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                stream.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
