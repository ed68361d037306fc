"""The outlet: what it uses of transports that asyncio and uvloop do not promise (ADR 0009)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
import uvloop

from fanwire_edge.outlet import abort, direct_sink
from tests.kit.wait import eventually

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
End = Callable[[asyncio.Transport, socket.socket], None]


class Witness(asyncio.Protocol):
    """Looks at the socket when the connection is lost."""

    def __init__(self, inode: int, number: int) -> None:
        self._inode = inode
        self._number = number
        self.is_the_same: bool | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whether the number still stands for the socket."""
        self.is_the_same = os.fstat(self._number).st_ino == self._inode


def _reset(transport: asyncio.Transport, peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


ENDS: dict[str, End] = {
    "closed": lambda transport, peer: transport.close(),
    "aborted": lambda transport, peer: abort(transport),
    "left by its peer": lambda transport, peer: peer.close(),
    "reset by its peer": _reset,
}


async def _connected() -> tuple[asyncio.Transport, Witness, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    peer.setblocking(False)
    witness = Witness(os.fstat(accepted.fileno()).st_ino, accepted.fileno())
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: witness, accepted)
    return transport, witness, peer


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_socket_is_closed_only_behind_connection_lost(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], end: End
) -> None:
    """Until then its number is nobody else's; so nothing is ever written to a stranger."""

    async def live_and_die() -> None:
        transport, witness, peer = await _connected()
        sink = direct_sink(transport)
        assert sink is not None
        assert sink(b"hello") == 5
        end(transport, peer)
        await eventually(lambda: witness.is_the_same is not None)
        assert witness.is_the_same
        peer.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(live_and_die())


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_what_a_transport_takes_is_on_its_way_or_counted(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """So that nothing written to the socket overtakes it; and a full socket says so."""

    async def fill() -> None:
        transport, _, peer = await _connected()
        sink = direct_sink(transport)
        assert sink is not None
        transport.write(b"first")
        assert transport.get_write_buffer_size() == 0
        with suppress(BlockingIOError):
            while sink(b"x" * 65536):
                pass
        transport.write(b"last")
        assert transport.get_write_buffer_size() == 4
        abort(transport)
        peer.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(fill())


async def test_without_a_plain_socket_there_is_no_direct_way() -> None:
    """What is encrypted has to go through the transport."""

    class Encrypted(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return object()

    assert direct_sink(Encrypted()) is None
    assert direct_sink(asyncio.Transport()) is None
