"""Outbound WebSocket frames as bytes (RFC 6455 section 5.2).

A server's frames are not masked, so the same bytes go to every client: header and payload are joined
once. Inbound frames are parsed by aiohttp's reader.
"""

from __future__ import annotations

import struct

__all__ = ["PING", "close_frame", "pong_frame", "text_frame"]

PING = b"\x89\x00"
_MAX_REASON_BYTES = 123


def text_frame(payload: bytes) -> bytes:
    """Return one unfragmented text frame."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (0x81, size, payload)
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a PING whose payload has at most 125 bytes."""
    return bytes((0x8A, len(payload))) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a CLOSE frame; the reason is cut to 123 bytes on a character's boundary."""
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return bytes((0x88, 2 + len(text))) + code.to_bytes(2, "big") + text
