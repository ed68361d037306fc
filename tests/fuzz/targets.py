"""What any bytes may be put into: each target takes bytes, and raises where a parser breaks its promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from fanwire_edge.core.address import client_address, counted_address, parse_network
from fanwire_edge.core.credential import SOURCES, Sources, select
from fanwire_edge.core.deflate import InvalidDeflate, TooLong, inflated, negotiate
from fanwire_edge.core.dialect import DeflatedDialect, Dialect
from fanwire_edge.core.entrypoint import InvalidParameter, parse_entrypoints
from fanwire_edge.core.origin import is_origin
from fanwire_edge.core.principal import Principal
from fanwire_edge.inbound import Inbound
from fanwire_edge.intake import Intake
from fanwire_protocol.channels import InvalidChannel, covers, matching_patterns, parse_channel
from fanwire_protocol.codec import Encoding, InvalidData, decode, encode
from fanwire_protocol.commands import MAX_COMMAND_BYTES, InvalidCommand, decode_command, encode_command
from fanwire_protocol.event import decode_event, encode_event
from fanwire_protocol.frames import decode_frame, encode_frame
from fanwire_protocol.handshake import bearer_of, parse_offer
from fanwire_protocol.orders import Order, decode_order, encode_order
from fanwire_protocol.position import InvalidPosition, parse_offset, parse_position
from tests.edge.wire import frame_bytes

__all__ = ["TARGETS", "Target"]

Target = Callable[[bytes], None]
ENCODINGS: tuple[Encoding, ...] = ("json", "msgpack")
# How a reader says that a peer broke the rules.
CODES = {1002, 1007, 1009}
_PLAIN = Dialect("json")
DIALECTS = (_PLAIN, DeflatedDialect(_PLAIN, 0))
TRUSTED = (parse_network("10.0.0.0/8"),)
PRINCIPAL = Principal("u-1", "acme")
[ENTRYPOINT] = parse_entrypoints(
    {"entrypoint": [{"path": "/{a}?b={b}", "channels": ["tenant:{tenant}:resource:{a}:{b}"]}]}
)


def commands(data: bytes) -> None:
    """A command, or InvalidCommand with a text that fits a frame; a command survives its way back."""
    for encoding in ENCODINGS:
        try:
            command = decode_command(data, encoding)
        except InvalidCommand as mistake:
            encode(mistake.message, "json")
        else:
            assert decode_command(encode_command(command, encoding), encoding) == command


def codecs(data: bytes) -> None:
    """A value that can be sent on, or InvalidData."""
    for encoding in ENCODINGS:
        try:
            value = decode(data, encoding)
        except InvalidData:
            continue
        assert decode(encode(value, encoding), encoding) == value


def events(data: bytes) -> None:
    """An event, or InvalidEvent, or what that is a kind of."""
    try:
        event = decode_event(data)
    except InvalidData:
        return
    assert decode_event(encode_event(event)) == event


def orders(data: bytes) -> None:
    """An order, or InvalidOrder, or what that is a kind of."""
    try:
        order = decode_order(data)
    except InvalidData:
        return
    if isinstance(order, Order):
        assert decode_order(encode_order(order)) == order


def frames(data: bytes) -> None:
    """A frame as the client reads it, or InvalidData."""
    for encoding in ENCODINGS:
        try:
            frame = decode_frame(data, encoding)
        except InvalidData:
            continue
        encode_frame(frame, encoding)


def positions(data: bytes) -> None:
    """A position or offset that is spelt as it was, or InvalidPosition."""
    text = data.decode(errors="replace")
    for parse in (parse_position, parse_offset):
        try:
            assert str(parse(text)) == text
        except InvalidPosition:
            pass


def channels(data: bytes) -> None:
    """A channel that its own patterns cover, or InvalidChannel."""
    name = data.decode(errors="replace")
    try:
        parse_channel(name)
    except InvalidChannel:
        return
    assert all(covers(pattern, name) for pattern in matching_patterns(name))


def handshakes(data: bytes) -> None:
    """Headers as aiohttp hands them on: an offer that answers with what was offered, and shows no token."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    offer = parse_offer(lines)
    entries = [entry.strip(" \t") for line in lines for entry in line.split(",")]
    chosen = offer.choose(("fanwire.v1.json", "fanwire.v1.msgpack"))
    assert chosen is None or chosen in entries
    if offer.token is not None and offer.token.lower() not in "offer(bearer=none)bearer":
        assert offer.token not in repr(offer).replace(repr(offer.bearer), "")
    for line in lines:
        bearer_of(line)
        negotiate([line])
    negotiate(lines)


