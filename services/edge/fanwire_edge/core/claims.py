"""Claims of a verified credential, read into a Principal (PROTOCOL §2 "Verifiers", §9 "Claims").

The signature is somebody else's business; the same rules hold for every verifier that yields claims.
A claim of the wrong type is refused, never skipped: a skipped claim could widen what the token means.

What a service, a session or a function says of a credential is read by the same rules, with three
differences (`is_token` false): it need not have an end, dates may be null where there is none, and users and
tenants may be whole numbers, as they are in databases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fanwire_edge.core.principal import InvalidPrincipal, InvalidToken, Principal
from fanwire_protocol.settings import setting

__all__ = [
    "CLOCK_SKEW_SECONDS",
    "MAX_SHARED",
    "ClaimNames",
    "ClaimReader",
    "ClaimRules",
    "MalformedClaims",
]

T = TypeVar("T")
# `nbf` and `iat` were written by another machine's clock. `exp` has no leeway (PROTOCOL §2).
CLOCK_SKEW_SECONDS = 30
MAX_SHARED = 1024
MAX_TOKEN_ID_CHARACTERS = 128
# Where something else than a token says that it ends in a thousand years.
FOR_EVER_SECONDS = 10 * 365 * 86_400
_ABSENT: Final = object()
_DATES = ("exp", "nbf", "iat")


class MalformedClaims(InvalidToken):
    """A claim is of a type that it cannot have, or nobody is named: who wrote them made a mistake."""


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """The claims to read, each by its name or by the dotted path to it; an exact name wins."""

    user: str = setting("sub", "sub")
    tenant: str = setting("tenant", "tenant")
    roles: str = setting("roles", "realm_access.roles")
    permissions: str = setting("permissions", "permissions")
    channels: str = setting("channels", "channels")
    scope: str = setting("scope", "scope")


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What claims must say; `issuer` and `audience` are compared exactly where they are given.

    `is_token` is false for what others say of a credential that says nothing itself. `required` are claims
    that must say something, beside those that every token has.
    """

    names: ClaimNames = field(default_factory=ClaimNames)
    issuer: str | None = None
    audience: str | None = None
    max_lifetime_seconds: float = 86_400
    default_tenant: str | None = None
    is_token: bool = True
    required: tuple[str, ...] = ()


