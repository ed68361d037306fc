"""Floods of the smallest frames that there are, before and while a client is served."""

from __future__ import annotations

import pytest

from tests.edge.running import RunningEdge
from tests.edge.wire import PING, PONG, TEXT, frame_bytes, upgrade_request

CONTINUATION = 0x0
# Several reads of a socket.
BYTES = 1_000_000
# Each took more than a minute of the edge's loop when waiting messages were looked through one by one.
SMALLEST = [frame_bytes(b"", PING), frame_bytes('{"type":"ping"}'), frame_bytes(""), frame_bytes(b"", PONG)]


@pytest.mark.parametrize("frame", SMALLEST, ids=["PING", "ping", "nothing", "PONG"])
async def test_what_comes_right_behind_the_handshake_holds_nobody_up(
    edge: RunningEdge, tenant: str, frame: bytes
) -> None:
    """Tens of thousands of messages wait before the client has joined: others are answered meanwhile, and
    this one is sent away."""
    shown = f"Authorization: Bearer {edge.token(tenant)}"
    async with edge.client(tenant) as neighbour, await edge.dial() as wire:
        wire.writer.write(upgrade_request(shown) + frame * (BYTES // len(frame)))

        assert (await wire.http_answer()).status == 101
        await neighbour.silence()
        assert (await wire.closing()).code in (4029, 4506)
        await neighbour.silence()


@pytest.mark.parametrize(
    ("begin", "frame", "code"),
    [
        (b"", frame_bytes(b"", PONG), 4029),
        (frame_bytes("", fin=False), frame_bytes("", CONTINUATION, fin=False), 1009),
    ],
    ids=["PONG", "fragments"],
)
async def test_frames_that_ask_for_nothing_are_counted_too(
    edge: RunningEdge, tenant: str, begin: bytes, frame: bytes, code: int
) -> None:
    """Nobody answers them, and whoever sends them without end is sent away."""
    async with edge.client(tenant) as wire:
        wire.writer.write(begin + frame * 1000)

        assert (await wire.closing()).code == code


async def test_a_message_in_many_pieces_is_one(edge: RunningEdge, tenant: str) -> None:
    """Whoever splits a command into single bytes, with nothing in between, is understood."""
    text = b'{"type":"ping","id":1}'
    async with edge.client(tenant) as wire:
        wire.send_frame(text[:1], TEXT, fin=False)
        for byte in text[1:]:
            wire.send_frame(b"", CONTINUATION, fin=False)
            wire.send_frame(bytes([byte]), CONTINUATION, fin=False)
        wire.send_frame(b"", CONTINUATION)

        assert (await wire.message("pong"))["replyTo"] == 1
