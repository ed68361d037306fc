"""The front: aiohttp's HTTP server, with an answer of ours for what is no HTTP (PROTOCOL §2).

Sockets on which no request has arrived are bounded, which aiohttp does not do: without file descriptors left
an edge takes nobody in and loses its broker. The oldest goes for the newest, since who wants something says
so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fanwire_edge.takeover import SERVER
from fanwire_protocol.codes import HandshakeError

__all__ = ["Front"]

_BROKEN = {"error": {"code": HandshakeError.BAD_REQUEST.value, "message": "not a valid HTTP/1.1 request"}}


class _Handler(RequestHandler):
    """Reads the requests of one connection."""

    __slots__ = ("_silent",)

    def __init__(self, server: web.Server, silent: dict[RequestHandler, None]) -> None:
        no_log = None  # As AppRunner passes it on, too.
        super().__init__(server, loop=asyncio.get_running_loop(), access_log=no_log)  # type: ignore[arg-type]
        self._silent = silent

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection (called by the transport)."""
        self._silent.pop(self, None)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that cannot be read, or whose handler failed."""
        answer = super().handle_error(request, status, exc, message)
        answer.headers["Server"] = SERVER
        if status == HandshakeError.BAD_REQUEST.status:
            # aiohttp's own quotes the line that it could not read, which may hold a token.
            answer = web.json_response(_BROKEN, status=status, headers={"Server": SERVER})
            answer.force_close()
        return answer


class _Server(web.Server):
    """Makes a handler for each connection; at most *limit* of them have not got a request."""

    def __init__(self, made: web.Server, limit: int, on_drop: Callable[[], None]) -> None:
        super().__init__(self._handle, request_factory=made.request_factory)
        self._answer = made.request_handler
        self._limit = limit
        self._on_drop = on_drop
        # In the order in which they came.
        self._silent: dict[RequestHandler, None] = {}

    def __call__(self) -> RequestHandler:
        if len(self._silent) >= self._limit:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            if oldest.transport is not None:
                oldest.transport.abort()
                self._on_drop()
        handler = _Handler(self, self._silent)
        self._silent[handler] = None
        return handler

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._silent.pop(request.protocol, None)
        try:
            answer = await self._answer(request)
        except web.HTTPException as found:
            found.headers["Server"] = SERVER
            raise
        answer.headers["Server"] = SERVER
        return answer


class Front(web.AppRunner):
    """Runs an application on the public port.

    Of the sockets on which nothing was asked the oldest is aborted at *most_silent*, and *on_drop* is called.
    """

    def __init__(
        self,
        application: web.Application,
        most_silent: int,
        on_drop: Callable[[], None],
        shutdown_timeout: float = 1.0,
    ) -> None:
        super().__init__(application, shutdown_timeout=shutdown_timeout)
        self._most_silent = most_silent
        self._on_drop = on_drop

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made, self._most_silent, self._on_drop)
