"""`fanwire token`: what it signs, and what it refuses to sign."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest

from fanwire_cli.failure import Failure
from fanwire_cli.settings import AuthSettings, ClaimNames, JwtSettings
from fanwire_cli.token import Grant, claims_of, run, sign

SECRET = "a secret of the tests that is long enough even for SHA-512, which takes 64"
GRANT = Grant("acme", "u-1", 3600)
AUTH = AuthSettings(JwtSettings(secret=SECRET), ClaimNames())
NOW = 1_800_000_000


def test_smallest_token_says_who_where_and_how_long() -> None:
    """Claims that were not asked for are left out."""
    claims = {"sub": "u-1", "tenant": "acme", "iat": NOW, "exp": NOW + 3600}

    assert claims_of(GRANT, AUTH, NOW) == claims


def test_secret_that_is_no_text_signs() -> None:
    """A secret of any bytes, as a file may hold it, signs what an edge with the same bytes takes."""
    key = b"\xff" * 64
    settings = JwtSettings(secret=key.decode("utf-8", "surrogateescape"))

    assert jwt.decode(sign({"sub": "u-1"}, settings), key, ["HS256"]) == {"sub": "u-1"}


def test_largest_token() -> None:
    """Roles, channels and scope are added, issuer and audience where they are configured."""
    grant = Grant("acme", "u-1", 60, ("admin",), ("tenant:acme:resource:orders:*",), "jobs:read")
    auth = replace(AUTH, jwt=JwtSettings(issuer="https://id.example.com/", audience="fanwire"))

    claims = claims_of(grant, auth, NOW)

    assert claims["roles"] == ["admin"]
    assert claims["channels"] == ["tenant:acme:resource:orders:*"]
    assert (claims["scope"], claims["iss"], claims["aud"]) == (
        "jobs:read",
        "https://id.example.com/",
        "fanwire",
    )


def test_configured_claim_names_are_used() -> None:
    """A dotted path becomes nested claims; `sub` is there in any case."""
    names = ClaimNames(user="user_id", tenant="org.id", roles="realm_access.roles")

    claims = claims_of(replace(GRANT, roles=("admin",)), replace(AUTH, claims=names), NOW)

    assert claims["sub"] == claims["user_id"] == "u-1"
    assert claims["org"] == {"id": "acme"}
    assert claims["realm_access"] == {"roles": ["admin"]}


@pytest.mark.parametrize(
    ("grant", "text"),
    [
        (replace(GRANT, tenant="a:b"), "--tenant"),
        (replace(GRANT, user=""), "--user"),
        (replace(GRANT, roles=("a b",)), "--role"),
        (replace(GRANT, channels=("orders",)), "--channel 'orders'"),
        (replace(GRANT, channels=("tenant:globex:resource:*",)), "beyond the tenant 'acme'"),
        (replace(GRANT, lifetime_seconds=86_401), "--ttl is 1 to 86400 s"),
        (replace(GRANT, lifetime_seconds=0), "--ttl"),
    ],
)
def test_what_no_edge_would_take_is_not_signed(grant: Grant, text: str) -> None:
    """The option at fault is named."""
    with pytest.raises(Failure) as caught:
        claims_of(grant, AUTH, NOW)

    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("algorithms", "used"),
    [
        ((), "HS256"),
        (("HS384", "HS256"), "HS384"),
        (("HS512",), "HS512"),
        (("RS256", "HS384"), "HS384"),
    ],
)
def test_first_configured_algorithm_signs(algorithms: tuple[str, ...], used: str) -> None:
    """The first that goes with a secret; HS256 is what is used where nothing is configured."""
    token = sign({"sub": "u-1"}, JwtSettings(secret=SECRET, algorithms=algorithms))

    assert jwt.get_unverified_header(token)["alg"] == used
    assert jwt.decode(token, SECRET, algorithms=[used]) == {"sub": "u-1"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (JwtSettings(), "is not set and HS256 needs 32"),
        (JwtSettings(secret="x" * 31), "has 31 bytes and HS256 needs 32"),
        (JwtSettings(secret="x" * 63, algorithms=("HS512",)), "HS512 needs 64"),
        (JwtSettings(secret=SECRET, algorithms=("RS256",)), "RS256 needs a private key"),
        (JwtSettings(jwks_url="https://id.test/keys"), "FANWIRE_AUTH__JWT__JWKS_URL names public keys"),
        (JwtSettings(public_key_file="/key.pem"), "FANWIRE_AUTH__JWT__PUBLIC_KEY_FILE names public keys"),
        (JwtSettings(public_key="pem"), "FANWIRE_AUTH__JWT__PUBLIC_KEY names public keys"),
    ],
)
def test_unusable_secret(settings: JwtSettings, text: str) -> None:
    """What is missing is said, without the secret."""
    with pytest.raises(Failure) as caught:
        sign({"sub": "u-1"}, settings)

    assert text in str(caught.value)
    assert "xxx" not in str(caught.value)


def test_a_secret_beside_published_keys_signs() -> None:
    """The edge takes such a token where it names no published key, and this one names none."""
    token = sign({"sub": "u-1"}, JwtSettings(secret=SECRET, jwks_url="https://id.test/keys"))

    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_what_a_strict_edge_requires_is_there() -> None:
    """Claims that name the token and its client, and the type of an access token."""
    strict = JwtSettings(secret=SECRET, require=("iat", "nbf", "jti", "client_id"), typ="at+jwt")

    claims = claims_of(GRANT, replace(AUTH, jwt=strict), NOW)

    assert (claims["iat"], claims["nbf"], claims["client_id"]) == (NOW, NOW, "fanwire-cli")
    assert claims["jti"] != claims_of(GRANT, replace(AUTH, jwt=strict), NOW)["jti"]
    assert jwt.get_unverified_header(sign(claims, strict))["typ"] == "at+jwt"


def test_a_required_claim_that_nobody_knows_here_is_named() -> None:
    """A token without it would be refused."""
    with pytest.raises(Failure, match="REQUIRE names the claim 'azp'"):
        claims_of(GRANT, replace(AUTH, jwt=JwtSettings(secret=SECRET, require=("azp",))), NOW)


@pytest.mark.parametrize("verifier", ["introspection", "callable"])
def test_where_others_tell_whose_a_token_is_none_is_signed(verifier: str) -> None:
    """The edge would not look at the signature."""
    environment = {"FANWIRE_AUTH__VERIFIER": verifier, "FANWIRE_AUTH__JWT__SECRET": SECRET}

    with pytest.raises(Failure, match=f"FANWIRE_AUTH__VERIFIER is {verifier}"):
        run(["--tenant", "acme", "--user", "u-1"], environment)
