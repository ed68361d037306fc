"""What claims permit, and that they never reach another tenant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.authorization import by_claims, is_own, permits
from fanwire_edge.core.decision import Decision
from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import parse_channel

ORDER = "tenant:acme:resource:orders:42"
ORDERS = "tenant:acme:resource:orders:*"
INVOICE = "tenant:acme:resource:invoices:42"
EVERYTHING = "tenant:acme:resource:*"


@pytest.mark.parametrize(
    ("pattern", "permitted"),
    [
        (ORDER, {ORDER}),
        (ORDERS, {ORDER, ORDERS}),
        (EVERYTHING, {ORDER, ORDERS, INVOICE, EVERYTHING}),
    ],
)
def test_a_pattern_permits_what_it_covers(pattern: str, permitted: set[str]) -> None:
    """One resource, all of a type, or all of the tenant; never the wider by the narrower."""
    principal = Principal("u-1", "acme", patterns=("tenant:acme:resource:other:1", pattern))

    found = {name for name in (ORDER, ORDERS, INVOICE, EVERYTHING) if permits(principal, parse_channel(name))}

    assert found == permitted


@pytest.mark.parametrize(
    ("permission", "permitted"),
    [
        ("orders:read", {ORDER, ORDERS}),
        ("invoices:read", {INVOICE}),
        ("orders:write", set()),
        ("orders", set()),
        ("orders:*", set()),
        ("*:read", set()),
        ("*", set()),
        ("read", set()),
        (":read", set()),
        ("None:read", set()),
        ("ORDERS:READ", set()),
        ("acme:orders:read", set()),
        ("orders:read:own", set()),
        (ORDERS, set()),
    ],
)
def test_a_permission_permits_one_type_and_only_as_type_read(permission: str, permitted: set[str]) -> None:
    """Nothing but `{type}:read` is understood, and it never permits every type."""
    principal = Principal("u-1", "acme", permissions=frozenset({permission}))

    found = {name for name in (ORDER, ORDERS, INVOICE, EVERYTHING) if permits(principal, parse_channel(name))}

    assert found == permitted


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "tenant:*",
        "tenant:acme:*",
        "tenant:acme",
        "tenant:*:resource:*",
        "tenant:acme:resource",
        "tenant:acme:resource:",
        "tenant:acme:resource:ord*",
        "tenant:acme:resource:orders:4*",
        "tenant:acme:resource:orders",
        "tenant:acme:resource:*:*",
        "tenant:acme:resource:*:42",
        "tenant:acme:resource::*",
        "TENANT:acme:resource:*",
        " tenant:acme:resource:*",
        "tenant:acme:resource:* ",
        "tenant:acme2:resource:*",
        "tenant:acm:resource:*",
        "tenant:other:resource:*",
        "tenant:other:resource:orders:42",
        "resource:orders:*",
        "",
    ],
)
def test_a_pattern_that_is_malformed_or_another_tenant_s_permits_nothing(pattern: str) -> None:
    """What is not understood does not widen what a token means."""
    principal = Principal("u-1", "acme", patterns=(pattern,))

    assert not permits(principal, parse_channel(ORDER))
    assert not permits(principal, parse_channel(EVERYTHING))
    assert not permits(principal, parse_channel("tenant:other:resource:orders:42"))


@pytest.mark.parametrize(
    "name",
    [
        "tenant:acme:user:u-1",
        "tenant:acme:role:admin",
        "tenant:acme:connection:c",
        "tenant:acme:all",
        "system:all",
    ],
)
def test_claims_never_permit_what_the_server_joins(name: str) -> None:
    """Not even where a claim names the channel, or the principal would be on it."""
    principal = Principal("u-1", "acme", ("admin",), frozenset({"user:read", "all:read"}), (name, EVERYTHING))

    assert not permits(principal, parse_channel(name))


@pytest.mark.parametrize(
    ("name", "own", "opinion"),
    [
        (ORDER, True, Decision.PERMITTED),
        (INVOICE, True, Decision.UNDECIDED),
        ("tenant:other:resource:orders:42", False, Decision.UNDECIDED),
        ("tenant:acme:user:u-1", False, Decision.UNDECIDED),
        ("system:all", False, Decision.UNDECIDED),
    ],
)
def test_claims_permit_or_have_no_opinion(name: str, own: bool, opinion: Decision) -> None:
    """What they do not permit others may, but only where it is a resource of the principal's own tenant."""
    principal = Principal("u-1", "acme", permissions=frozenset({"orders:read"}))
    channel = parse_channel(name)

    assert (is_own(principal, channel), by_claims(principal, channel)) == (own, opinion)


SEGMENTS = st.sampled_from(["acme", "other", "orders", "resource", "tenant", "user", "a", "*", ""])
ENTRIES = st.one_of(
    st.text(max_size=40),
    st.lists(SEGMENTS, max_size=6).map(":".join),
    st.sampled_from(["tenant:other:resource:*", "tenant:other:resource:orders:*", "orders:read", "*:read"]),
)
CHANNELS = st.sampled_from(
    [
        "resource:*",
        "resource:orders:*",
        "resource:orders:42",
        "resource:acme:acme",
        "user:u-1",
        "role:admin",
        "connection:c",
        "all",
    ]
)


@given(
    permissions=st.frozensets(ENTRIES, max_size=6),
    patterns=st.lists(ENTRIES, max_size=6).map(tuple),
    rest=CHANNELS,
    tenant=st.sampled_from(["other", "acm", "acme2", "Acme", "acme.", "a"]),
)
def test_no_claim_ever_permits_another_tenant_s_channel(
    permissions: frozenset[str], patterns: tuple[str, ...], rest: str, tenant: str
) -> None:
    """Isolation: for any permissions and patterns, what is not of the own tenant is refused."""
    principal = Principal("u-1", "acme", ("admin",), permissions, patterns)

    assert not permits(principal, parse_channel(f"tenant:{tenant}:{rest}"))