def visitors(data: bytes) -> None:
    """Headers of somebody at the door: an address, and a credential that can be shown on or says that it
    cannot; of a path only segments get into a channel, and those of the client's own tenant."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    ip_address(client_address("10.0.0.1", lines, TRUSTED))
    for line in lines:
        counted_address(line)
        is_origin(line)
        places = {"Cookie": line, "Authorization": line, "X-API-Key": line}
        credential = select(Sources(SOURCES), parse_offer(()), places, {"token": line})
        if credential is not None and credential.is_sound:
            assert "\r" not in credential.forward[1]
            assert credential.text in credential.forward[1]
        try:
            channels = ENTRYPOINT.entry({"a": line}, {"b": [line]}).channels_for(PRINCIPAL)
        except InvalidParameter:
            continue
        assert [parse_channel(channel.name).tenant for channel in channels] == ["acme"]


def deflate(data: bytes) -> None:
    """At most as many bytes as were asked for, or one of the two refusals."""
    try:
        assert len(inflated(data, MAX_COMMAND_BYTES)) <= MAX_COMMAND_BYTES
    except (InvalidDeflate, TooLong):
        pass


@dataclass(slots=True)
class Ear:
    """Writes down what a reader calls back."""

    heard: list[Any] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def receive(self, message: Any) -> None:
        assert not self.codes, "nothing comes behind a failure"
        assert len(message.data) <= MAX_COMMAND_BYTES if isinstance(message.data, str | bytes) else True
        self.heard.append((message.type, message.data))

    def fail(self, problem: BaseException) -> None:
        code = getattr(problem, "code", None)
        if code not in CODES:
            raise AssertionError(f"not a fault of the peer: {problem!r}") from problem
        self.codes.append(code)


def _cut(data: bytes) -> list[bytes]:
    """Return the pieces of *data*, the sizes of which stand in its first bytes."""
    sizes, rest = data[:4], data[4:]
    pieces = []
    for size in sizes:
        pieces.append(rest[: size + 1])
        rest = rest[size + 1 :]
    return [piece for piece in (*pieces, rest) if piece]


def inbound(data: bytes) -> None:
    """The same messages and end however the bytes are cut, by a reader of one's own or by the shared one."""
    pieces = _cut(data)
    for dialect in DIALECTS:
        is_deflated = dialect.is_deflated
        whole, cut, shared, other = Ear(), Ear(), Ear(), Ear()
        Inbound(whole, is_deflated=is_deflated).feed(b"".join(pieces))
        reader = Inbound(cut, is_deflated=is_deflated)
        intake, own = Intake(), None
        for number, piece in enumerate(pieces):
            reader.feed(piece)
            if own is None:
                own = intake.feed(shared, piece, dialect)
            else:
                own.feed(piece)
            # Another connection's message, behind whatever the first one is in the middle of.
            assert intake.feed(other, frame_bytes(str(number)), dialect) is None
        assert (whole.heard, whole.codes) == (cut.heard, cut.codes) == (shared.heard, shared.codes)
        assert [text for _, text in other.heard] == [str(number) for number in range(len(pieces))]
        assert len(whole.codes) <= 1


TARGETS: Mapping[str, Target] = {
    target.__name__: target
    for target in (
        channels,
        codecs,
        commands,
        deflate,
        events,
        frames,
        handshakes,
        inbound,
        orders,
        positions,
        visitors,
    )
}
