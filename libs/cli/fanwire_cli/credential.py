"""What a token says, and what an edge would hold against it. Pure: the time is an argument.

A token is read here without being believed, to explain a refusal. No text made here holds the token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jwt

from fanwire_cli.settings import AuthSettings, ClaimNames, JwtSettings
from fanwire_cli.token import KEY_BYTES
from fanwire_protocol.channels import Channel, ChannelKind, InvalidChannel, covers, is_segment, parse_channel

__all__ = ["Credential", "explain_refusal", "read_credential"]

_CLOCK_SKEW_SECONDS = 30  # what the edge grants `nbf`, which another machine's clock wrote


@dataclass(frozen=True, slots=True)
class Credential:
    """The claims of a token and its faults, one line each; `claims` is None where none can be read."""

    claims: Mapping[str, Any] | None
    names: ClaimNames = field(default_factory=ClaimNames)
    faults: tuple[str, ...] = ()

    def get(self, path: str) -> Any:
        """Return the claim of this name, or at this dotted path; None where there is none."""
        found: Any = self.claims
        if found is None or path in found:
            return found and found[path]
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    @property
    def summary(self) -> str:
        """Who the bearer is and what the claims permit."""
        if self.claims is None:
            return "the edge asks others whose it is (FANWIRE_AUTH__VERIFIER); nothing can be told here"
        names = self.names
        who = f"user {self.get(names.user)} of tenant {self.get(names.tenant) or '(the default)'}"
        held = {
            name: self.get(name) for name in (names.roles, names.permissions, names.channels, names.scope)
        }
        return "".join((who, *(f", {name} {_words(value)}" for name, value in held.items() if value)))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def read_credential(token: str, settings: AuthSettings, now: float) -> Credential:
    """Read *token* as an edge with *settings* would at *now* (seconds since the epoch)."""
    if settings.verifier != "jwt":
        return Credential(None, settings.claims)
    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except jwt.DecodeError:
        return Credential(None, faults=("it is no JWT, which is three parts of base64url with dots between",))
    except jwt.InvalidTokenError:
        return Credential(None, faults=("its header has `crit`, which edges do not know; sign without it",))
    claims = whole["payload"]
    bare = Credential(claims, settings.claims)
    faults = (
        *_header_faults(whole["header"], settings.jwt),
        *_time_faults(claims, settings.jwt.max_lifetime, now),
        *_identity_faults(bare, settings),
        *_party_faults(claims, settings.jwt),
        *_demand_faults(claims, settings.jwt.require),
        *_signature_faults(token, whole["header"], settings.jwt),
    )
    return replace(bare, faults=faults)


def _header_faults(header: Mapping[str, Any], settings: JwtSettings) -> Iterator[str]:
    if settings.algorithms and header.get("alg") not in settings.algorithms:
        known = ", ".join(settings.algorithms)
        yield f"it is signed with {header.get('alg')}; FANWIRE_AUTH__JWT__ALGORITHMS here permits {known}"

    typ = header.get("typ")
    if settings.typ == "at+jwt" and str(typ).lower() not in ("at+jwt", "application/at+jwt"):
        yield f"its header's `typ` is {typ!r}; FANWIRE_AUTH__JWT__TYP here admits access tokens (at+jwt) only"


def _demand_faults(claims: Mapping[str, Any], required: tuple[str, ...]) -> Iterator[str]:
    for name in required:
        if claims.get(name) in (None, "", []):
            yield f"claim `{name}` is missing or empty; FANWIRE_AUTH__JWT__REQUIRE here names it"


def _time_faults(claims: Mapping[str, Any], max_lifetime: int, now: float) -> Iterator[str]:
    for name in ("exp", "nbf", "iat"):
        if name in claims and type(claims[name]) not in (int, float):
            yield f"claim `{name}` is no number; it is seconds since the epoch"
            return
    expires = claims.get("exp")
    if expires is None:
        yield "claim `exp` is missing; tokens without an end are refused"
    elif expires <= now:
        yield f"claim `exp`: it expired {now - expires:.0f} s ago; get a new one"
    elif expires > now + max_lifetime:
        yield f"claim `exp` is more than {max_lifetime} s ahead; take a shorter lifetime"
    if claims.get("nbf", now) > now + _CLOCK_SKEW_SECONDS:
        yield f"claim `nbf`: it is not valid for another {claims['nbf'] - now:.0f} s; compare the clocks"


def _identity_faults(credential: Credential, settings: AuthSettings) -> Iterator[str]:
    names = settings.claims
    defaults = {"sub": None, names.user: None, names.tenant: settings.default_tenant}
    for name, default in defaults.items():
        value = credential.get(name)
        value = default if value is None else value
        if value is None:
            hint = "; add it, or set FANWIRE_AUTH__DEFAULT_TENANT" if name == names.tenant else ""
            yield f"claim `{name}` is missing{hint}"
        elif type(value) is not str or not is_segment(value):
            yield f"claim `{name}` is no segment: 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -"


def _party_faults(claims: Mapping[str, Any], settings: JwtSettings) -> Iterator[str]:
    issuer, audience = settings.issuer, settings.audience
    if issuer is not None and claims.get("iss") != issuer:
        yield f"claim `iss` is {claims.get('iss')!r}; FANWIRE_AUTH__JWT__ISSUER here is {issuer!r}"
    held = claims.get("aud")
    if audience is not None and audience not in (held if isinstance(held, list) else [held]):
        yield f"claim `aud` is {held!r}; FANWIRE_AUTH__JWT__AUDIENCE here is {audience!r}"


def _signature_faults(token: str, header: Mapping[str, Any], settings: JwtSettings) -> Iterator[str]:
    algorithm = str(header.get("alg"))
    if settings.secret is None or algorithm not in KEY_BYTES:
        return
    if len(settings.key) < KEY_BYTES[algorithm]:
        yield f"FANWIRE_AUTH__JWT__SECRET here is shorter than the {KEY_BYTES[algorithm]} bytes it needs"
        return
    try:
        jwt.api_jws.decode(token, settings.key, algorithms=[algorithm])
    except jwt.InvalidSignatureError:
        yield "its signature does not fit FANWIRE_AUTH__JWT__SECRET here; sign with the edge's secret"
    except jwt.InvalidTokenError as error:
        yield f"its signature cannot be checked: {error}"


def explain_refusal(name: str, credential: Credential) -> str:
    """Say why the bearer may not subscribe to *name*, and which claim would permit it."""
    try:
        channel = parse_channel(name)
    except InvalidChannel as error:
        return str(error)
    names = credential.names
    tenant = credential.get(names.tenant)
    if channel.tenant is not None and tenant is not None and channel.tenant != tenant:
        return f"the token's tenant is {tenant}; no claim reaches tenant {channel.tenant}"
    if channel.kind is not ChannelKind.RESOURCE:
        return (
            "it is joined by the server, for the connections that it addresses; nothing is to be subscribed"
        )
    if _permits(credential, channel):
        return "its claims would permit it; the edge's own rules (authorization.mode) do not"
    wider = f"tenant:{channel.tenant}:resource:{channel.type or ''}{':' if channel.type else ''}*"
    claim = f'claim `{names.channels}` with "{wider}" would permit it'
    return f"{claim}; so would `{names.scope}` with {channel.type}:read" if channel.type else claim


def _permits(credential: Credential, channel: Channel) -> bool:
    names = credential.names
    patterns = credential.get(names.channels)
    # As edges have it: a claim may hold anything, and `tenant:*` is no pattern though it seems to cover all.
    head = f"tenant:{channel.tenant}:resource:"
    if isinstance(patterns, list) and any(
        isinstance(pattern, str) and pattern.startswith(head) and covers(pattern, channel.name)
        for pattern in patterns
    ):
        return True
    scope, permissions = credential.get(names.scope), credential.get(names.permissions)
    words = scope.split() if isinstance(scope, str) else []
    words += permissions if isinstance(permissions, list) else []
    return channel.type is not None and f"{channel.type}:read" in words
