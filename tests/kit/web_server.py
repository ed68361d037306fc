"""A small web server in a thread of its own, so that tests on any event loop may share it."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.kit.processes import free_port

__all__ = ["Answer", "WebServer"]

START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a status, a body (bytes as they are, text, or anything else as JSON) and headers.

    `delay_seconds` come first; `hang` never answers, `reset` breaks the connection, `half` breaks it in the
    middle of the body.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    hang: bool = False
    reset: bool = False
    half: bool = False

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


class WebServer(ABC):
    """Serves a free loopback port from `start` to `stop`, any number of times; a sync and async context."""

    scheme = "http"

    def __init__(self) -> None:
        self.port = free_port()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: asyncio.Event | None = None

    @abstractmethod
    def answer(self, request: web.BaseRequest) -> Answer:
        """Return the answer to a request; called in the server's thread."""

    def tls(self) -> ssl.SSLContext | None:
        """Return the context of a server that speaks TLS."""
        return None

    def url(self, path: str = "/") -> str:
        """Return the URL of a path."""
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def start(self) -> Self:
        """Listen; returns once connections are accepted."""
        assert self._thread is None, "it is running"
        is_ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(is_ready)), daemon=True)
        self._thread.start()
        assert is_ready.wait(START_SECONDS), "the server did not start"
        return self

    def stop(self) -> None:
        """Break all connections and stop listening; nothing happens where that is done already."""
        thread, self._thread = self._thread, None
        if thread is not None:
            assert self._loop is not None
            assert self._told is not None
            self._loop.call_soon_threadsafe(self._told.set)
            thread.join(START_SECONDS)
            assert not thread.is_alive(), "the server did not stop"

    def close(self) -> None:
        """Stop for good."""
        self.stop()

    async def _serve(self, is_ready: threading.Event) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        server = web.Server(self._handle, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self.tls()).start()
            is_ready.set()
            await self._told.wait()
        finally:
            for site in tuple(runner.sites):
                await site.stop()
            for connection in server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()
            # TLS takes some turns of the loop until its socket is closed.
            for _ in range(5):
                await asyncio.sleep(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = self.answer(request)
        if answer.delay_seconds:
            await asyncio.sleep(answer.delay_seconds)
        if answer.hang:
            await asyncio.Event().wait()
        content = answer.content
        if answer.half:
            response = web.StreamResponse(status=answer.status, headers=answer.headers)
            response.content_length = len(content)
            await response.prepare(request)
            await response.write(content[: len(content) // 2])
        if (answer.half or answer.reset) and request.transport is not None:
            request.transport.abort()
        headers = {"Content-Type": "application/json", **answer.headers}
        return web.Response(status=answer.status, body=content, headers=headers)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
