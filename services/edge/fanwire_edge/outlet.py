"""The outlet: the socket behind a transport, for what is sent to thousands at once (ADR 0009).

A transport's `write` costs a quarter of what the system call in it does. So the fan-out writes to the socket
itself, as long as nothing waits in the transport: what waits must go first. The number of the socket is
valid until `connection_lost` has returned (asyncio and uvloop close it behind that), and nobody may use it
from then on: it may be somebody else's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from functools import partial

from fanwire_edge.core.hub import Sink

__all__ = ["abort", "direct_sink"]

_NO_LINGER = struct.pack("ii", 1, 0)


def direct_sink(transport: asyncio.Transport) -> Sink | None:
    """Return what writes to the socket of *transport* and tells how many bytes that took.

    It raises BlockingIOError where the socket takes none. None where there is no plain socket.
    """
    opened = transport.get_extra_info("socket")
    if opened is None or transport.get_extra_info("sslcontext") is not None:
        return None
    return partial(os.write, opened.fileno())


def abort(transport: asyncio.Transport) -> None:
    """Free the socket at once: only this helps against a peer that does not read (DESIGN "Traps").

    Without a linger time of zero the kernel would go on offering what it holds, for minutes.
    """
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