class ClaimReader:
    """Reads claims by one set of rules.

    Roles, permissions and patterns are few and users many: equal ones are kept once, so that a connection
    costs no more than its user's name.
    """

    def __init__(self, rules: ClaimRules) -> None:
        self._rules = rules
        self._names = rules.names
        self._shared: dict[Any, Any] = {}

    def read(self, claims: Mapping[str, Any], now: float) -> Principal:
        """Return the principal of *claims* at *now*, in seconds since the epoch; raises InvalidToken."""
        if not self._rules.is_token:
            claims = _without_empty_dates(claims)
        expires_at = self._expiry(claims, now)
        _check_begin(claims, now)
        self._check_parties(claims)
        self._check_required(claims)
        if self._rules.is_token and not _is_name(claims.get("sub")):
            raise MalformedClaims("the token has no `sub`, or it is no text")
        scope = _find(claims, self._names.scope, "scope")
        if not isinstance(scope, str) and scope is not _ABSENT:
            raise MalformedClaims("the scope claim is no text")
        permissions = {*_strings(claims, self._names.permissions, "permissions")}
        permissions.update(scope.split() if isinstance(scope, str) else ())
        try:
            return Principal(
                user=self._user(claims),
                tenant=self._share(self._tenant(claims)),
                roles=self._share(_strings(claims, self._names.roles, "roles")),
                permissions=self._share(frozenset(permissions)),
                patterns=self._share(_strings(claims, self._names.channels, "channels")),
                expires_at=expires_at,
                issued_at=_issued_at(claims),
                token_id=_token_id(claims),
            )
        except InvalidPrincipal as error:
            raise InvalidToken(str(error)) from None

    def _expiry(self, claims: Mapping[str, Any], now: float) -> float | None:
        expires_at: Any = claims.get("exp", _ABSENT)
        if expires_at is _ABSENT and not self._rules.is_token:
            return None
        if not _is_date(expires_at):
            raise MalformedClaims("the token has no `exp`, or it is no number")
        if expires_at <= now:
            raise InvalidToken("the token has expired")
        if not self._rules.is_token:
            return float(min(expires_at, now + FOR_EVER_SECONDS))
        if expires_at > now + self._rules.max_lifetime_seconds:
            raise InvalidToken("the token expires later than auth.jwt.max_lifetime allows")
        return float(expires_at)

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        rules = self._rules
        if rules.issuer is not None and claims.get("iss") != rules.issuer:
            raise InvalidToken("the token is not from the configured issuer")
        if rules.audience is None:
            return
        audience = claims.get("aud")
        if audience != rules.audience and not (isinstance(audience, list) and rules.audience in audience):
            raise InvalidToken("the token is not for the configured audience")

    def _check_required(self, claims: Mapping[str, Any]) -> None:
        for name in self._rules.required:
            # An id that no revocation can name is none.
            value = _token_id(claims) if name == "jti" else claims.get(name)
            if value is None or value in ("", []):
                raise MalformedClaims("the token lacks a claim that auth.jwt.require names")

    def _user(self, claims: Mapping[str, Any]) -> str:
        user = self._named(_find(claims, self._names.user, "user"))
        if not isinstance(user, str):
            raise MalformedClaims("the user claim is absent or no text")
        return user

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        tenant = self._named(_find(claims, self._names.tenant, "tenant"))
        if tenant is _ABSENT:
            tenant = self._rules.default_tenant
            if tenant is None:
                raise InvalidToken("the token names no tenant, and auth.default_tenant is not set")
        if not isinstance(tenant, str):
            raise MalformedClaims("the tenant claim is no text")
        return tenant

    def _named(self, value: Any) -> Any:
        # bool is an int to isinstance; no database counts further than 64 bits.
        is_number = type(value) is int and 0 <= value < 2**64
        return str(value) if is_number and not self._rules.is_token else value

    def _share(self, value: T) -> T:
        if len(self._shared) >= MAX_SHARED:
            self._shared.clear()
        shared: T = self._shared.setdefault(value, value)
        return shared


def _without_empty_dates(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *claims* without dates that are null, which is how databases say that there is none."""
    return {name: value for name, value in claims.items() if value is not None or name not in _DATES}


def _check_begin(claims: Mapping[str, Any], now: float) -> None:
    for name in ("nbf", "iat"):
        begin = claims.get(name, _ABSENT)
        if begin is _ABSENT:
            continue
        if not _is_date(begin):
            raise MalformedClaims(f"the token's `{name}` is no number")
        if begin > now + CLOCK_SKEW_SECONDS:
            raise InvalidToken(f"the token is not valid yet (`{name}`)")


def _issued_at(claims: Mapping[str, Any]) -> float | None:
    issued_at = claims.get("iat")
    return None if issued_at is None else float(max(issued_at, 0))


def _token_id(claims: Mapping[str, Any]) -> str | None:
    """Return `jti` as far as it can be named in a revocation."""
    token_id = claims.get("jti")
    return token_id if isinstance(token_id, str) and len(token_id) <= MAX_TOKEN_ID_CHARACTERS else None


def _is_date(value: object) -> bool:
    # bool is an int to isinstance; a date that is `true` is a mistake.
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _find(claims: Mapping[str, Any], path: str, what: str) -> Any:
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping):
            raise MalformedClaims(f"the path to the {what} claim leads through something that is no map")
        if part not in value:
            return _ABSENT
        value = value[part]
    return value


def _strings(claims: Mapping[str, Any], path: str, what: str) -> tuple[str, ...]:
    """Return a list claim without repetitions, empty where it is absent."""
    value = _find(claims, path, what)
    if value is _ABSENT:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedClaims(f"the {what} claim is no list of texts")
    return tuple(dict.fromkeys(value))
