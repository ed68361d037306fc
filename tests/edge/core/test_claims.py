"""Claims and the principal they make."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.claims import (
    FOR_EVER_SECONDS,
    MAX_SHARED,
    ClaimNames,
    ClaimReader,
    ClaimRules,
    MalformedClaims,
)
from fanwire_edge.core.principal import InvalidToken, Principal

NOW = 1_800_000_000.5
GOOD: dict[str, Any] = {"sub": "u-1", "tenant": "acme", "exp": 1_800_003_600}


def read(claims: dict[str, Any], rules: ClaimRules | None = None) -> Principal:
    return ClaimReader(rules or ClaimRules()).read(claims, NOW)


def test_the_claims_of_the_contract_make_a_principal() -> None:
    """Roles, permissions with the scope, patterns and the expiry are taken over, without repetitions."""
    claims = {
        **GOOD,
        "roles": ["staff", "admin", "staff"],
        "permissions": ["orders:read"],
        "scope": "invoices:read  openid",
        "channels": ["tenant:acme:resource:jobs:*"],
        "nbf": 1_799_999_999,
        "iat": 1_799_999_999.25,
        "jti": "t-1",
        "unknown": {"a": 1},
    }

    assert read(claims) == Principal(
        "u-1",
        "acme",
        ("staff", "admin"),
        frozenset({"orders:read", "invoices:read", "openid"}),
        ("tenant:acme:resource:jobs:*",),
        1_800_003_600.0,
        1_799_999_999.25,
        "t-1",
    )


@pytest.mark.parametrize("token_id", [7, "x" * 129, None, ["t-1"]])
def test_a_token_that_no_revocation_can_name_has_no_id(token_id: Any) -> None:
    """It can be revoked by its user or tenant only."""
    assert read({**GOOD, "jti": token_id}).token_id is None


def test_nothing_but_sub_tenant_and_exp_is_needed() -> None:
    """A token without rights makes a principal without rights."""
    assert read(GOOD) == Principal("u-1", "acme", expires_at=1_800_003_600.0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": None}, "no `exp`"),
        ({"exp": "1800003600"}, "no `exp`"),
        ({"exp": True}, "no `exp`"),
        ({"exp": [1_800_003_600]}, "no `exp`"),
        ({"exp": math.nan}, "no `exp`"),
        ({"exp": math.inf}, "no `exp`"),
        ({"exp": 1_800_000_000}, "has expired"),
        ({"exp": NOW}, "has expired"),
        ({"exp": -1}, "has expired"),
        ({"exp": NOW + 86_400.5}, "max_lifetime"),
        ({"exp": 10**30}, "max_lifetime"),
        ({"exp": 10**400}, "max_lifetime"),
        ({"nbf": "1799999999"}, "`nbf` is no number"),
        ({"nbf": None}, "`nbf` is no number"),
        ({"nbf": NOW + 31}, r"not valid yet \(`nbf`\)"),
        ({"nbf": 10**400}, r"not valid yet \(`nbf`\)"),
        ({"iat": True}, "`iat` is no number"),
        ({"iat": NOW + 31}, r"not valid yet \(`iat`\)"),
        ({"sub": None}, "no `sub`"),
        ({"sub": 7}, "no `sub`"),
        ({"sub": ""}, "no `sub`"),
        ({"sub": "a:b"}, "the user is not"),
        ({"sub": "u\n"}, "the user is not"),
        ({"tenant": None}, "tenant claim is no text"),
        ({"tenant": 7}, "tenant claim is no text"),
        ({"tenant": ["acme"]}, "tenant claim is no text"),
        ({"tenant": ""}, "the tenant is not"),
        ({"tenant": "acme:resource"}, "the tenant is not"),
        ({"tenant": "*"}, "the tenant is not"),
        ({"roles": "admin"}, "roles claim is no list"),
        ({"roles": None}, "roles claim is no list"),
        ({"roles": ["admin", 1]}, "roles claim is no list"),
        ({"roles": {"admin": True}}, "roles claim is no list"),
        ({"permissions": "orders:read"}, "permissions claim is no list"),
        ({"permissions": [["orders:read"]]}, "permissions claim is no list"),
        ({"channels": "tenant:acme:resource:*"}, "channels claim is no list"),
        ({"channels": [None]}, "channels claim is no list"),
        ({"scope": ["orders:read"]}, "scope claim is no text"),
        ({"scope": None}, "scope claim is no text"),
    ],
)
def test_a_claim_that_breaks_the_rules_is_refused(changed: dict[str, Any], reason: str) -> None:
    """Wrong types are never skipped, and dates are numbers within bounds."""
    with pytest.raises(InvalidToken, match=reason):
        read({**GOOD, **changed})


@pytest.mark.parametrize("absent", ["sub", "tenant", "exp"])
def test_what_is_required_may_not_be_absent(absent: str) -> None:
    """There is no principal without a user, a tenant and an end."""
    with pytest.raises(InvalidToken, match=f"no `?{absent}`?"):
        read({name: value for name, value in GOOD.items() if name != absent})


def test_exp_ends_a_token_without_leeway_and_may_be_as_far_as_the_longest_life() -> None:
    """The last moment and the farthest are both inside."""
    assert read({**GOOD, "exp": NOW + 0.001}).expires_at == NOW + 0.001
    assert read({**GOOD, "exp": NOW + 86_400}).expires_at == NOW + 86_400
    assert read({**GOOD, "exp": NOW + 9}, ClaimRules(max_lifetime_seconds=9)).expires_at == NOW + 9
    assert read({**GOOD, "exp": NOW + 1, "iat": 0}).issued_at == 0
    assert read({**GOOD, "exp": NOW + 1, "iat": -(10**400)}).issued_at == 0


def test_another_machine_s_clock_may_be_half_a_minute_ahead() -> None:
    """`nbf` and `iat` were written elsewhere."""
    assert read({**GOOD, "nbf": NOW + 30, "iat": NOW + 30}).user == "u-1"


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        ({}, True),
        ({"aud": ["other", "fanwire"]}, True),
        ({"aud": ["other"]}, False),
        ({"aud": "fanwire2"}, False),
        ({"aud": "fan"}, False),
        ({"aud": []}, False),
        ({"aud": None}, False),
        ({"aud": {"fanwire": 1}}, False),
        ({"iss": "https://login.example.com"}, False),
        ({"iss": "https://login.example.com//"}, False),
        ({"iss": "https://login.example.com/.evil.test"}, False),
        ({"iss": ["https://login.example.com/"]}, False),
        ({"iss": "HTTPS://login.example.com/"}, False),
        ({"iss": None}, False),
    ],
)
def test_issuer_and_audience_are_compared_exactly(changed: dict[str, Any], passes: bool) -> None:
    """Neither a part nor an extension of the name is the name."""
    rules = ClaimRules(issuer="https://login.example.com/", audience="fanwire")
    claims = {**GOOD, "iss": "https://login.example.com/", "aud": "fanwire", **changed}

    if passes:
        assert read(claims, rules).user == "u-1"
    else:
        with pytest.raises(InvalidToken, match="configured"):
            read(claims, rules)


def test_a_configured_issuer_or_audience_is_required() -> None:
    """Their absence is no pass."""
    for rules in (ClaimRules(issuer="i"), ClaimRules(audience="a")):
        with pytest.raises(InvalidToken, match="configured"):
            read(GOOD, rules)


def test_a_token_without_a_tenant_gets_the_default_one() -> None:
    """Only where the claim is absent; a wrong one is refused all the same."""
    rules = ClaimRules(default_tenant="main")

    assert read({"sub": "u-1", "exp": GOOD["exp"]}, rules).tenant == "main"
    assert read(GOOD, rules).tenant == "acme"
    with pytest.raises(InvalidToken, match="tenant claim is no text"):
        read({**GOOD, "tenant": None}, rules)


def test_claims_are_found_by_other_names_by_paths_and_by_names_with_dots() -> None:
    """An exact name wins over a path, so that names which are URLs work."""
    names = ClaimNames(user="uid", tenant="https://example.com/tenant", roles="realm_access.roles")
    claims = {
        "sub": "s",
        "uid": "u-9",
        "exp": GOOD["exp"],
        "https://example.com/tenant": "acme",
        "realm_access": {"roles": ["admin"]},
    }

    principal = read(claims, ClaimRules(names))

    assert (principal.user, principal.tenant, principal.roles) == ("u-9", "acme", ("admin",))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"realm_access": "admin"}, "path to the roles claim"),
        ({"realm_access": ["admin"]}, "path to the roles claim"),
        ({"uid": 7}, "user claim is absent or no text"),
        ({"uid": None}, "user claim is absent or no text"),
        ({"sub": ""}, "no `sub`"),
    ],
)
def test_other_names_are_as_strict(claims: dict[str, Any], reason: str) -> None:
    """A path leads through maps, the user is a text, and `sub` is required beside another user claim."""
    names = ClaimNames(user="uid", roles="realm_access.roles")

    with pytest.raises(InvalidToken, match=reason):
        read({**GOOD, "uid": "u-9", **claims}, ClaimRules(names))


def test_a_path_that_ends_early_is_an_absent_claim() -> None:
    """Roles that are not there are no roles; a user that is not there is nobody."""
    assert read(GOOD, ClaimRules(ClaimNames(roles="a.b"))).roles == ()
    assert read({**GOOD, "a": {}}, ClaimRules(ClaimNames(roles="a.b"))).roles == ()
    with pytest.raises(InvalidToken, match="user claim is absent"):
        read(GOOD, ClaimRules(ClaimNames(user="a.b")))


def test_equal_roles_of_different_users_are_kept_once() -> None:
    """Fifteen thousand principals of one tenant share what they have in common."""
    reader = ClaimReader(ClaimRules())
    claims = {"roles": ["admin", "staff"], "scope": "orders:read", "channels": ["tenant:acme:resource:a:*"]}

    first = reader.read({**GOOD, **claims, "sub": "u-1", "roles": ["admin", "staff"]}, NOW)
    second = reader.read({**GOOD, **claims, "sub": "u-2", "roles": ["admin", "staff"]}, NOW)

    assert first.roles is second.roles
    assert first.permissions is second.permissions
    assert first.patterns is second.patterns


def test_what_is_shared_is_bounded() -> None:
    """Roles that are all different are forgotten again; the principals stay right."""
    reader = ClaimReader(ClaimRules())

    found = [reader.read({**GOOD, "roles": [f"r{index}"]}, NOW).roles for index in range(2 * MAX_SHARED)]

    assert found == [(f"r{index}",) for index in range(2 * MAX_SHARED)]
    assert len(reader._shared) <= MAX_SHARED


STRICT = ClaimRules(required=("iat", "jti", "client_id", "aud"))
COMPLETE = {**GOOD, "iat": NOW - 1, "jti": "t-1", "client_id": "web", "aud": ["fanwire"]}


def test_claims_that_are_required_must_say_something() -> None:
    """S10: beside those that every token has, as RFC 9068 wants of access tokens."""
    assert read(COMPLETE, STRICT).token_id == "t-1"


@pytest.mark.parametrize(
    "changed",
    [
        *({name: None} for name in STRICT.required),
        {"client_id": ""},
        {"aud": []},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 129},
    ],
    ids=repr,
)
def test_a_claim_that_is_required_and_says_nothing_is_refused(changed: dict[str, Any]) -> None:
    """Absent, empty, or an id by which no revocation could name the token."""
    claims = {name: value for name, value in {**COMPLETE, **changed}.items() if value is not None}

    with pytest.raises(InvalidToken, match="lacks a claim"):
        read(claims, STRICT)


OF_OTHERS = ClaimRules(ClaimNames(user="id", tenant="team.id"), default_tenant="main", is_token=False)


@pytest.mark.parametrize(
    ("said", "principal"),
    [
        ({"id": "u-1"}, Principal("u-1", "main")),
        ({"id": 42, "team": {"id": 7}}, Principal("42", "7")),
        ({"id": "u-1", "exp": None, "nbf": None, "iat": None}, Principal("u-1", "main")),
        (
            {"id": "u-1", "exp": NOW + 1, "iat": 5},
            Principal("u-1", "main", expires_at=NOW + 1, issued_at=5.0),
        ),
        ({"id": "u-1", "exp": NOW + 10**7}, Principal("u-1", "main", expires_at=NOW + 10**7)),
        ({"id": "u-1", "exp": 10**400}, Principal("u-1", "main", expires_at=NOW + FOR_EVER_SECONDS)),
        ({"id": "u-1", "iat": -(10**400)}, Principal("u-1", "main", issued_at=0.0)),
    ],
)
def test_what_others_say_of_a_credential_needs_no_end_and_may_count_users(
    said: dict[str, Any], principal: Principal
) -> None:
    """Null dates are absent ones, numbers are names, and `exp` is honoured however far it is."""
    assert read(said, OF_OTHERS) == principal


@pytest.mark.parametrize(
    ("said", "is_malformed"),
    [
        ({}, True),
        ({"id": None}, True),
        ({"id": True}, True),
        ({"id": 1.5}, True),
        ({"id": -1}, True),
        ({"id": 2**64}, True),
        ({"id": "u-1", "team": []}, True),
        ({"id": "u-1", "team": {"id": None}}, True),
        ({"id": "u-1", "exp": "tomorrow"}, True),
        ({"id": "u-1", "iat": "today"}, True),
        ({"id": "u-1", "roles": "admin"}, True),
        ({"id": "u-1", "scope": 1}, True),
        ({"id": "u 1"}, False),
        ({"id": "u-1", "exp": NOW}, False),
        ({"id": "u-1", "nbf": NOW + 31}, False),
    ],
)
def test_a_mistake_of_others_is_told_from_a_credential_that_is_not_good(
    said: dict[str, Any], is_malformed: bool
) -> None:
    """Who asks again may get a better answer in the first case only."""
    with pytest.raises(InvalidToken) as caught:
        read(said, OF_OTHERS)

    assert isinstance(caught.value, MalformedClaims) is is_malformed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["sub", "tenant", "exp", "nbf", "iat", "roles", "permissions", "channels", "scope", "iss"]
)


@given(st.dictionaries(NAMES, JSON, max_size=5), st.booleans())
def test_any_claims_are_a_principal_or_an_invalid_token(changed: dict[str, Any], is_token: bool) -> None:
    """Nothing else comes out, and no reason repeats a claim's content."""
    marked = {**GOOD, "sub": "mark-9", "tenant": "mark-9", **changed}
    try:
        said = repr(read(marked, ClaimRules(is_token=is_token)).expires_at)
    except InvalidToken as error:
        said = error.reason

    assert "mark-9" not in said
