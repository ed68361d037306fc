"""permessage-deflate (RFC 7692), without context takeover: every message stands alone.

So one compressed message serves everyone who agreed to it, and no connection keeps a window, neither for
what it is sent nor for what it sends. What would take a window of its own is not agreed to, and the
connection goes on uncompressed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

__all__ = ["InvalidDeflate", "TooLong", "deflated", "inflated", "negotiate"]

_NAME = "permessage-deflate"
_SERVER_BITS, _CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_AGREED = f"{_NAME}; " + "; ".join(_FLAGS)
# An offer's text at most; beyond it nothing is agreed to.
_MAX_OFFER_CHARACTERS = 1024
_OFFER = re.compile(r'(?:[^,"]|"[^"]*")+')
_PARAMETER = re.compile(r'\s*([a-z_-]+)\s*(?:=\s*("?)([0-9]+)\2\s*)?', re.ASCII)
_MAX_BITS = 15
# What a flush leaves behind and a message goes without (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"


class InvalidDeflate(ValueError):
    """The bytes are no DEFLATE stream."""


class TooLong(ValueError):
    """The message is longer than its receiver takes."""


def negotiate(lines: Iterable[str]) -> str | None:
    """Return what answers the lines of `Sec-WebSocket-Extensions`, None where nothing can be agreed on.

    The first offer counts that needs no smaller window than ours, which is the largest.
    """
    text = ",".join(lines)
    if len(text) > _MAX_OFFER_CHARACTERS:
        return None
    for offer in _OFFER.findall(text):
        name, *parameters = offer.split(";")
        if name.strip() == _NAME:
            asked = _parameters(parameters)
            if asked is not None and _is_acceptable(asked):
                return _AGREED + (f"; {_SERVER_BITS}={_MAX_BITS}" if _SERVER_BITS in asked else "")
    return None


def deflated(payload: bytes) -> bytes:
    """Compress one message."""
    packer = zlib.compressobj(wbits=-_MAX_BITS)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)


def inflated(data: bytes | bytearray, at_most: int) -> bytes:
    """Decompress one message; raises InvalidDeflate, TooLong where it has more than *at_most* bytes."""
    try:
        payload = zlib.decompressobj(-_MAX_BITS).decompress(data + _TAIL, at_most + 1)
    except zlib.error as problem:
        raise InvalidDeflate("not valid DEFLATE") from problem
    if len(payload) > at_most:
        raise TooLong(f"a message has at most {at_most} bytes")
    return payload


def _parameters(texts: Iterable[str]) -> Mapping[str, str | None] | None:
    found: dict[str, str | None] = {}
    for name, value in _pairs(texts):
        if name in found or name == "":
            return None
        found[name] = value
    return found


def _pairs(texts: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    for text in texts:
        match = _PARAMETER.fullmatch(text)
        yield ("", None) if match is None else (match[1], match[3])


def _is_acceptable(asked: Mapping[str, str | None]) -> bool:
    """Tell whether an offer is one of RFC 7692 (section 7.1) and asks for no smaller window of ours."""
    for name, value in asked.items():
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover":
                is_good = value is None
            case "server_max_window_bits":
                is_good = value == str(_MAX_BITS)
            case "client_max_window_bits":
                is_good = value is None or value in map(str, range(8, _MAX_BITS + 1))
            case _:
                is_good = False
        if not is_good:
            return False
    return True
