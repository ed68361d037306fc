"""The takeover: aiohttp shakes hands, then the transport is ours (ADR 0001).

This module and `connection.py` hold all that touches aiohttp's private names: `_message_tail` here, the
reader and its queue there. Contract tests pin each of them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib

from aiohttp import web

__all__ = ["SERVER", "accept_key", "is_upgrade", "take_over"]

# What answers are told to be from; versions are for operators to know.
SERVER = "fanwire"
# RFC 6455 section 1.3.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def is_upgrade(request: web.Request) -> bool:
    """Tell whether *request* asks for a WebSocket at all."""
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


def accept_key(request: web.Request) -> str | None:
    """Return `Sec-WebSocket-Accept` for a valid opening handshake (RFC 6455 section 4.2.1), else None."""
    headers = request.headers
    lines = ",".join(headers.getall("Connection", []))
    connection = {token.strip().lower() for token in lines.split(",")}
    key = headers.get("Sec-WebSocket-Key", "")
    is_valid = (
        request.method == "GET"
        and request.version >= (1, 1)
        and "upgrade" in connection
        and headers.get("Sec-WebSocket-Version", "").strip() == "13"
        and "Content-Length" not in headers
        and "Transfer-Encoding" not in headers
    )
    try:
        is_valid = is_valid and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return None
    if not is_valid:
        # Also because the key may be text that has no encoding.
        return None
    digest = hashlib.sha1(key.encode() + _GUID).digest()  # the RFC's choice, no secret
    return base64.b64encode(digest).decode()


async def take_over(
    request: web.Request, accept: str, subprotocol: str | None, extension: str | None = None
) -> tuple[web.StreamResponse, asyncio.Transport, bytes]:
    """Answer 101 and take the transport from aiohttp.

    Returns the response that the handler has to return, the transport, which has no protocol of use any
    more until the caller sets one, and the bytes that came behind the handshake.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the peer left during the handshake")
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept,
        "Server": SERVER,
    }
    if subprotocol is not None:
        headers["Sec-WebSocket-Protocol"] = subprotocol
    if extension is not None:
        headers["Sec-WebSocket-Extensions"] = extension
    response = web.StreamResponse(status=101, headers=headers)
    response.force_close()
    await response.prepare(request)
    protocol = request.protocol
    rest = protocol._message_tail
    protocol._message_tail = b""
    # aiohttp forgets the connection as if the peer had left; with no transport it cannot close it.
    protocol.transport = None
    protocol.connection_lost(None)
    # It pauses reading where much came behind the handshake; nobody else would resume.
    transport.resume_reading()
    return response, transport, rest
