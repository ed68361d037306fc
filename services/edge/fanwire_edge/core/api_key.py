"""API keys: what is written down of them, which is never the key (PROTOCOL §2).

A key is found by its SHA-256. It was made by chance and is long, so nobody guesses what hashes to a given
value, and a salt or a slow hash would protect nothing. A record is read strictly: a misspelt `expires`
would make a key that never ends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fanwire_edge.core.principal import InvalidPrincipal, Principal
from fanwire_protocol.channels import ChannelKind, InvalidChannel, is_segment, parse_channel
from fanwire_protocol.settings import nearest

__all__ = ["ApiKey", "InvalidApiKey", "api_keys", "digest_of", "read_api_key"]

FIELDS = ("id", "sha256", "user", "tenant", "roles", "permissions", "channels", "expires")
# Printable ASCII without blanks, as a header carries it. Shorter ones could be guessed.
_KEY = re.compile(r"[\x21-\x7e]{20,512}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
# The end of the year 9999, which is as far as TOML counts.
_MAX_DATE = 253_402_300_800


class InvalidApiKey(ValueError):
    """The record of a key cannot be used; the text says which field is wrong, and what would work."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key by its SHA-256, and who comes with it."""

    digest: bytes = field(repr=False)
    principal: Principal


def digest_of(key: str) -> bytes | None:
    """Return the SHA-256 of what a client showed, or None where that can be no key (20 to 512 characters)."""
    return hashlib.sha256(key.encode("ascii")).digest() if _KEY.fullmatch(key) else None


def api_keys(records: Iterable[Any], default_tenant: str | None) -> Mapping[bytes, ApiKey]:
    """Return the keys of *records* by digest; raises InvalidApiKey, which names the record by its number."""
    found: dict[bytes, ApiKey] = {}
    ids: set[str | None] = set()
    for number, record in enumerate(records, 1):
        try:
            key = read_api_key(record, default_tenant)
            if key.digest in found:
                raise InvalidApiKey("sha256 is that of another key; each key stands once")
            if key.principal.token_id in ids:
                raise InvalidApiKey(f"id {key.principal.token_id!r} is that of another key; each has its own")
        except InvalidApiKey as problem:
            raise InvalidApiKey(f"key {number}: {problem}") from None
        found[key.digest] = key
        ids.add(key.principal.token_id)
    return found


def read_api_key(record: Any, default_tenant: str | None) -> ApiKey:
    """Return the key of one *record*, a map of FIELDS; raises InvalidApiKey."""
    if not isinstance(record, Mapping):
        raise InvalidApiKey(f"is no map of {', '.join(FIELDS)}")
    _refuse_unknown(record)
    id_, user = _text(record, "id", "ci-1"), _text(record, "user", "u-1")
    if not is_segment(id_):
        raise InvalidApiKey("id is not 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -")
    digest = _text(record, "sha256", "the output of sha256sum")
    if not _SHA256.fullmatch(digest):
        raise InvalidApiKey("sha256 is no 64 hexadecimal digits; for example the output of sha256sum")
    tenant = record.get("tenant", default_tenant)
    if not isinstance(tenant, str):
        raise InvalidApiKey('tenant is absent or no text; for example "acme"')
    try:
        principal = Principal(
            user=user,
            tenant=tenant,
            roles=_texts(record, "roles"),
            permissions=frozenset(_texts(record, "permissions")),
            patterns=_patterns(record, tenant),
            expires_at=_expiry(record),
            token_id=id_,
        )
    except InvalidPrincipal as problem:
        raise InvalidApiKey(str(problem)) from None
    return ApiKey(bytes.fromhex(digest), principal)


def _refuse_unknown(record: Mapping[Any, Any]) -> None:
    for name in record:
        if name not in FIELDS:
            # The name may be the key itself, put in the wrong place: only a near miss is shown.
            raise InvalidApiKey(f"has a field that is none; {nearest(name, FIELDS)}")


def _text(record: Mapping[str, Any], name: str, example: str) -> str:
    value = record.get(name)
    if not isinstance(value, str):
        raise InvalidApiKey(f"{name} is absent or no text; for example {example}")
    return value


def _texts(record: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = record.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidApiKey(f"{name} is no list of texts")
    return tuple(dict.fromkeys(value))


def _patterns(record: Mapping[str, Any], tenant: str) -> tuple[str, ...]:
    patterns = _texts(record, "channels")
    for name in patterns:
        try:
            channel = parse_channel(name)
        except InvalidChannel as problem:
            raise InvalidApiKey(f"channels: {problem}") from None
        if channel.kind is not ChannelKind.RESOURCE or channel.tenant != tenant:
            raise InvalidApiKey("channels: names one that is no resource of the key's own tenant")
    return patterns


def _expiry(record: Mapping[str, Any]) -> float | None:
    """Return `expires` in seconds since the epoch, as a number or a date with its zone says."""
    value = record.get("expires")
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.timestamp()
    if value is None or (type(value) in (int, float) and 0 < value < _MAX_DATE):
        return None if value is None else float(value)
    raise InvalidApiKey("expires is no time with its zone; for example 2027-01-31T00:00:00Z")
