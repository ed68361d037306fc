"""The outlet: what it uses of transports that asyncio and uvloop do not promise (ADR 0009)."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import Callable
from contextlib import suppress

import pytest
import uvloop

from fanwire_edge.core.hub import NO_NUMBER, Sender
from fanwire_edge.outlet import abort, compiled_sender, number_of, plain_sender, sender
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
        assert plain_sender(array("i", [number_of(transport)]), 0, 1, b"hello") == []
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
    """So that nothing sent on the socket overtakes it."""

    async def fill() -> None:
        transport, _, peer = await _connected()
        transport.write(b"first")
        assert transport.get_write_buffer_size() == 0
        numbers = array("i", [number_of(transport)])
        while not plain_sender(numbers, 0, 1, b"x" * 65536):
            pass
        transport.write(b"last")
        assert transport.get_write_buffer_size() == 4
        abort(transport)
        peer.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(fill())


def _senders() -> list[Sender]:
    compiled = compiled_sender()
    return [plain_sender] if compiled is None else [plain_sender, compiled]


@pytest.mark.parametrize("send", _senders(), ids=["plain", "compiled"][: len(_senders())])
def test_everybody_is_sent_the_same_and_who_did_not_take_it_is_told_of(send: Sender) -> None:
    """A full socket, and one that is broken, take nothing or a part; the others are not held up."""
    pairs = [socket.socketpair() for _ in range(5)]
    for near, _ in pairs:
        near.setblocking(False)
    broken, full, partly = pairs[1], pairs[3], pairs[4]
    broken[1].close()
    with suppress(BlockingIOError):
        while full[0].send(b"x" * 65536):
            pass
    partly[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    data = b"hello\0" * 10_000
    numbers = array("i", [near.fileno() for near, _ in pairs])

    rest = dict(send(numbers, 0, 5, data[:600]))
    assert rest == {1: 0, 3: 0}
    assert pairs[0][1].recv(1000) == pairs[2][1].recv(1000) == data[:600]

    assert dict(send(numbers, 1, 3, b"again")) == {1: 0}
    assert pairs[2][1].recv(1000) == b"again"

    [(place, taken)] = send(numbers, 4, 5, data)
    assert (place, 0 <= taken < len(data)) == (4, True)
    for pair in pairs:
        for each in pair:
            each.close()


def test_the_compiled_one_is_taken_where_it_is_there() -> None:
    """It is built with the package where there is a compiler."""
    assert (sender() is plain_sender) == (compiled_sender() is None)


async def test_without_a_plain_socket_there_is_no_number() -> None:
    """What is encrypted has to go through the transport."""

    class Encrypted(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return object()

    assert number_of(Encrypted()) == number_of(asyncio.Transport()) == NO_NUMBER
