"""Commands: what a client sends (PROTOCOL §4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fanwire_protocol.channels import is_segment
from fanwire_protocol.codec import Encoding, InvalidData, JsonValue, decode, encode
from fanwire_protocol.codes import ErrorCode
from fanwire_protocol.position import InvalidPosition, Position, parse_offset, parse_position

__all__ = [
    "MAX_COMMAND_BYTES",
    "Authenticate",
    "Command",
    "InvalidCommand",
    "Ping",
    "Pong",
    "Presence",
    "ReplyTo",
    "RequestState",
    "Since",
    "Subscribe",
    "Unsubscribe",
    "decode_command",
    "encode_command",
]

MAX_COMMAND_BYTES = 4096
ReplyTo: TypeAlias = int | str | None
Since: TypeAlias = Mapping[str, Position]


class InvalidCommand(ValueError):
    """The message is no command; *code* and the text go into the `error` frame."""

    def __init__(self, code: ErrorCode, message: str, reply_to: ReplyTo = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reply_to = reply_to


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Join channels; *since* asks for everything after these positions."""

    channels: tuple[str, ...]
    since: Since | None = None
    reply_to: ReplyTo = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Leave channels."""

    channels: tuple[str, ...]
    reply_to: ReplyTo = None


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a `pong`, which carries fresh positions."""

    reply_to: ReplyTo = None


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer a `ping` of the server; not answered."""

    reply_to: ReplyTo = None


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Authenticate in band, or refresh. The token is in no `repr`."""

    token: str
    reply_to: ReplyTo = None

    def __repr__(self) -> str:
        return f"Authenticate(reply_to={self.reply_to!r})"


@dataclass(frozen=True, slots=True)
class RequestState:
    """Ask for a snapshot of a channel, or of the entrypoint's channels."""

    channel: str | None = None
    reply_to: ReplyTo = None


@dataclass(frozen=True, slots=True)
class Presence:
    """Ask who is on a channel."""

    channel: str
    reply_to: ReplyTo = None


Command: TypeAlias = Subscribe | Unsubscribe | Ping | Pong | Authenticate | RequestState | Presence


def decode_command(data: str | bytes, encoding: Encoding = "json") -> Command:
    """Decode one command; raises InvalidCommand and nothing else, whatever the input."""
    try:
        fields = decode(data, encoding)
    except InvalidData as error:
        raise InvalidCommand(ErrorCode.INVALID_JSON, str(error)) from error
    if type(fields) is not dict:
        raise InvalidCommand(ErrorCode.INVALID_MESSAGE, "a command is an object with a `type`")
    reply_to = _reply_to(fields)
    try:
        return _build(fields, reply_to)
    except InvalidPosition as error:
        raise InvalidCommand(ErrorCode.INVALID_MESSAGE, f"since: {error}", reply_to) from error
    except InvalidData as error:
        raise InvalidCommand(ErrorCode.INVALID_MESSAGE, error.reason, reply_to) from error


def encode_command(command: Command, encoding: Encoding = "json") -> bytes:
    """Encode *command*."""
    fields = _fields(command)
    if command.reply_to is not None:
        fields["id"] = command.reply_to
    return encode(fields, encoding)


def _fields(command: Command) -> dict[str, JsonValue]:
    match command:
        case Subscribe(channels, None):
            return {"type": "subscribe", "channels": channels}
        case Subscribe(channels, since):
            places = {topic: str(position) for topic, position in (since or {}).items()}
            return {"type": "subscribe", "channels": channels, "since": places}
        case Unsubscribe(channels):
            return {"type": "unsubscribe", "channels": channels}
        case Authenticate(token):
            return {"type": "authenticate", "token": token}
        case RequestState(None):
            return {"type": "request.state"}
        case RequestState(channel):
            return {"type": "request.state", "channel": channel}
        case Presence(channel):
            return {"type": "presence", "channel": channel}
    return {"type": type(command).__name__.lower()}


def _build(fields: Mapping[str, Any], reply_to: ReplyTo) -> Command:
    match fields.get("type"):
        case "subscribe":
            return Subscribe(_channels(fields), _since(fields.get("since")), reply_to)
        case "unsubscribe":
            return Unsubscribe(_channels(fields), reply_to)
        case "ping":
            return Ping(reply_to)
        case "pong":
            return Pong(reply_to)
        case "authenticate":
            return Authenticate(_text(fields, "token"), reply_to)
        case "request.state":
            channel = None if fields.get("channel") is None else _text(fields, "channel")
            return RequestState(channel, reply_to)
        case "presence":
            return Presence(_text(fields, "channel"), reply_to)
        case str():
            raise InvalidCommand(
                ErrorCode.UNKNOWN_TYPE,
                "known types: subscribe, unsubscribe, ping, pong, authenticate, request.state, presence",
                reply_to,
            )
    raise InvalidData("a command has a `type`, a string")


def _reply_to(fields: Mapping[str, Any]) -> ReplyTo:
    value: object = fields.get("id")
    if value is None or type(value) is int:
        return value
    if type(value) is str and len(value.encode()) <= 64:
        return value
    raise InvalidCommand(ErrorCode.INVALID_MESSAGE, "`id` is an integer or a string of at most 64 bytes")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise InvalidData(f"`{name}` is a string")
    return value


def _channels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the distinct names in the order given."""
    if ("channel" in fields) == ("channels" in fields):
        raise InvalidData("give either `channel` or `channels`")
    names = fields["channels"] if "channels" in fields else [fields["channel"]]
    if type(names) is not list or not names or any(type(name) is not str for name in names):
        raise InvalidData("`channels` is a list of at least one string, `channel` a string")
    return tuple(dict.fromkeys(names))


def _since(value: object) -> Since | None:
    if value is None:
        return None
    if type(value) is str:
        offset = parse_offset(value)
        return {offset.topic: offset.position}
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        raise InvalidData("`since` is an object topic → position, or one offset")
    if not all(map(is_segment, value)):
        raise InvalidData("`since` names a topic that is none; topics are channel segments")
    return {topic: parse_position(text) for topic, text in value.items()}
