"""The outlet: sockets behind transports, for what is sent to thousands at once (ADR 0009).

A transport's `write` costs a quarter of what the system call in it does. So the fan-out writes to the sockets
itself, as long as nothing waits in their transports: what waits must go first. The number of a socket is
valid until `connection_lost` has returned (asyncio and uvloop close it behind that), and nobody may use it
from then on: it may be somebody else's.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path

from fanwire_edge.core.hub import NO_NUMBER, Sender

__all__ = ["abort", "compiled_sender", "number_of", "plain_sender", "sender"]

_NO_LINGER = struct.pack("ii", 1, 0)
_LIBRARY = Path(__file__).with_name("_sockets.so")


def number_of(transport: asyncio.Transport) -> int:
    """Return the number of the socket of *transport*; NO_NUMBER where there is no plain one."""
    opened = transport.get_extra_info("socket")
    if opened is None or transport.get_extra_info("sslcontext") is not None:
        return NO_NUMBER
    number: int = opened.fileno()
    return number


def sender() -> Sender:
    """Return the fastest there is."""
    return compiled_sender() or plain_sender


def compiled_sender() -> Sender | None:
    """Return the one that was compiled with the package, if it was."""
    try:
        send = ctypes.CDLL(str(_LIBRARY)).fanwire_send_to_all
    except OSError:
        return None
    size_t, ssize_t, pointer = ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_void_p
    send.argtypes = (pointer, ssize_t, ssize_t, ctypes.c_char_p, size_t, pointer)
    send.restype = ssize_t

    def send_to_all(numbers: array[int], start: int, stop: int, data: bytes) -> Sequence[tuple[int, int]]:
        rest = (ssize_t * (2 * (stop - start)))()
        found = send(numbers.buffer_info()[0], start, stop, data, len(data), rest)
        return [(rest[2 * each], rest[2 * each + 1]) for each in range(found)]

    return send_to_all


def plain_sender(numbers: array[int], start: int, stop: int, data: bytes) -> Sequence[tuple[int, int]]:
    """Do what the compiled one does."""
    size, rest = len(data), []
    for place in range(start, stop):
        try:
            taken = os.write(numbers[place], data)
        except OSError:
            taken = 0
        if taken != size:
            rest.append((place, taken))
    return rest


def abort(transport: asyncio.Transport) -> None:
    """Free the socket at once: only this helps against a peer that does not read (DESIGN "Traps").

    Without a linger time of zero the kernel would go on offering what it holds, for minutes.
    """
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
