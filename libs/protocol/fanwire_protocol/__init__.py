"""Fanwire's contract as pure code: no I/O, no clock, no randomness; shared by every package."""

from fanwire_protocol.channels import Channel, ChannelKind, InvalidChannel, parse_channel
from fanwire_protocol.codec import InvalidData, JsonValue
from fanwire_protocol.codes import (
    CloseCode,
    ErrorCode,
    GapReason,
    HandshakeError,
    may_reconnect,
)
from fanwire_protocol.commands import Command, InvalidCommand, decode_command, encode_command
from fanwire_protocol.event import Event, InvalidEvent, decode_event, encode_event
from fanwire_protocol.frames import Frame, decode_frame, encode_frame
from fanwire_protocol.handshake import Offer, parse_offer
from fanwire_protocol.position import (
    InvalidPosition,
    Offset,
    Position,
    parse_offset,
    parse_position,
)
from fanwire_protocol.settings import BrokerSettings, SettingError, load_settings

__all__ = [
    "BrokerSettings",
    "Channel",
    "ChannelKind",
    "CloseCode",
    "Command",
    "ErrorCode",
    "Event",
    "Frame",
    "GapReason",
    "HandshakeError",
    "InvalidChannel",
    "InvalidCommand",
    "InvalidData",
    "InvalidEvent",
    "InvalidPosition",
    "JsonValue",
    "Offer",
    "Offset",
    "Position",
    "SettingError",
    "decode_command",
    "decode_event",
    "decode_frame",
    "encode_command",
    "encode_event",
    "encode_frame",
    "load_settings",
    "may_reconnect",
    "parse_channel",
    "parse_offer",
    "parse_offset",
    "parse_position",
]
