"""The front: aiohttp's HTTP server, with an answer of ours for what is no HTTP (PROTOCOL §2)."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fanwire_protocol.codes import HandshakeError

__all__ = ["Front"]

_BROKEN = {"error": {"code": HandshakeError.BAD_REQUEST.value, "message": "not a valid HTTP/1.1 request"}}


class _Handler(RequestHandler):
    """Reads the requests of one connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that cannot be read, or whose handler failed."""
        answer = super().handle_error(request, status, exc, message)
        if status == HandshakeError.BAD_REQUEST.status:
            # aiohttp's own quotes the line that it could not read, which may hold a token.
            answer = web.json_response(_BROKEN, status=status)
            answer.force_close()
        return answer


class _Server(web.Server):
    """Makes a handler for each connection."""

    def __call__(self) -> RequestHandler:
        no_log = None  # As AppRunner passes it on, too.
        return _Handler(self, loop=asyncio.get_running_loop(), access_log=no_log)  # type: ignore[arg-type]


class Front(web.AppRunner):
    """Runs an application on the public port."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory)
