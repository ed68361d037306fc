"""The settings that commands share with the edge: where the broker is and how tokens are signed."""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fanwire_cli.failure import Failure
from fanwire_protocol.settings import BrokerSettings, SettingError, load_settings, setting

__all__ = ["AuthSettings", "ClaimNames", "EdgeSettings", "JwtSettings", "Settings", "read_settings"]

_PREFIX = "FANWIRE_"


@dataclasses.dataclass(frozen=True, slots=True)
class ClaimNames:
    """The claims of a token, each by its name or by the dotted path to it."""

    user: str = setting("sub", "sub")
    tenant: str = setting("tenant", "tenant")
    roles: str = setting("roles", "realm_access.roles")
    permissions: str = setting("permissions", "permissions")
    channels: str = setting("channels", "channels")
    scope: str = setting("scope", "scope")


@dataclasses.dataclass(frozen=True, slots=True)
class JwtSettings:
    """How tokens are signed and what they must say; `max_lifetime` is in seconds."""

    secret: str | None = setting(None, "the output of `openssl rand -hex 32`", secret=True)
    secret_file: str | None = setting(None, "/run/secrets/fanwire_jwt")
    public_key: str | None = setting(None, "the text of a PEM file", secret=True)
    public_key_file: str | None = setting(None, "/etc/fanwire/jwt.pem")
    jwks_url: str | None = setting(None, "https://id.example.com/.well-known/jwks.json")
    algorithms: tuple[str, ...] = setting((), '["HS256"]')
    issuer: str | None = setting(None, "https://id.example.com/")
    audience: str | None = setting(None, "fanwire")
    require: tuple[str, ...] = setting((), '["iat", "jti"]')
    typ: str = setting("JWT", "at+jwt", choices=("JWT", "at+jwt"))
    max_lifetime: int = setting(86_400, "86400", minimum=1)

    @property
    def key(self) -> bytes:
        """The secret as the bytes that sign; empty where none is set."""
        return (self.secret or "").encode("utf-8", "surrogateescape")

    @property
    def foreign_key(self) -> str | None:
        """The variable that names keys whose private half is not here; None where there is none."""
        for name in ("jwks_url", "public_key_file", "public_key"):
            if getattr(self, name) is not None:
                return f"FANWIRE_AUTH__JWT__{name.upper()}"
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who may connect, and who verifies tokens."""

    jwt: JwtSettings
    claims: ClaimNames
    default_tenant: str | None = setting(None, "acme")
    verifier: str = setting("jwt", "jwt", choices=("jwt", "introspection", "callable"))


@dataclasses.dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Where the edge answers operators."""

    ops_host: str = setting("127.0.0.1", "127.0.0.1")
    ops_port: int = setting(8081, "8081", minimum=1, maximum=65_535)


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What commands read from the configuration; the edge reads and checks the rest."""

    broker: BrokerSettings
    edge: EdgeSettings
    auth: AuthSettings


def read_settings(environment: Mapping[str, str], file: str | None = None) -> Settings:
    """Read the settings from *file* (TOML) and *environment*, the environment winning.

    Settings that only the edge knows are passed over. Raises Failure.
    """
    document = _known(Settings, _read_document(file) if file else {})
    variables = _known_variables(Settings, environment, _PREFIX)
    try:
        settings = load_settings(Settings, document, variables)
    except SettingError as error:
        raise Failure(str(error)) from error
    path = settings.auth.jwt.secret_file
    if path is None or settings.auth.jwt.secret is not None:
        return settings
    jwt = dataclasses.replace(settings.auth.jwt, secret=_read_secret(path))
    return dataclasses.replace(settings, auth=dataclasses.replace(settings.auth, jwt=jwt))


def _read_document(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise Failure(f"{file}: is no TOML: {error}") from error


def _read_text(file: str) -> str:
    try:
        return _read_bytes(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: is no UTF-8 text") from error


def _read_secret(file: str) -> str:
    # As edges read it: any bytes are a secret, and the newline that ends the file is no part of it.
    text = _read_bytes(file).decode("utf-8", "surrogateescape")
    return text.removesuffix("\n").removesuffix("\r")


def _read_bytes(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Failure(f"{file}: cannot be read: {error.strerror}") from error


def _sections(schema: type) -> dict[str, Any]:
    """Return the fields of a section; a section in it as its class, a setting as None."""
    hints = typing.get_type_hints(schema)
    return {name: hint if dataclasses.is_dataclass(hint) else None for name, hint in hints.items()}


def _known(schema: type, document: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, section in _sections(schema).items():
        if name not in document:
            continue
        value = document[name]
        # The broker's section is the same for all programs, so a wrong name in it is a mistake here too.
        if section is not None and section is not BrokerSettings and isinstance(value, Mapping):
            value = _known(section, value)
        kept[name] = value
    return kept


def _known_variables(schema: type, environment: Mapping[str, str], head: str) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, section in _sections(schema).items():
        variable = head + name.upper()
        if section is BrokerSettings:
            kept |= {key: text for key, text in environment.items() if key.startswith(variable + "__")}
        elif section is not None:
            kept |= _known_variables(section, environment, variable + "__")
        elif variable in environment:
            kept[variable] = environment[variable]
    return kept
