"""Refusals of an upgrade, told over HTTP or, after the upgrade, by a close code (PROTOCOL §2)."""

from __future__ import annotations

import logging
import math
from random import Random

from aiohttp import web

from fanwire_edge.core.principal import Principal
from fanwire_protocol.codes import CloseCode, HandshakeError

__all__ = ["Refused", "close_code_of", "is_closable", "refuse", "report"]

# Those who are refused together are asked to come back at different times.
MAX_RETRY_AFTER_SECONDS = 5.0
# Of the rest some come before anybody may hold a WebSocket, and some say that it is none.
_CLOSE_CODES = {
    HandshakeError.UNAUTHENTICATED: CloseCode.UNAUTHENTICATED,
    HandshakeError.FORBIDDEN: CloseCode.FORBIDDEN,
    HandshakeError.CONNECTION_LIMIT: CloseCode.CONNECTION_LIMIT,
    HandshakeError.OVERLOADED: CloseCode.RATE_LIMITED,
    HandshakeError.DRAINING: CloseCode.DRAINING,
    HandshakeError.UNAVAILABLE: CloseCode.DRAINING,
}
_LOGGED = frozenset(
    {HandshakeError.UNAUTHENTICATED, HandshakeError.FORBIDDEN, HandshakeError.ORIGIN_NOT_ALLOWED}
)

logger = logging.getLogger("fanwire.door")


class Refused(Exception):
    """Somebody may not come in; the text goes to the client, who need not come back within `wait_seconds`.

    `principal` is who it is, where that is known.
    """

    def __init__(self, code: HandshakeError, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.wait_seconds = wait_seconds
        self.principal: Principal | None = None

    @property
    def wait_ms(self) -> int:
        """The same in milliseconds."""
        return math.ceil(self.wait_seconds * 1000)

    def spread(self, random: Random) -> None:
        """Ask to wait for a random time at least, where coming back may help."""
        if self.code.status in (429, 503):
            self.wait_seconds = max(self.wait_seconds, random.uniform(0, MAX_RETRY_AFTER_SECONDS))


def is_closable(refusal: Refused) -> bool:
    """Tell whether *refusal* may be told after the upgrade."""
    return refusal.code in _CLOSE_CODES


def close_code_of(refusal: Refused) -> CloseCode:
    """Return the close code that tells *refusal* after the upgrade; 4502 for one that has none of its own."""
    return _CLOSE_CODES.get(refusal.code, CloseCode.FORBIDDEN)


def report(refusal: Refused) -> None:
    """Log a refusal that is about rights."""
    if refusal.code in _LOGGED:
        logger.info("connection_denied", extra={"code": refusal.code.value, "reason": refusal.message})


def refuse(request: web.Request, refusal: Refused, plain_get_status: int) -> web.Response:
    """Return the answer that tells *refusal*, after which the socket is closed."""
    code = refusal.code
    headers = {"Connection": "close"}
    status = code.status
    if code is HandshakeError.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    elif code is HandshakeError.UPGRADE_REQUIRED:
        status = plain_get_status
        headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    elif status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(refusal.wait_seconds)))
    elif request.headers.get("Sec-WebSocket-Version", "13").strip() != "13":
        headers["Sec-WebSocket-Version"] = "13"
    body = {"error": {"code": code.value, "message": refusal.message}}
    response = web.json_response(body, status=status, headers=headers)
    # The header alone does not make aiohttp close.
    response.force_close()
    return response
