"""From a line of a history to the operation it tells of; strict, so that no misspelt field is overlooked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from fanwire_cli.history import operations as of
from fanwire_protocol.position import InvalidPosition, Position
from fanwire_protocol.position import parse_offset as _parse_offset
from fanwire_protocol.position import parse_position as _parse_position

__all__ = ["OPERATIONS", "InvalidLine", "parse_line"]

Check: TypeAlias = Callable[[Any], Any]

_decode = json.JSONDecoder().decode
# The same few positions come again with every client.
_offset = lru_cache(1 << 16)(_parse_offset)
_position = lru_cache(1 << 16)(_parse_position)


class InvalidLine(ValueError):
    """The line is no operation; the text says which field is wrong."""


class _Wrong(ValueError):
    """A value is not what its field holds; the text says what would be."""


def _text(value: Any) -> str:
    if type(value) is str and value:
        return value
    raise _Wrong("is a string that is not empty")


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    raise _Wrong("is an integer")


def _flag(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _Wrong("is true or false")


def _names(value: Any) -> tuple[str, ...]:
    if type(value) is list:
        return tuple(map(_text, value))
    raise _Wrong("is a list of strings")


def _place(value: Any) -> Position:
    return _position(_text(value))


def _places(value: Any) -> Mapping[str, Position]:
    if type(value) is dict:
        return {topic: _place(text) for topic, text in value.items()}
    raise _Wrong("is an object of positions")


def _offset_of(value: Any) -> Any:
    return _offset(_text(value))


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


_EVENT_OF_PUBLISHER: Mapping[str, Check] = {
    "time": _integer,
    "publisher": _text,
    "topic": _text,
    "tenant": _or_null(_text),
    "event_id": _text,
}


class _Form:
    """The fields of one operation, in the order of its constructor; *renamed* are those Python reserves."""

    def __init__(
        self,
        make: Callable[..., of.Operation],
        required: Mapping[str, Check],
        optional: Mapping[str, Check] | None = None,
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self._make = make
        self._required = tuple(required.items())
        self._optional = optional or {}
        self._renamed = renamed or {}

    def read(self, fields: dict[str, Any]) -> of.Operation:
        try:
            values = [check(fields[name]) for name, check in self._required]
            if len(fields) == len(values):
                return self._make(*values)
            return self._make(*values, **self._more(fields))
        except (KeyError, _Wrong, InvalidPosition) as error:
            raise InvalidLine(self._explain(fields)) from error

    def _more(self, fields: dict[str, Any]) -> dict[str, Any]:
        names = fields.keys() - dict(self._required)
        return {self._renamed.get(name, name): self._optional[name](fields[name]) for name in names}

    def _explain(self, fields: dict[str, Any]) -> str:
        """Return what is wrong; done apart, so that millions of good lines do not pay for it."""
        checks = {**dict(self._required), **self._optional}
        for name in (*dict(self._required), *fields):
            if name not in fields:
                return f"`{name}` is missing"
            if name not in checks:
                return f"`{name}` does not belong here"
            try:
                checks[name](fields[name])
            except (_Wrong, InvalidPosition) as error:
                return f"`{name}`: {error}"
        raise AssertionError("a line was refused that is right")


_FORMS: Mapping[str, _Form] = {
    "publish": _Form(of.Publish, {**_EVENT_OF_PUBLISHER, "channels": _names}, {"key": _or_null(_text)}),
    "published": _Form(of.Published, {**_EVENT_OF_PUBLISHER, "position": _place}),
    "publish_failed": _Form(of.PublishFailed, {**_EVENT_OF_PUBLISHER, "definite": _flag}),
    "entry": _Form(
        of.Entry,
        {
            "time": _integer,
            "topic": _text,
            "tenant": _or_null(_text),
            "event_id": _text,
            "position": _place,
        },
        {"channels": _names, "key": _or_null(_text)},
    ),
    "authorized": _Form(
        of.Authorized, {"time": _integer, "client": _text, "tenant": _text, "channels": _names}
    ),
    "connect": _Form(
        of.Connect, {"time": _integer, "client": _text, "connection": _text}, {"hides_reconnects": _flag}
    ),
    "subscribed": _Form(
        of.Subscribed,
        {
            "time": _integer,
            "connection": _text,
            "channels": _names,
            "positions": _or_null(_places),
            "recovered": _or_null(_flag),
        },
    ),
    "unsubscribed": _Form(of.Unsubscribed, {"time": _integer, "connection": _text, "channels": _names}),
    "event": _Form(
        of.EventSeen,
        {
            "time": _integer,
            "connection": _text,
            "channel": _text,
            "type": _text,
            "event_id": _text,
            "offset": _offset_of,
        },
        {"repeat": _flag},
    ),
    "gap": _Form(
        of.GapSeen,
        {"time": _integer, "connection": _text, "topic": _text, "to": _place, "reason": _text},
        {"from": _or_null(_place), "channel": _or_null(_text)},
        {"from": "start"},
    ),
    "positions": _Form(
        of.Positions, {"time": _integer, "connection": _text, "positions": _places}, {"skipped": _integer}
    ),
    "closed": _Form(of.Closed, {"time": _integer, "connection": _text, "code": _integer}),
    "end": _Form(of.End, {"time": _integer, "client": _text}, {"until": _or_null(_integer)}),
    "revoke": _Form(
        of.Revoke,
        {"time": _integer, "tenant": _text},
        {"user": _or_null(_text), "channels": _or_null(_names)},
    ),
}
OPERATIONS = tuple(_FORMS)


def parse_line(line: str) -> of.Operation:
    """Parse one line of JSON; raises InvalidLine."""
    try:
        fields = _decode(line)
    except ValueError as error:
        raise InvalidLine(f"is no JSON: {error}") from error
    if type(fields) is not dict or type(fields.get("op")) is not str:
        raise InvalidLine("is no object with an `op`")
    op = fields.pop("op")
    form = _FORMS.get(op)
    if form is None:
        raise InvalidLine(f"`op` {op!r} is none of {', '.join(OPERATIONS)}")
    return form.read(fields)
