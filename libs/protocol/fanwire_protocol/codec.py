"""Strict JSON and msgpack: what a peer sends is either a value of our types or InvalidData.

The standard decoders accept more than their standards allow or memory can bear (`NaN`, duplicate keys,
nesting that raises RecursionError, msgpack headers that reserve megabytes). Everything outside the
common ground of both formats is refused here, once, so that nothing behind the codec has to ask again.
Every function's cost is linear in its input: the place of a fault is put together only once there is one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeAlias

import msgpack

__all__ = [
    "ENVELOPE_DEPTH",
    "MAX_DEPTH",
    "Encoding",
    "InvalidData",
    "JsonValue",
    "decode",
    "decode_json",
    "decode_msgpack",
    "decode_msgpack_beginning",
    "encode",
    "encode_json",
    "encode_msgpack",
    "json_text",
    "refuse_unsendable",
]

JsonValue: TypeAlias = str | int | float | bool | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

# How frames and commands are written, by the subprotocol of the connection.
Encoding: TypeAlias = Literal["json", "msgpack"]

MAX_DEPTH = 32
# Levels that frames put around a payload (`state` puts it one deeper than the others). Who sends counts
# them, so that whatever could be published can be decoded by every reader.
ENVELOPE_DEPTH = 2
_SHOWN_KEY_CHARACTERS = 64
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class InvalidData(ValueError):
    """The value cannot be sent, or the bytes do not decode; *path* names the place, `$` the whole."""

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
        self.path = path


def encode(value: JsonValue, encoding: Encoding) -> bytes:
    """Encode a checked value."""
    return encode_json(value) if encoding == "json" else encode_msgpack(value)


def decode(data: str | bytes, encoding: Encoding) -> Any:
    """Decode one value; raises InvalidData, also for text where msgpack is expected."""
    if encoding == "json":
        return decode_json(data)
    if isinstance(data, str):
        raise InvalidData("not valid msgpack")
    return decode_msgpack(data)


def encode_json(value: JsonValue) -> bytes:
    """Encode a checked value as compact UTF-8 JSON."""
    return json_text(value).encode()


def json_text(value: JsonValue) -> str:
    """Return a checked value as compact JSON."""
    return _ENCODER.encode(value)


def decode_json(data: str | bytes) -> Any:
    """Decode JSON text; raises InvalidData for all that RFC 8259 leaves to chance."""
    try:
        value = _DECODER.decode(data if isinstance(data, str) else data.decode())
    except InvalidData:
        raise
    except RecursionError as error:
        raise InvalidData("nested too deeply") from error
    except ValueError as error:
        raise InvalidData("not valid JSON") from error
    refuse_unsendable(value)
    return value


def encode_msgpack(value: JsonValue) -> bytes:
    """Encode a checked value as msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def decode_msgpack(data: bytes, path: str = "$", depth: int = 0) -> Any:
    """Decode one msgpack value and nothing after it; raises InvalidData.

    *path* names the value in the error; *depth* is how many levels are around it.
    """
    try:
        _refuse_empty_promises(data)
        value = msgpack.unpackb(
            data, strict_map_key=True, object_pairs_hook=_unique_keys, max_bin_len=0, max_ext_len=0
        )
    except InvalidData:
        raise
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise InvalidData("not valid msgpack", path) from error
    refuse_unsendable(value, path, depth)
    return value


def decode_msgpack_beginning(data: bytes) -> tuple[dict[str, Any], int] | None:
    """Decode the first fields of a map, of which *data* is the beginning, and nothing of what follows.

    Returns the fields, and how many the whole map has; None where the bytes are no such beginning.
    """
    fields: dict[str, Any] = {}
    unpacker = msgpack.Unpacker(
        None, read_size=max(1, len(data)), max_buffer_size=max(1, len(data)), strict_map_key=True
    )
    unpacker.feed(data)
    try:
        count: int = unpacker.read_map_header()
        while unpacker.tell() < len(data):
            name = unpacker.unpack()
            if name in fields:
                return None
            fields[name] = unpacker.unpack()
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return None
    return fields, count


def _refuse_empty_promises(data: bytes) -> None:
    """Walk over *data* without building anything, so that every length in it is known to be covered.

    A decoder reserves memory for what a header promises: 1,024 nested headers of five bytes cost
    80 MB and 80 ms before the end of the data shows that they lied.
    """
    size = len(data)
    walker = msgpack.Unpacker(None, read_size=size, max_buffer_size=size)
    walker.feed(data)
    walker.skip()


def refuse_unsendable(value: object, path: str = "$", depth: int = 0) -> None:
    """Raise InvalidData, naming the place, unless JSON and msgpack both carry *value* unchanged.

    *path* names the whole value in the error; *depth* is how many levels are around it.
    """
    fault = _fault(value, depth)
    if fault is not None:
        reason, steps = fault
        raise InvalidData(reason, path + steps)


# Reason, and the steps from the value to the place.
_Fault: TypeAlias = tuple[str, str]


def _fault(value: Any, depth: int) -> _Fault | None:
    kind = type(value)
    if kind is str:
        return None if value.isascii() or _is_encodable(value) else ("a string has a lone surrogate", "")
    if kind is int:
        return None if _INT_MIN <= value <= _INT_MAX else ("an integer has at most 64 bits", "")
    if kind is float:
        return None if math.isfinite(value) else ("a number is finite", "")
    if kind is dict or kind is list or kind is tuple:
        if depth >= MAX_DEPTH:
            return f"at most {MAX_DEPTH} levels are nested, an envelope's {ENVELOPE_DEPTH} among them", ""
        return _fault_in_map(value, depth + 1) if kind is dict else _fault_in_list(value, depth + 1)
    if value is None or kind is bool:
        return None
    return (
        f"{kind.__name__} cannot be sent; use maps with string keys, lists, strings, booleans, "
        "null, finite floats and 64-bit integers",
        "",
    )


def _fault_in_map(items: dict[Any, Any], depth: int) -> _Fault | None:
    for key, item in items.items():
        if type(key) is not str:
            return f"a key is a string, not {type(key).__name__}", ""
        if not (key.isascii() or _is_encodable(key)):
            return "a string has a lone surrogate", ""
        # Nearly all that is ever sent; asking here saves a call.
        if type(item) is str and item.isascii():
            continue
        if (fault := _fault(item, depth)) is not None:
            return fault[0], f".{_shown(key)}{fault[1]}"
    return None


def _fault_in_list(items: Sequence[Any], depth: int) -> _Fault | None:
    for index, item in enumerate(items):
        if (fault := _fault(item, depth)) is not None:
            return fault[0], f"[{index}]{fault[1]}"
    return None


def _shown(key: str) -> str:
    """Return *key* as one short line: the path ends up in logs and `error` frames."""
    short = key[:_SHOWN_KEY_CHARACTERS]
    return short if short.isprintable() else ascii(short)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidData(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidData("a key stands twice in one object")
    return found


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, strict=True)
