"""The storm as tests see it; `tests/bench/storm.c` says what it does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self

from tests.bench.programs import compile_program
from tests.kit.wait import eventually

__all__ = ["Storm"]

ANSWER_SECONDS = 15.0


class Storm:
    """Many clients of one process, on `groups` channels; an async context manager that waits for all."""

    def __init__(self, port: int, clients: int, groups: int, window_ms: int, tokens: Path) -> None:
        self.clients = clients
        self._arguments = [str(each) for each in (port, clients, groups, window_ms, tokens)]
        self._process: asyncio.subprocess.Process | None = None

    async def come_back_to(self, port: int) -> None:
        """Let those who are cut from now on come back to another port."""
        await self._ask(f"storm {port}")

    async def report(self) -> dict[str, Any]:
        """Return what the clients got so far."""
        return await self._ask("report")

    async def all_back(self, deadline_seconds: float) -> dict[str, Any]:
        """Wait until every client is back and level; raises AssertionError with the last report."""

        async def are_back() -> dict[str, Any] | None:
            report = await self.report()
            assert report["back"] == self.clients, report
            return report

        return await eventually(are_back, deadline_seconds, "all clients back") or {}

    async def all_at_least(self, number: int, deadline_seconds: float) -> dict[str, Any]:
        """Wait until every client has seen the event *number* of its channel, or a later one."""

        async def is_there() -> dict[str, Any] | None:
            report = await self.report()
            assert report["least"] >= number, report
            return report

        return await eventually(is_there, deadline_seconds, f"event {number} everywhere") or {}

    async def all_at(self, number: int, deadline_seconds: float) -> dict[str, Any]:
        """Wait until every client has seen the event *number* of its channel."""

        async def is_there() -> dict[str, Any] | None:
            report = await self.report()
            assert (report["least"], report["most"]) == (number, number), report
            return report

        return await eventually(is_there, deadline_seconds, f"event {number} everywhere") or {}

    async def _ask(self, line: str) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self._read(ANSWER_SECONDS)

    async def _read(self, deadline_seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(deadline_seconds):
            line = await self._process.stdout.readline()
        assert line, f"the storm ended with {await self._process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def __aenter__(self) -> Self:
        program = await asyncio.to_thread(compile_program, "storm")
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            program, *self._arguments, stdin=pipe, stdout=pipe
        )
        try:
            assert (await self._read(120))["ready"] == self.clients
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        if process.returncode is None:
            process.kill()
        await process.wait()
