"""The kit's fault-injecting proxy does to a connection what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.kit.processes import free_port
from tests.kit.proxy import FaultProxy
from tests.kit.wait import eventually

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo_server(answer_prefix: bytes = b"") -> AsyncIterator[tuple[str, int]]:
    """A server that sends back what it gets, and what was left after the client's FIN: `bye`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(answer_prefix + data)
                await writer.drain()
            writer.write(b"bye")
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@dataclass
class Rig:
    """A proxy before an echo server, and a client's streams through it."""

    proxy: FaultProxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readexactly(size)

    async def read_all(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.read()


async def send_until_stuck(writer: asyncio.StreamWriter, limit: int = 64_000_000) -> int:
    """Send until nothing goes any more for 0.3 s, and return how many bytes went."""
    sent = 0
    while sent < limit:
        writer.write(b"x" * 65_536)
        try:
            async with asyncio.timeout(0.3):
                await writer.drain()
        except TimeoutError:
            break
        sent += 65_536
    return sent


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with echo_server() as address, FaultProxy(address) as proxy:
        reader, writer = await asyncio.open_connection(*proxy.address)
        yield Rig(proxy, reader, writer)
        writer.close()


async def test_bytes_pass_unchanged_both_ways_and_so_does_the_end(rig: Rig) -> None:
    """Without faults a megabyte goes there and back, and a FIN is passed on while the answer still comes."""
    data = bytes(range(256)) * 4096

    rig.writer.write(data)
    assert await rig.read(len(data)) == data

    rig.writer.write_eof()
    assert await rig.read_all() == b"bye"
    await eventually(lambda: rig.proxy.connections == 0)


async def test_latency_delays_a_byte_and_does_not_divide_the_rate(rig: Rig) -> None:
    """Every chunk comes later by the latency; chunks sent together come together."""
    rig.proxy.up.latency_seconds = rig.proxy.down.latency_seconds = 0.25
    started = time.monotonic()

    rig.writer.write(b"x" * 40_000)
    await rig.read(40_000)

    assert 0.5 <= time.monotonic() - started < 1.0


async def test_rate_limits_a_direction(rig: Rig) -> None:
    """4,000 bytes at 20,000 bytes/s take a fifth of a second."""
    rig.proxy.down.rate_bytes_per_second = 20_000
    started = time.monotonic()

    rig.writer.write(b"x" * 4_000)
    await rig.read(4_000)

    assert 0.15 <= time.monotonic() - started < 5


async def test_slices_come_one_by_one(rig: Rig) -> None:
    """With slices of 3 bytes the client reads pieces of 3."""
    rig.proxy.down.slice_bytes = 3
    rig.proxy.down.slice_delay_seconds = 0.02

    rig.writer.write(b"abcdefg")

    assert [await rig.reader.read(100) for _ in range(3)] == [b"abc", b"def", b"g"]


async def test_swallowed_replies_never_arrive_and_the_connection_stays(rig: Rig) -> None:
    """What comes down is lost while `swallow` is on, and later bytes pass again."""
    rig.proxy.down.swallow = True
    rig.writer.write(b"lost")
    await eventually(lambda: rig.proxy.down.swallowed_bytes == 4)
    rig.proxy.heal()

    rig.writer.write(b"found")

    assert await rig.read(5) == b"found"
    assert rig.proxy.up.passed_bytes == 9


async def test_black_hole_hides_the_end_of_a_peer(rig: Rig) -> None:
    """Neither bytes nor FIN pass a black hole, and the connection stays open until it is reset."""
    rig.proxy.black_hole()
    rig.writer.write(b"lost")
    rig.writer.write_eof()
    await eventually(lambda: rig.proxy.up.swallowed_bytes == 4)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await rig.reader.read(1)
    assert rig.proxy.connections == 1


async def test_held_bytes_arrive_after_the_hold(rig: Rig) -> None:
    """`hold` keeps bytes back and loses none."""
    rig.proxy.down.hold = True
    rig.writer.write(b"late")
    await eventually(lambda: rig.proxy.up.passed_bytes == 4)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await rig.reader.read(1)
    rig.proxy.heal()

    assert await rig.read(4) == b"late"


async def test_reset_breaks_open_connections_and_new_ones_work(rig: Rig) -> None:
    """The client sees ECONNRESET at once, and may dial again."""
    rig.writer.write(b"x")
    await rig.read(1)

    rig.proxy.reset()

    with pytest.raises(ConnectionResetError):
        await rig.read_all()
    await eventually(lambda: rig.proxy.connections == 0)
    reader, writer = await asyncio.open_connection(*rig.proxy.address)
    writer.write(b"again")
    assert await reader.readexactly(5) == b"again"
    writer.close()


async def test_half_close_ends_one_direction_only(rig: Rig) -> None:
    """After a FIN towards the target the rest of its answer still comes."""
    rig.writer.write(b"x")
    await rig.read(1)

    rig.proxy.half_close(up=True)

    assert await rig.read_all() == b"bye"


async def test_cut_closes_after_so_many_bytes_once(rig: Rig) -> None:
    """Exactly the promised bytes arrive before the end, and the next connection is not cut."""
    rig.proxy.down.cut_after_bytes = 5

    rig.writer.write(b"0123456789")

    assert await rig.read_all() == b"01234"
    assert rig.proxy.down.cut_after_bytes is None


async def test_refused_port_refuses_and_accepts_again(rig: Rig) -> None:
    """While refusing, dialling fails and the open connection goes on; afterwards dialling works."""
    rig.writer.write(b"x")
    await rig.read(1)
    rig.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*rig.proxy.address)

    rig.writer.write(b"still")
    assert await rig.read(5) == b"still"

    await rig.proxy.accept()
    _, writer = await asyncio.open_connection(*rig.proxy.address)
    writer.close()


async def test_target_can_be_changed_and_a_dead_one_ends_the_client(rig: Rig) -> None:
    """New connections go to the new target; where nothing listens there the client is cut off."""
    async with echo_server(b"other ") as other:
        rig.proxy.target = other
        reader, writer = await asyncio.open_connection(*rig.proxy.address)
        writer.write(b"x")
        assert await reader.readexactly(7) == b"other x"
        writer.close()

    rig.proxy.target = ("127.0.0.1", free_port())
    reader, writer = await asyncio.open_connection(*rig.proxy.address)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_peer_that_does_not_read_stops_the_sender(rig: Rig) -> None:
    """The proxy's buffers are bounded: a sender into a held direction soon has to wait."""
    rig.proxy.up.hold = True

    sent = await send_until_stuck(rig.writer)

    assert sent < 8_000_000


async def test_stop_ends_stuck_connections_in_time() -> None:
    """Leaving the proxy ends connections whose bytes are held or delayed for long."""
    async with echo_server() as address:
        proxy = await FaultProxy(address).start()
        _, writer = await asyncio.open_connection(*proxy.address)
        proxy.up.latency_seconds = 60
        writer.write(b"x")
        await eventually(lambda: proxy.connections == 1)
        started = time.monotonic()

        await proxy.stop()

        assert time.monotonic() - started < 10
        assert proxy.connections == 0
        writer.close()
