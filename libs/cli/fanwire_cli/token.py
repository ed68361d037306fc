"""`fanwire token`: signs a token with the secret that the edge verifies with."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from fanwire_cli.arguments import Parser, duration
from fanwire_cli.failure import Failure
from fanwire_cli.settings import AuthSettings, JwtSettings, read_settings
from fanwire_protocol.channels import InvalidChannel, is_segment, parse_channel

__all__ = ["KEY_BYTES", "Grant", "claims_of", "run", "sign"]

# RFC 7518 section 3.2: an HMAC key is at least as long as the hash, in bytes.
KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}

_SECRET = "FANWIRE_AUTH__JWT__SECRET"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says about its bearer."""

    tenant: str
    user: str
    lifetime_seconds: int
    roles: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    scope: str | None = None


def claims_of(grant: Grant, settings: AuthSettings, now: int) -> dict[str, object]:
    """Return the claims for *grant*, issued at *now* (seconds); raises Failure if no edge would take them."""
    for name, text in (("tenant", grant.tenant), ("user", grant.user), *(("role", r) for r in grant.roles)):
        if not is_segment(text):
            raise Failure(f"--{name} {text!r} is not 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -", status=2)
    for channel in grant.channels:
        _check_channel(channel, grant.tenant)
    if not 0 < grant.lifetime_seconds <= settings.jwt.max_lifetime:
        longest = settings.jwt.max_lifetime
        raise Failure(f"--ttl is 1 to {longest} s; the edge refuses longer tokens", status=2)
    names = settings.claims
    values: dict[str, object] = {
        "sub": grant.user,
        names.user: grant.user,
        names.tenant: grant.tenant,
        "iat": now,
        "exp": now + grant.lifetime_seconds,
        names.roles: list(grant.roles),
        names.channels: list(grant.channels),
        names.scope: grant.scope,
        "iss": settings.jwt.issuer,
        "aud": settings.jwt.audience,
    }
    claims: dict[str, object] = {}
    for path, value in values.items():
        if value not in (None, []):
            _place(claims, path, value)
    return {**claims, **_demanded(settings.jwt, claims, now)}


def _demanded(settings: JwtSettings, claims: Mapping[str, object], now: int) -> dict[str, object]:
    """Return the further claims that the edge requires."""
    known = {"jti": uuid.uuid4().hex, "nbf": now, "client_id": "fanwire-cli"}
    missing = [name for name in settings.require if name not in claims]
    for name in missing:
        if name not in known:
            raise Failure(
                f"FANWIRE_AUTH__JWT__REQUIRE names the claim {name!r}, and there is no value for it here; "
                "get the token from your identity provider"
            )
    return {name: known[name] for name in missing}


def _place(claims: dict[str, Any], path: str, value: object) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        claims = claims.setdefault(parent, {})
    claims[name] = value


def _check_channel(name: str, tenant: str) -> None:
    try:
        channel = parse_channel(name)
    except InvalidChannel as error:
        raise Failure(f"--channel {name!r}: {error}", status=2) from error
    if channel.tenant != tenant:
        raise Failure(f"--channel {name!r}: no claim reaches beyond the tenant {tenant!r}", status=2)


def sign(claims: Mapping[str, object], settings: JwtSettings) -> str:
    """Return the signed token; raises Failure where the secret is missing or too short."""
    if settings.secret is None and settings.foreign_key is not None:
        raise Failure(
            f"{settings.foreign_key} names public keys, and fanwire holds no private one to sign with; get "
            f"the token from who does, or set {_SECRET} beside it, here and for the edge"
        )
    algorithms = settings.algorithms or ("HS256",)
    algorithm = next((name for name in algorithms if name in KEY_BYTES), None)
    if algorithm is None:
        raise Failure(
            f"{algorithms[0]} needs a private key, which fanwire does not hold; let your identity provider "
            f"sign, or put one of {', '.join(KEY_BYTES)} into FANWIRE_AUTH__JWT__ALGORITHMS"
        )
    needed, held = KEY_BYTES[algorithm], len(settings.key)
    if held < needed:
        state = f"has {held} bytes" if held else "is not set"
        raise Failure(
            f"{_SECRET} {state} and {algorithm} needs {needed} bytes or more; for example "
            f"export {_SECRET}=$(openssl rand -hex {needed}), or {_SECRET}_FILE with the path of a file"
        )
    return jwt.encode(dict(claims), settings.key, algorithm, headers={"typ": settings.typ})


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print a token."""
    options = _parser().parse_args(argv)
    settings = read_settings(environment, options.config).auth
    if settings.verifier != "jwt":
        raise Failure(
            f"FANWIRE_AUTH__VERIFIER is {settings.verifier}: the edge asks others whose a token is, so none "
            "can be signed here; take one that they know"
        )
    grant = Grant(
        options.tenant,
        options.user,
        options.ttl,
        tuple(options.role),
        tuple(options.channel),
        options.scope,
    )
    print(sign(claims_of(grant, settings, int(time.time())), settings.jwt))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="fanwire token",
        description=f"Sign a token with {_SECRET} and print it.",
        epilog="fanwire token --tenant acme --user u-1 --channel 'tenant:acme:resource:orders:*' --ttl 8h",
    )
    parser.add_argument("--tenant", required=True, help="the tenant; nothing reaches beyond it")
    parser.add_argument("--user", required=True, help="the user (claim `sub`)")
    parser.add_argument("--role", action="append", default=[], help="a role the user holds; repeatable")
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="PATTERN",
        help="a channel or pattern the user may read; repeatable",
    )
    parser.add_argument("--scope", help="space-separated; `orders:read` permits every order of the tenant")
    parser.add_argument("--ttl", type=duration, default=3_600, help="lifetime, at most 24h (default: 1h)")
    parser.add_argument("--config", metavar="FILE", help="TOML file; the environment wins")
    return parser
