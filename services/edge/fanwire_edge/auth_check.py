"""Combinations of settings that would let nobody in, or somebody unknown; `config.check` asks here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from fanwire_edge.auth_settings import (
    ApiKeySettings,
    AuthSettings,
    JwtSettings,
    OriginSettings,
)
from fanwire_edge.authorization_check import check_authorization
from fanwire_edge.core.address import parse_network
from fanwire_edge.core.credential import SOURCES
from fanwire_edge.core.origin import is_origin
from fanwire_edge.settings import Settings
from fanwire_protocol.channels import is_segment
from fanwire_protocol.settings import SettingError

__all__ = ["check_auth"]

_URL = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[!\"$-~]*)?(\?[!\"$-~]*)?", re.ASCII)
_HTTP_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)


def check_auth(settings: Settings) -> None:
    """Refuse sources that do not work and keys that are not there. Raises SettingError."""
    auth = settings.auth
    check_authorization(settings.authorization)
    _check_sources(auth)
    if auth.takes_tokens:
        _check_verifier(auth)
    if "cookie" in auth.sources:
        _check_cookie(settings)
    if "api_key" in auth.sources:
        _check_api_key(auth.api_key)
    _check_origins(settings.origins)
    _check_proxies(settings.edge.trusted_proxies)


def _check_sources(auth: AuthSettings) -> None:
    example = f'for example ["{SOURCES[0]}", "{SOURCES[1]}"]'
    if not auth.sources:
        raise SettingError(f"auth.sources: is empty, and an unauthenticated edge does not start; {example}")
    for source in auth.sources:
        if source not in SOURCES:
            raise SettingError(f"auth.sources: {source!r} is no source of credentials; {example}")
    if auth.default_tenant is not None and not is_segment(auth.default_tenant):
        raise SettingError(f"auth.default_tenant: {auth.default_tenant!r} is no tenant; for example acme")
    for name, example in (("header", "Authorization"), ("header_prefix", "Bearer")):
        if not _HTTP_TOKEN.fullmatch(getattr(auth, name)):
            raise SettingError(
                f"auth.{name}: {getattr(auth, name)!r} is no HTTP token; for example {example}"
            )
    for claim in fields(auth.claims):
        if not getattr(auth.claims, claim.name):
            example = claim.metadata["example"]
            raise SettingError(f"auth.claims.{claim.name}: is empty; for example {example}")


def _check_verifier(auth: AuthSettings) -> None:
    match auth.verifier:
        case "jwt":
            _check_jwt(auth.jwt)
        case "introspection":
            _check_url(
                auth.introspection.url,
                "auth.introspection.url",
                'is needed by auth.verifier = "introspection"',
            )
        case "callable":
            if auth.callable is None:
                raise SettingError(
                    'auth.callable: is needed by auth.verifier = "callable"; for example shop.realtime:verify'
                )


def _check_cookie(settings: Settings) -> None:
    cookie = settings.auth.cookie
    if not _HTTP_TOKEN.fullmatch(cookie.name):
        raise SettingError(f"auth.cookie.name: {cookie.name!r} is no name of a cookie; for example session")
    if not settings.origins.allowed:
        raise SettingError(
            "origins.allowed: is empty, and a cookie counts with an allowed Origin only; "
            'for example ["https://app.example.com"]'
        )
    if cookie.holds == "token":
        return
    if cookie.session_url is not None and cookie.session_key is not None:
        raise SettingError("auth.cookie: session_url and session_key are set together; keep one")
    if cookie.session_key is None:
        problem = 'is needed by auth.cookie.holds = "session", where auth.cookie.session_key is not set'
        _check_url(cookie.session_url, "auth.cookie.session_url", problem)
    elif cookie.session_key.count("{id}") != 1 or cookie.session_key == "{id}":
        raise SettingError(
            f"auth.cookie.session_key: {cookie.session_key!r} does not hold {{id}} once, beside a name; "
            "for example session:{id}"
        )


def _check_api_key(api_key: ApiKeySettings) -> None:
    if not _HTTP_TOKEN.fullmatch(api_key.header):
        raise SettingError(f"auth.api_key.header: {api_key.header!r} is no HTTP token; for example X-API-Key")
    if api_key.file is None and not api_key.redis:
        raise SettingError(
            "auth.api_key: has no keys, and nobody would get in; set FANWIRE_AUTH__API_KEY__FILE to a file, "
            "or FANWIRE_AUTH__API_KEY__REDIS=true"
        )


def _check_origins(origins: OriginSettings) -> None:
    for origin in origins.allowed:
        if not is_origin(origin):
            raise SettingError(
                f"origins.allowed: {origin!r} is sent by no browser, which writes small letters, no path "
                "and no default port; for example https://app.example.com"
            )
    if origins.required and not origins.allowed:
        raise SettingError(
            "origins.required: is true, and origins.allowed is empty, so that nobody would get in; "
            'for example allowed = ["https://app.example.com"]'
        )


def _check_proxies(proxies: Sequence[str]) -> None:
    for proxy in proxies:
        try:
            parse_network(proxy)
        except ValueError as problem:
            raise SettingError(
                f"edge.trusted_proxies: {proxy!r} is no network: {problem}; for example 10.0.0.0/8"
            ) from None


def _check_url(url: str | None, name: str, problem: str) -> None:
    if url is None:
        raise SettingError(f"{name}: {problem}; for example https://api.example.com/me")
    if not _URL.fullmatch(url):
        # It may hold a password.
        raise SettingError(
            f"{name}: is no http or https URL without user and fragment; for example https://api.example.com/me"
        )


def _check_jwt(jwt: JwtSettings) -> None:
    keys = ("secret", "secret_file", "public_key", "public_key_file")
    given = [name for name in keys if getattr(jwt, name) is not None]
    if not given and jwt.jwks_url is None:
        raise SettingError(
            "auth.jwt: has no key, and an unauthenticated edge does not start; set FANWIRE_AUTH__JWT__SECRET "
            "to the output of `openssl rand -hex 32`, FANWIRE_AUTH__JWT__PUBLIC_KEY_FILE to a PEM file, or "
            "FANWIRE_AUTH__JWT__JWKS_URL to where the issuer publishes its keys"
        )
    if len(given) > 1:
        raise SettingError(
            f"auth.jwt: {' and '.join(given)} are set together; keep one, for example {given[0]}"
        )
    for name in ("issuer", "audience"):
        if getattr(jwt, name) == "":
            raise SettingError(f"auth.jwt.{name}: is empty; leave it out, or name the one that tokens carry")
    if "" in jwt.require:
        raise SettingError('auth.jwt.require: names a claim without a name; for example ["iat", "jti"]')
    if jwt.jwks_url is not None:
        _check_jwks(jwt, jwt.jwks_url)


def _check_jwks(jwt: JwtSettings, url: str) -> None:
    if not _URL.fullmatch(url) or not url.startswith("https://"):
        # Who answers in the issuer's place signs for anybody. The URL may hold a password.
        raise SettingError(
            "auth.jwt.jwks_url: is no https URL without user and fragment; "
            "for example https://login.example.com/.well-known/jwks.json"
        )
    if jwt.jwks_max_stale < jwt.jwks_max_age:
        raise SettingError(
            f"auth.jwt.jwks_max_stale: {jwt.jwks_max_stale:g} is below auth.jwt.jwks_max_age, so that keys "
            f"would end before they are fetched again; for example {jwt.jwks_max_age * 12:g}"
        )
