"""Settings: dataclasses filled from a document and from the environment, the environment winning.

Pure: the caller reads the TOML file and `os.environ`. A wrong setting raises SettingError, whose text is
one line that names the setting and a value that works.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fanwire_protocol.codec import decode_json

__all__ = ["BrokerSettings", "SettingError", "load_settings", "nearest", "setting"]

T = TypeVar("T")
PREFIX = "FANWIRE_"


class SettingError(ValueError):
    """A setting cannot be used; the text is one line that says why and what would work."""


def setting(
    default: Any,
    example: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    secret: bool = False,
) -> Any:
    """Declare a setting: its default, a value that works for the error line, and its bounds."""
    metadata = {
        "example": example,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "secret": secret,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclasses.dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the log lives; the same section serves publishers and edges."""

    # A URL may hold a password, so it is in no `repr`.
    url: str = setting("redis://localhost:6379/0", "redis://localhost:6379/0", secret=True)
    prefix: str = setting("fanwire", "fanwire")
    partitions: int | None = setting(None, "1", minimum=1, maximum=1024)
    topics: tuple[str, ...] = setting(("*",), '["*"]')
    max_topics: int = setting(32, "32", minimum=1, maximum=1024)
    retention_seconds: int = setting(600, "600", minimum=1)
    max_entries: int = setting(1_000_000, "1000000", minimum=1)


def load_settings(schema: type[T], document: Mapping[str, Any], environment: Mapping[str, str]) -> T:
    """Fill the dataclass *schema*, whose fields are sections, from *document* and *environment*.

    A variable `FANWIRE_<SECTION>__<NAME>` overrides the document's `[section] name`; nested sections add
    another `__<NAME>`. Lists are JSON. Raises SettingError.
    """
    return _section(schema, document, environment, ())


def _section(
    schema: type[T],
    document: Mapping[str, Any],
    environment: Mapping[str, str],
    path: tuple[str, ...],
) -> T:
    hints = typing.get_type_hints(schema)
    fields = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    if path:
        _refuse_unknown_names(fields, document, path)
        sections = frozenset(name for name in fields if dataclasses.is_dataclass(hints[name]))
        _refuse_unknown_variables(fields, sections, environment, path)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        here = (*path, name)
        if dataclasses.is_dataclass(hints[name]):
            nested = document.get(name, {})
            if not isinstance(nested, Mapping):
                raise SettingError(f"{_dotted(here)}: is a section, [{_dotted(here)}]")
            values[name] = _section(hints[name], nested, environment, here)
        elif (text := environment.get(_variable(here))) is not None:
            value = _from_text(text, hints[name], field, _variable(here))
            values[name] = _checked(value, field, _variable(here))
        elif name in document:
            value = _from_document(document[name], hints[name], field, _dotted(here))
            values[name] = _checked(value, field, _dotted(here))
    return schema(**values)


def _refuse_unknown_names(
    fields: Mapping[str, object], document: Mapping[str, Any], path: tuple[str, ...]
) -> None:
    for name in document:
        if name not in fields:
            raise SettingError(f"{_dotted((*path, name))}: no such setting; {nearest(name, fields)}")


def _refuse_unknown_variables(
    fields: Mapping[str, object],
    sections: frozenset[str],
    environment: Mapping[str, str],
    path: tuple[str, ...],
) -> None:
    head = _variable(path) + "__"
    for variable in environment:
        if not variable.startswith(head):
            continue
        name = variable.removeprefix(head).partition("__")[0].lower()
        if name not in fields:
            raise SettingError(f"{variable}: no such setting; {nearest(name, fields)}")
        known = _variable((*path, name))
        if name in sections:
            if not variable.startswith(known + "__"):
                raise SettingError(f"{variable}: is a section; its settings are {known}__<NAME>")
        elif variable != known:
            raise SettingError(f"{variable}: no such setting; did you mean {known}?")


def nearest(name: object, known: Iterable[str]) -> str:
    """Return what to say of a *name* that is none of those *known*: one that is close, or all of them.

    Shows nothing of the name itself, which may be a secret in the wrong place.
    """
    names = tuple(known)
    found = difflib.get_close_matches(str(name), names, 1)
    return f"did you mean {found[0]!r}?" if found else f"known here: {', '.join(names)}"


def _variable(path: tuple[str, ...]) -> str:
    return PREFIX + "__".join(path).upper()


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(path)


def _fail(name: str, field: dataclasses.Field[Any], shown: object, problem: str) -> SettingError:
    what = "the value" if field.metadata["secret"] else repr(shown)
    return SettingError(f"{name}: {what} {problem}; for example {field.metadata['example']}")


def _plain(hint: Any) -> Any:
    """Return the type without `| None`."""
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return hint


def _from_text(text: str, hint: Any, field: dataclasses.Field[Any], name: str) -> Any:
    kind = _plain(hint)
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise _fail(name, field, text, "is neither true nor false")
        return text.lower() == "true"
    try:
        value = decode_json(text)
    except ValueError as error:
        expected = "is not a number" if kind in (int, float) else "is no JSON list"
        raise _fail(name, field, text, expected) from error
    return _from_document(value, hint, field, name)


def _from_document(value: Any, hint: Any, field: dataclasses.Field[Any], name: str) -> Any:
    kind = _plain(hint)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _fail(name, field, value, "is no list of strings")
        return tuple(value)
    if kind is float and type(value) is int and abs(value) <= 2**53:
        return float(value)
    if type(value) is not kind:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}
        raise _fail(name, field, value, f"is not {words[kind]}")
    if kind is float and not math.isfinite(value):
        raise _fail(name, field, value, "is not finite")
    return value


def _checked(value: Any, field: dataclasses.Field[Any], name: str) -> Any:
    limits = field.metadata
    given = value if isinstance(value, tuple) else (value,)
    if limits["choices"] and not set(given) <= set(limits["choices"]):
        raise _fail(name, field, value, f"is none of {', '.join(limits['choices'])}")
    if limits["minimum"] is not None and value < limits["minimum"]:
        raise _fail(name, field, value, f"is below {limits['minimum']}")
    if limits["maximum"] is not None and value > limits["maximum"]:
        raise _fail(name, field, value, f"is above {limits['maximum']}")
    return value
