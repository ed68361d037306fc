"""What a case of the Autobahn test suite is here, and the frames that cases are made of.

The suite asks an echo server. An edge echoes as well, in its way: what is sent as the `id` of a `ping` comes
back as `replyTo`. So a case's text goes out as such an `id`, its frames cut where the suite cuts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fanwire_protocol.codes import ErrorCode
from tests.edge.wire import CLOSE, TEXT, frame_bytes

__all__ = [
    "CONTINUATION",
    "HEAR",
    "Case",
    "Heard",
    "Step",
    "chopped",
    "close",
    "command",
    "fragments",
    "frame",
    "said",
    "sized",
]

CONTINUATION = 0x0
# The step of waiting for an answer before the next bytes are sent.
HEAR = None
Step = bytes | None
# A PONG's payload, a `replyTo`, or the code of an `error`.
Heard = bytes | str | int | ErrorCode

frame = frame_bytes


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the suite: what is sent, what comes back, and the code of the CLOSE at the end.

    `deviates` is set where an edge answers otherwise than the suite asks for; the page says why.
    """

    id: str
    steps: Sequence[Step]
    heard: Sequence[Heard] = ()
    code: int = 1000
    deviates: bool = False


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """Return a CLOSE frame."""
    return frame_bytes(b"" if code is None else code.to_bytes(2, "big") + reason, CLOSE)


def command(text: str | bytes) -> bytes:
    """Return a command whose answer repeats *text*."""
    raw = text.encode() if isinstance(text, str) else text
    return b'{"type":"ping","id":"%b"}' % raw


def said(text: str | bytes, *, reserved: int = 0) -> bytes:
    """Return a text frame whose answer repeats *text*."""
    return frame_bytes(command(text), reserved=reserved)


def sized(size: int) -> bytes:
    """Return a command of *size* bytes whose answer repeats the number."""
    bare = b'{"type":"ping","id":%d,"x":"%b"}'
    return bare % (size, b"*" * (size - len(bare % (size, b""))))


def fragments(payload: bytes, *cuts: int) -> list[bytes]:
    """Return a text message as frames that end at *cuts*."""
    places = [0, *cuts, len(payload)]
    pieces = [payload[start:end] for start, end in pairwise(places)]
    last = len(pieces) - 1
    return [
        frame_bytes(piece, CONTINUATION if index else TEXT, fin=index == last)
        for index, piece in enumerate(pieces)
    ]


def chopped(data: bytes, size: int = 1) -> list[bytes]:
    """Return *data* in pieces that are sent one by one."""
    return [data[start : start + size] for start in range(0, len(data), size)]
