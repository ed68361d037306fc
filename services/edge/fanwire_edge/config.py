"""The edge's settings: a TOML file, then the environment, then the command line (PROTOCOL §9).

What cannot work stops the start, with one line that names the setting and a value that works. No setting
switches authentication off.
"""

from __future__ import annotations

import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from fanwire_edge.auth_check import check_auth
from fanwire_edge.auth_settings import JwtSettings
from fanwire_edge.core.policy import InvalidPolicy, Policies, Policy
from fanwire_edge.settings import EdgeSettings, Settings
from fanwire_protocol.settings import SettingError, load_settings, nearest

__all__ = ["Settings", "check", "document_of", "load", "merge"]

# Programs that may share the file and the environment with an edge.
_OTHER_PROGRAMS = frozenset({"api", "client", "dev", "publisher"})
_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+", re.ASCII)


def load(overrides: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Read the file that *overrides* names as `config`, the environment and the files of keys.

    The other overrides are `edge` settings from the command line (`host`, `port`, `ops_port`, `workers`);
    None means not given. Raises SettingError.
    """
    given = dict(overrides)
    path = given.pop("config", None)
    settings = merge(_document(Path(path)) if path else {}, environment, given)
    jwt = _with_key_files(settings.auth.jwt)
    return replace(settings, auth=replace(settings.auth, jwt=jwt))


def merge(
    document: Mapping[str, Any], environment: Mapping[str, str], overrides: Mapping[str, Any]
) -> Settings:
    """Return the checked settings: *overrides* of `edge` win over *environment*, that over *document*."""
    explicit = {
        f"FANWIRE_EDGE__{name.upper()}": str(value) for name, value in overrides.items() if value is not None
    }
    variables = {**environment, **explicit}
    _refuse_unknown_sections(document, variables)
    settings = load_settings(Settings, document, variables)
    check(settings)
    return settings


def document_of(settings: Settings) -> dict[str, Any]:
    """Return the document that `merge` makes the same settings of; it holds their secrets."""
    return _given(asdict(settings))


def _given(section: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _given(value) if isinstance(value, dict) else value
        for name, value in section.items()
        if value is not None
    }


def check(settings: Settings) -> None:
    """Refuse what single settings cannot see: combinations that do not work, or not in this version."""
    _check_edge(settings.edge)
    check_auth(settings)
    heartbeat, delivery = settings.heartbeat, settings.delivery
    if heartbeat.timeout <= heartbeat.interval:
        raise SettingError(
            f"heartbeat.timeout: {heartbeat.timeout:g} is not above heartbeat.interval; "
            f"for example {heartbeat.interval * 2:g}"
        )
    try:
        Policies(Policy[delivery.policy.upper()], delivery.policies)
    except InvalidPolicy as problem:
        raise SettingError(f"delivery.policies: {problem}") from problem
    if delivery.max_behind_bytes < delivery.high_water_bytes:
        raise SettingError(
            f"delivery.max_behind_bytes: {delivery.max_behind_bytes} is below delivery.high_water_bytes; "
            f"for example {delivery.high_water_bytes * 4}"
        )
    if settings.audit.target == "file" and not settings.audit.path:
        raise SettingError(
            "audit.path: is not set, and audit.target is file; for example /var/log/fanwire/audit.jsonl"
        )
    if delivery.max_buffered_bytes < delivery.high_water_bytes:
        raise SettingError(
            f"delivery.max_buffered_bytes: {delivery.max_buffered_bytes} is below delivery.high_water_bytes, "
            f"so that nobody could be behind; for example {delivery.high_water_bytes * 4096}"
        )


def _check_edge(edge: EdgeSettings) -> None:
    if edge.workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise SettingError(
            f"edge.workers: {edge.workers} processes cannot share a port on this system; "
            "set FANWIRE_EDGE__WORKERS=1 and start more edges"
        )
    if edge.plain_get_status not in (400, 426):
        raise SettingError(
            f"edge.plain_get_status: {edge.plain_get_status} is none of 400, 426; for example 426"
        )
    if not _PATH.fullmatch(edge.path) or edge.path == "/healthz":
        raise SettingError(f"edge.path: {edge.path!r} is no path of its own; for example /ws")
    if edge.port == edge.ops_port != 0:
        raise SettingError(
            f"edge.ops_port: {edge.port} is edge.port too; for example {edge.port % 65_535 + 1}"
        )


def _refuse_unknown_sections(document: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    known = [section.name for section in fields(Settings)]
    found = {name: name for name in document}
    for variable in variables:
        section, separator, _ = variable.removeprefix("FANWIRE_").partition("__")
        if variable.startswith("FANWIRE_") and separator:
            found[section.lower()] = variable
    for name, shown in found.items():
        if name not in known and name not in _OTHER_PROGRAMS:
            raise SettingError(f"{shown}: no such section; {nearest(name, known)}")


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"--config: cannot read {path}: {error.strerror}; give a TOML file") from error
    except ValueError as error:
        raise SettingError(f"--config: {path} is no TOML file: {error}") from error


def _with_key_files(jwt: JwtSettings) -> JwtSettings:
    """Return the section with a file's content in the place of its name."""
    if jwt.secret_file is not None:
        jwt = replace(jwt, secret=_content(jwt.secret_file, "auth.jwt.secret_file"), secret_file=None)
    if jwt.public_key_file is not None:
        content = _content(jwt.public_key_file, "auth.jwt.public_key_file")
        jwt = replace(jwt, public_key=content, public_key_file=None)
    return jwt


def _content(path: str, name: str) -> str:
    try:
        # Bytes that are no UTF-8 come back as they were when the key is loaded.
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise SettingError(
            f"{name}: cannot read {path}: {error.strerror}; give a file that this process may read"
        ) from error
    # Editors and `echo` end a file with a newline that is no part of a secret.
    return text.removesuffix("\n").removesuffix("\r")
