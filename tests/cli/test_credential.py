"""The doctor's reading of a token: each fault has its own line, and no line holds the token."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from fanwire_cli.credential import Credential, explain_refusal, read_credential
from fanwire_cli.settings import AuthSettings, ClaimNames, JwtSettings

SECRET = "a secret of the tests that has more than 32 bytes"
NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {"sub": "u-1", "tenant": "acme", "exp": NOW + 3600}
AUTH = AuthSettings(JwtSettings(secret=SECRET), ClaimNames())


def test_good_token_has_no_fault() -> None:
    """The summary says whose it is and what it permits."""
    claims = {**GOOD, "roles": ["admin"], "channels": ["tenant:acme:resource:*"]}

    credential = read_credential(jwt.encode(claims, SECRET), AUTH, NOW)

    assert credential.faults == ()
    assert credential.summary == "user u-1 of tenant acme, roles admin, channels tenant:acme:resource:*"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"exp": None}, "`exp` is missing"),
        ({"exp": "soon"}, "`exp` is no number"),
        ({"exp": NOW - 90}, "expired 90 s ago"),
        ({"exp": NOW + 90_000}, "more than 86400 s ahead"),
        ({"nbf": NOW + 60}, "not valid for another 60 s"),
        ({"iat": True}, "`iat` is no number"),
        ({"sub": None}, "`sub` is missing"),
        ({"sub": "u:1"}, "`sub` is no segment"),
        ({"tenant": None}, "`tenant` is missing; add it, or set FANWIRE_AUTH__DEFAULT_TENANT"),
        ({"tenant": 7}, "`tenant` is no segment"),
    ],
)
def test_each_fault_names_its_claim(changes: dict[str, Any], text: str) -> None:
    """A claim that an edge refuses is named with what would work."""
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    token = jwt.encode(claims, SECRET)

    (fault,) = read_credential(token, AUTH, NOW).faults

    assert text in fault
    assert token not in fault


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (JwtSettings(secret=SECRET + "!"), "signature does not fit"),
        (JwtSettings(secret="short"), "shorter than the 32 bytes"),
        (JwtSettings(algorithms=("RS256",)), "signed with HS256"),
        (JwtSettings(issuer="https://id.example.com/"), "`iss` is None"),
        (JwtSettings(audience="fanwire"), "`aud` is None"),
        (JwtSettings(require=("exp", "jti")), "`jti` is missing or empty; FANWIRE_AUTH__JWT__REQUIRE"),
        (JwtSettings(typ="at+jwt"), "`typ` is 'JWT'; FANWIRE_AUTH__JWT__TYP"),
    ],
)
def test_configuration_is_compared(settings: JwtSettings, text: str) -> None:
    """What this machine's configuration asks for is held against the token."""
    (fault,) = read_credential(jwt.encode(GOOD, SECRET), AuthSettings(settings, ClaimNames()), NOW).faults

    assert text in fault


@pytest.mark.parametrize("token", ["opaque", jwt.encode({**GOOD, "exp": 1}, SECRET)])
def test_where_others_tell_whose_a_token_is_nothing_is_held_against_it(token: str) -> None:
    """Not even that it is no JWT."""
    auth = AuthSettings(JwtSettings(), ClaimNames(), verifier="introspection")

    credential = read_credential(token, auth, NOW)

    assert credential.faults == ()
    assert "FANWIRE_AUTH__VERIFIER" in credential.summary


def test_opaque_and_odd_tokens() -> None:
    """No token makes the doctor fail."""
    assert "no JWT" in read_credential("opaque", AUTH, NOW).faults[0]
    odd = jwt.encode(GOOD, SECRET, headers={"crit": ["b64"], "b64": True})
    assert any("crit" in fault for fault in read_credential(odd, AUTH, NOW).faults)


def test_default_tenant_and_claim_names_are_used() -> None:
    """A token without a tenant passes where a default is set; claims are read where they are configured."""
    auth = AuthSettings(JwtSettings(), ClaimNames(roles="realm_access.roles"), default_tenant="acme")
    token = jwt.encode({"sub": "u-1", "exp": NOW + 60, "realm_access": {"roles": ["a", "b"]}}, SECRET)

    credential = read_credential(token, auth, NOW)

    assert credential.faults == ()
    assert credential.summary == "user u-1 of tenant (the default), realm_access.roles a b"


@pytest.mark.parametrize(
    ("channel", "claims", "text"),
    [
        ("orders", {}, "begins with `tenant:{tenant}:`"),
        ("tenant:globex:resource:orders:*", {}, "no claim reaches tenant globex"),
        ("tenant:acme:user:u-2", {}, "joined by the server"),
        ("system:all", {}, "joined by the server"),
        ("tenant:acme:resource:orders:42", {}, '"tenant:acme:resource:orders:*" would permit it'),
        ("tenant:acme:resource:orders:42", {}, "`scope` with orders:read"),
        ("tenant:acme:resource:*", {}, '`channels` with "tenant:acme:resource:*"'),
        (
            "tenant:acme:resource:orders:42",
            {"channels": ["tenant:*", "tenant:*:resource:*"]},
            "would permit it",
        ),
        ("tenant:acme:resource:orders:42", {"scope": "orders:read"}, "edge's own rules"),
        ("tenant:acme:resource:orders:42", {"permissions": ["orders:read"]}, "edge's own rules"),
        ("tenant:acme:resource:orders:42", {"channels": ["tenant:acme:resource:*"]}, "edge's own rules"),
    ],
)
def test_refused_channel_is_explained(channel: str, claims: dict[str, Any], text: str) -> None:
    """The rule that is broken is named, or the claim that would permit it."""
    assert text in explain_refusal(channel, Credential({"tenant": "acme", **claims}))
