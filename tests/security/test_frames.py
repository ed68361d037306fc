"""Frames, commands and names of an attacker: S25 to S29, S32, S34 to S36, with PROTOCOL's codes."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest

from fanwire_protocol.channels import InvalidChannel, parse_channel
from tests.edge.running import RunningEdge
from tests.edge.wire import BINARY, CLOSE, PING, TEXT, Wire, frame_bytes, upgrade_request

CONTINUATION, RESERVED = 0x0, 0x3
RSV1 = 0b100


def _closing(code: int) -> bytes:
    return frame_bytes(code.to_bytes(2, "big"), CLOSE)


async def _closed_with(edge: RunningEdge, tenant: str, data: bytes) -> int:
    async with edge.client(tenant) as wire:
        wire.writer.write(data)
        return (await wire.closing()).code


@pytest.mark.parametrize(
    "data",
    [
        frame_bytes("{}", reserved=RSV1),
        frame_bytes("{}", RESERVED),
        frame_bytes("a", PING, fin=False),
        frame_bytes("x" * 126, PING),
        frame_bytes("{}", CONTINUATION),
        frame_bytes(b"\x03", CLOSE),
        _closing(999),
        frame_bytes("{", fin=False) + frame_bytes("}", TEXT),
    ],
    ids=["RSV1", "opcode", "fragmented ping", "126 B ping", "orphan", "1-byte close", "999", "interleaved"],
)
async def test_s25_what_breaks_the_rules_of_frames_closes_with_1002(
    edge: RunningEdge, tenant: str, data: bytes
) -> None:
    """Nothing of it is carried out."""
    assert await _closed_with(edge, tenant, data) == 1002


@pytest.mark.parametrize(
    "frames",
    [
        [frame_bytes(b"\xff")],
        [frame_bytes(b"\xce", fin=False), frame_bytes(b"\x28", CONTINUATION)],
        [frame_bytes(b"\xc0\xaf")],
        [frame_bytes(b"\xed\xa0\x80")],
        [frame_bytes(b"\xf4\x90\x80\x80")],
    ],
    ids=["whole", "split", "overlong", "surrogate", "beyond Unicode"],
)
async def test_s26_text_that_is_no_utf_8_closes_with_1007(
    edge: RunningEdge, tenant: str, frames: Sequence[bytes]
) -> None:
    """However it is cut."""
    assert await _closed_with(edge, tenant, b"".join(frames)) == 1007


def _resident_bytes(edge: RunningEdge) -> int:
    pages = Path(f"/proc/{edge.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("!BBQ", 0x81, 0xFF, 2**40) + bytes(4),
        frame_bytes("x" * 4097),
        frame_bytes("x", fin=False) + frame_bytes("x", CONTINUATION, fin=False) * 5000,
    ],
    ids=["claims 2^40", "4,097 bytes", "1-byte fragments"],
)
async def test_s27_what_is_too_long_closes_with_1009_before_it_is_kept(
    edge: RunningEdge, tenant: str, data: bytes
) -> None:
    """The edge does not grow with what is claimed or sent."""
    before = _resident_bytes(edge)

    assert await _closed_with(edge, tenant, data) == 1009
    assert _resident_bytes(edge) - before < 1_000_000


@pytest.mark.parametrize(
    "data", [frame_bytes("{}", masked=False), _closing(1006)], ids=["unmasked", "close 1006"]
)
async def test_s28_unmasked_frames_and_close_1006_are_1002(
    edge: RunningEdge, tenant: str, data: bytes
) -> None:
    """Where aiohttp alone would take the one and echo the other."""
    assert await _closed_with(edge, tenant, data) == 1002


async def test_s29_compression_is_not_agreed_on_unless_configured(edge: RunningEdge, tenant: str) -> None:
    """An offer is passed over, so that there is neither a bomb nor a side channel."""
    async with await edge.dial() as wire:
        answer = await wire.ask(
            upgrade_request(
                f"Authorization: Bearer {edge.token(tenant)}",
                "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            )
        )
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers
        await wire.message("connected")
        wire.send_frame(b"\xaa\x56\x2a", TEXT, reserved=RSV1)
        assert (await wire.closing()).code == 1002


NAMES = [
    "tenant:{}:resource:orders:4\n2",
    "tenant:{}:resource:orders:4\x002",
    "tenant:{}:resource:orders:4\u202e2",
    "tenant:{}:resource:orders:?",
    "tenant:{}:resource:orders:[0-9]",
    "tenant:{}:resource:orders:{{a,b}}",
    "tenant:{}:resource:*:42",
    "tenant:{}:resource:orders:4*",
    "tenant:*:resource:orders:42",
    "tenant:*",
    "*",
    "tenant:{}:..",
    "tenant:{}:resource:ord\u0435rs:42",  # a Cyrillic letter that looks like e
    "tenant:{}:resource:\uff4frders:42",  # NFKC makes an o of it
    "tenant:{}:resource:orders:42:",
    "TENANT:{}:resource:orders:42",
    "tenant:{}:Resource:orders:42",
    " tenant:{}:resource:orders:42",
    "tenant:{}:resource:orders:" + "x" * 129,
    "",
]


@pytest.mark.parametrize("template", NAMES, ids=map(ascii, NAMES))
async def test_s32_names_that_only_look_like_channels_are_invalid(
    edge: RunningEdge, tenant: str, template: str
) -> None:
    """The connection stays, is on nothing more, and the name is matched as a whole."""
    async with edge.client(tenant, channels=[f"tenant:{tenant}:resource:*"]) as wire:
        answer = await wire.call({"type": "subscribe", "channel": template.format(tenant)}, "error")

        assert answer["payload"]["code"] == "invalid_channel"
        assert answer["payload"]["channels"] == sorted(wire.greeting["channels"])
        await wire.silence()


@pytest.mark.parametrize(
    "name",
    [
        "tenant:" * 580,
        "a" * 4096,
        ":" * 4096,
        "tenant:a:resource:" + "*:" * 2000,
        "tenant:a:resource:orders:" + "*" * 4000,
        "é" * 2048,
    ],
    ids=["repeated", "long", "colons", "stars", "star at the end", "not ASCII"],
)
def test_s34_no_name_takes_long_to_refuse(name: str) -> None:
    """Parsing is linear: the best of several tries of 4 KB stays below a millisecond."""

    def seconds() -> float:
        begun = time.perf_counter()
        with pytest.raises(InvalidChannel):
            parse_channel(name)
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(5)) < 0.001


BROKEN = {
    "depth": "[" * 4000,
    "deep objects": '{"a":' * 600 + "1" + "}" * 600,
    "NaN": '{"type":"ping","id":NaN}',
    "Infinity": '{"type":"ping","id":Infinity}',
    "1e999": '{"type":"ping","id":1e999}',
    "a key twice": '{"type":"ping","type":"pong"}',
    "4,000 digits": '{"type":"ping","id":' + "9" * 4000 + "}",
    "surrogate": '{"type":"ping","id":"\\ud800"}',
    "byte order mark": '\ufeff{"type":"ping"}',
    "a list": '[{"type":"ping"}]',
    "a text": '"ping"',
    "nothing": "",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_s35_json_that_is_none_is_an_error_and_ten_close_with_4506(
    edge: RunningEdge, tenant: str, text: str
) -> None:
    """The connection stays for nine of them; no input makes the edge fail."""
    async with edge.client(tenant) as wire:
        for _ in range(9):
            answer = await wire.call(text, "error")
            assert answer["payload"]["code"] in ("invalid_json", "invalid_message")
        await wire.silence()
        for _ in range(10):
            wire.send(text)
        assert (await wire.closing()).code == 4506


async def test_s35_keys_that_are_not_known_are_passed_over(edge: RunningEdge, tenant: str) -> None:
    """Also those that other parsers give a meaning."""
    async with edge.client(tenant) as wire:
        await wire.call({"type": "ping", "__proto__": {}, "constructor": 1, "tenant": "other"}, "pong")


async def test_s36_binary_frames_close_with_1003_where_msgpack_was_not_agreed_on(
    edge: RunningEdge, tenant: str
) -> None:
    """A JSON connection takes text only."""
    command = msgpack.packb({"type": "ping"})

    assert await _closed_with(edge, tenant, frame_bytes(command, BINARY)) == 1003


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 4000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        msgpack.packb({"type": "ping", "id": msgpack.ExtType(1, b"x")}),
        msgpack.packb({"type": "ping", "id": msgpack.Timestamp(1)}),
        b"\x82"
        + msgpack.packb("type")
        + msgpack.packb("ping")
        + msgpack.packb("type")
        + msgpack.packb("pong"),
        msgpack.packb({1: "ping"}),
    ],
    ids=["depth", "list", "map", "bytes", "extension", "timestamp", "a key twice", "a number as key"],
)
async def test_s36_bombs_and_extensions_in_msgpack_are_errors(
    edge: RunningEdge, tenant: str, data: bytes
) -> None:
    """No memory is taken for what is only claimed, and the connection stays."""
    lines = ("Sec-WebSocket-Protocol: fanwire.v1.msgpack", f"Authorization: Bearer {edge.token(tenant)}")
    async with await edge.dial() as wire:
        assert (await wire.ask(upgrade_request(*lines))).status == 101
        await _packed(wire)
        before = _resident_bytes(edge)
        wire.send_frame(data, BINARY)
        answer = await _packed(wire)

        assert answer["payload"]["code"] in ("invalid_json", "invalid_message")
        assert _resident_bytes(edge) - before < 1_000_000
        wire.send_frame(msgpack.packb({"type": "ping"}), BINARY)
        assert (await _packed(wire))["type"] == "pong"


async def _packed(wire: Wire) -> dict[str, Any]:
    opcode, payload = await wire.frame()
    assert opcode == BINARY
    found: dict[str, Any] = msgpack.unpackb(payload)
    return found
