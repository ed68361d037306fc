"""Strict JSON and msgpack: what a peer sends is either a value of our types or InvalidData.

The standard decoders accept more than their standards allow or memory can bear (`NaN`, duplicate keys,
nesting that raises RecursionError, msgpack headers that reserve megabytes). Everything outside the
common ground of both formats is refused here, once, so that nothing behind the codec has to ask again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

import msgpack

__all__ = [
    "MAX_DEPTH",
    "InvalidData",
    "JsonValue",
    "decode_json",
    "decode_msgpack",
    "encode_json",
    "encode_msgpack",
    "refuse_unsendable",
]

JsonValue: TypeAlias = str | int | float | bool | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

MAX_DEPTH = 32
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


class InvalidData(ValueError):
    """The value cannot be sent, or the bytes do not decode; *path* names the place, `$` the whole."""

    def __init__(self, reason: str, path: str = "$") -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason
        self.path = path


def encode_json(value: JsonValue) -> bytes:
    """Encode a checked value as compact UTF-8 JSON."""
    return _ENCODER.encode(value).encode()


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


def decode_msgpack(data: bytes) -> Any:
    """Decode one msgpack value and nothing after it; raises InvalidData."""
    size = len(data)
    try:
        # No element is shorter than a byte, so no honest header promises more than the data's size.
        value = msgpack.unpackb(
            data,
            strict_map_key=True,
            max_str_len=size,
            max_bin_len=0,
            max_ext_len=0,
            max_array_len=size,
            max_map_len=size,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidData("not valid msgpack") from error
    refuse_unsendable(value)
    return value


def refuse_unsendable(value: object, path: str = "$", depth: int = 0) -> None:
    """Raise InvalidData, naming the place, unless JSON and msgpack both carry *value* unchanged."""
    kind = type(value)
    if kind is str:
        _refuse_surrogates(value, path)  # type: ignore[arg-type]
    elif kind is int:
        if not _INT_MIN <= value <= _INT_MAX:  # type: ignore[operator]
            raise InvalidData("an integer has at most 64 bits", path)
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]
            raise InvalidData("a number is finite", path)
    elif kind is dict or kind is list or kind is tuple:
        if depth == MAX_DEPTH:
            raise InvalidData(f"at most {MAX_DEPTH} levels are nested", path)
        _refuse_unsendable_items(value, path, depth + 1)
    elif value is not None and kind is not bool:
        raise InvalidData(
            f"{kind.__name__} cannot be sent; use maps with string keys, lists, strings, booleans, "
            "null, finite floats and 64-bit integers",
            path,
        )


def _refuse_unsendable_items(value: Any, path: str, depth: int) -> None:
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidData(f"a key is a string, not {type(key).__name__}", path)
            _refuse_surrogates(key, path)
            refuse_unsendable(item, f"{path}.{key}", depth)
    else:
        for index, item in enumerate(value):
            refuse_unsendable(item, f"{path}[{index}]", depth)


def _refuse_surrogates(text: str, path: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidData("a string has a lone surrogate", path) from error


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidData(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidData("a key stands twice in one object")
    return found


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, strict=True)
