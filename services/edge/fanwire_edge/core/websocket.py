"""WebSocket frames as bytes (RFC 6455 section 5.2).

A server's frames are not masked, so the same bytes go to every client: header and payload are joined
once. Inbound frames are parsed by aiohttp's reader; here is told where one ends.
"""

from __future__ import annotations

import struct

__all__ = [
    "BINARY",
    "DEFLATED",
    "PING",
    "TEXT",
    "are_whole_messages",
    "close_frame",
    "message_frame",
    "payload_of",
    "pong_frame",
]

# First bytes of a whole message; the bit DEFLATED is added where it is compressed (RFC 7692 section 6).
TEXT = 0x81
BINARY = 0x82
DEFLATED = 0x40
PING = b"\x89\x00"
_MAX_REASON_BYTES = 123


def message_frame(payload: bytes, head: int = TEXT) -> bytes:
    """Return a message in one frame that begins with the byte *head*."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (head, size, payload)
    if size < 65536:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


def payload_of(frame: bytes) -> bytes:
    """Return what `message_frame` was given."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a PING whose payload has at most 125 bytes."""
    return bytes((0x8A, len(payload))) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a CLOSE frame; the reason is cut to 123 bytes on a character's boundary."""
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return bytes((0x88, 2 + len(text))) + code.to_bytes(2, "big") + text


def are_whole_messages(data: bytes) -> bool:
    """Tell whether *data* ends where a client's frame ends, and no message in it is in fragments.

    A reader is then behind it as it was before, unless it finds fault.
    """
    at, end = 0, len(data)
    while at + 2 <= end:
        if not data[at] & 0x80 or not data[at + 1] & 0x80:
            return False
        size = data[at + 1] & 0x7F
        at += 6
        if size == 126:
            # Beyond the end these are no bytes, which make 0.
            size = int.from_bytes(data[at - 4 : at - 2], "big")
            at += 2
        elif size == 127:
            # So long that it is too long.
            return False
        at += size
    return at == end
