"""Tables in TOML files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanwire_parity._table import Credential, InvalidTable, Row, Table

__all__ = ["API_VARIABLE", "EDGE_VARIABLE", "load"]

# Where the same table is compared in several places, these win over the file.
API_VARIABLE = "FANWIRE_PARITY_API"
EDGE_VARIABLE = "FANWIRE_PARITY_EDGE"
_TOP = {"api", "edge", "origin", "timeout_seconds", "users", "rows"}
_USER = {"token", "token_env", "headers", "headers_env"}


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Table:
    """Read the table in the file *path*, with credentials from *environment*; raises InvalidTable."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidTable(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidTable(f"{path}: is no TOML file: {error}") from error
    try:
        return _table(document, environment)
    except InvalidTable as problem:
        raise InvalidTable(f"{path}: {problem}") from problem


def _table(document: Mapping[str, Any], environment: Mapping[str, str]) -> Table:
    _refuse_others(document, _TOP, "the file")
    users = _mapping(document.get("users", {}), "users")
    rows = document.get("rows", [])
    if not isinstance(rows, list):
        raise InvalidTable("rows: each begins with [[rows]]")
    timeout = document.get("timeout_seconds", 10)
    if not isinstance(timeout, int | float) or timeout <= 0:
        raise InvalidTable(f"timeout_seconds: {timeout!r} is no number above zero; for example 10")
    origin = document.get("origin")
    return Table(
        environment.get(API_VARIABLE) or _text(document.get("api"), "api"),
        environment.get(EDGE_VARIABLE) or _text(document.get("edge"), "edge"),
        {name: _credential(_mapping(user, name), name, environment) for name, user in users.items()},
        [each for row in rows for each in _rows(_mapping(row, "rows"))],
        None if origin is None else _text(origin, "origin"),
        timeout,
    )


def _credential(user: Mapping[str, Any], name: str, environment: Mapping[str, str]) -> Credential:
    _refuse_others(user, _USER, f"user {name}")
    if len(user) > 1:
        raise InvalidTable(f"user {name}: {' and '.join(sorted(user))} are given; keep one")
    match dict(user):
        case {"token": token}:
            return _text(token, f"user {name}: token")
        case {"token_env": variable}:
            return _from(environment, _text(variable, f"user {name}: token_env"), name)
        case {"headers": headers}:
            return {
                header: _text(value, f"user {name}: {header}")
                for header, value in _mapping(headers, f"user {name}: headers").items()
            }
        case {"headers_env": headers}:
            return {
                header: _from(environment, _text(variable, f"user {name}: {header}"), name)
                for header, variable in _mapping(headers, f"user {name}: headers_env").items()
            }
    return None


def _from(environment: Mapping[str, str], variable: str, user: str) -> str:
    if not environment.get(variable):
        raise InvalidTable(f"user {user}: set {variable} to the credential")
    return environment[variable]


def _rows(row: Mapping[str, Any]) -> list[Row]:
    texts = {name: _text(row.get(name), f"rows: {name}") for name in ("channel", "route")}
    lists = {name: value for name, value in row.items() if name not in texts}
    for name, value in lists.items():
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InvalidTable(f"row {texts['channel']}: {name} is no list of texts")
    return Row.each(**texts, users=lists.pop("users", ()), **lists)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidTable(f"{where}: is not given as a text")
    return value


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidTable(f"{where}: is no table of names and values")
    return value


def _refuse_others(given: Mapping[str, Any], known: set[str], where: str) -> None:
    other = given.keys() - known
    if other:
        raise InvalidTable(
            f"{where}: {', '.join(sorted(other))} is unknown; known: {', '.join(sorted(known))}"
        )
