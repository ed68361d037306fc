"""Leases: what a connection needs a place of, and what an edge knows of those it holds."""

from __future__ import annotations

import pytest

from fanwire_edge.core.leases import NO_LIMITS, Claim, ConnectionLimits, GuardLimits, Holdings, holder_of
from fanwire_edge.core.principal import Principal

U1 = Principal("u-1", "acme", token_id="key-7")
U2 = Principal("u-2", "acme")


@pytest.mark.parametrize(
    ("limits", "principal", "expected"),
    [
        (ConnectionLimits(), U1, []),
        (ConnectionLimits(user=5), U1, [("user", "user:acme:u-1", 5)]),
        (ConnectionLimits(key=3), U1, [("key", "key:acme:key-7", 3)]),
        (ConnectionLimits(key=3), U2, []),
        (ConnectionLimits(ip=9, tenant=7), U2, [("ip", "ip:10.0.0.1", 9), ("tenant", "tenant:acme", 7)]),
    ],
    ids=["none", "user", "key", "no id", "address and tenant"],
)
def test_a_connection_needs_a_place_of_each_limit_that_is_on(
    limits: ConnectionLimits, principal: Principal, expected: list[tuple[str, str, int]]
) -> None:
    """Of its user, its credential where that has an id, its address and its tenant."""
    assert list(limits.claims(principal, "10.0.0.1")) == [Claim(*each) for each in expected]


def test_an_id_that_is_no_name_is_named_by_its_hash() -> None:
    """An issuer may write anything into `jti`; the name of a key in Redis stays short and plain."""
    limits = ConnectionLimits(key=1)
    [claim] = limits.claims(Principal("u-1", "acme", token_id="a b\n" * 1000), "")

    kind, tenant, name = claim.subject.split(":")
    assert (kind, tenant, len(name)) == ("key", "acme", 64)


def test_nobody_can_replace_somebody_elses_connection() -> None:
    """The name of a lease holds who its user is, so the same client id of another user is another name."""
    mine = holder_of(U1, "c-2", "c-1")

    assert mine.replaced == holder_of(U1, "c-1", None).name
    assert mine.replaced != holder_of(U2, "c-1", None).name
    assert mine.replaced != holder_of(Principal("u-1", "globex"), "c-1", None).name


@pytest.mark.parametrize("replaces", [None, "", "x" * 65], ids=["none", "empty", "too long"])
def test_what_is_no_client_id_replaces_nobody(replaces: str | None) -> None:
    """A client may send anything as `client`."""
    assert holder_of(U1, "c-1", replaces).replaced is None


def test_holdings_know_who_holds_what() -> None:
    """Until it is released, once; that of somebody who holds nothing is empty."""
    holdings = Holdings()
    one, two = holder_of(U1, "c-1", None), holder_of(U2, "c-2", None)
    holdings.hold(one, "user:acme:u-1")
    holdings.hold(one, "tenant:acme")
    holdings.hold(two, "tenant:acme")

    assert len(holdings) == 2
    assert holdings.holder(one.name) is one
    assert set(holdings.subjects()) == {"user:acme:u-1", "tenant:acme"}
    assert set(holdings.names("tenant:acme")) == {one.name, two.name}

    assert holdings.release(one.name) == ["user:acme:u-1", "tenant:acme"]
    assert holdings.release(one.name) == []
    assert holdings.holder(one.name) is None
    assert set(holdings.subjects()) == {"tenant:acme"}
    assert set(holdings.names("user:acme:u-1")) == set()


def test_room_is_what_this_edge_knows_of() -> None:
    """Who takes somebody's place always finds it."""
    holdings, claim = Holdings(), Claim("user", "user:acme:u-1", 2)
    for number in range(2):
        newcomer = holder_of(U1, f"c-{number}", None)
        assert holdings.has_room(claim, newcomer)
        holdings.hold(newcomer, claim.subject)

    assert not holdings.has_room(claim, holder_of(U1, "c-9", None))
    assert not holdings.has_room(claim, holder_of(U1, "c-9", "c-8"))
    assert holdings.has_room(claim, holder_of(U1, "c-9", "c-1"))


@pytest.mark.parametrize(
    ("limits", "are_any"),
    [
        (NO_LIMITS, False),
        (GuardLimits(ConnectionLimits(), 100, 30.0, is_open=True), True),
        (GuardLimits(ConnectionLimits(key=1), 0, 30.0, is_open=True), True),
    ],
    ids=["none", "attempts", "connections"],
)
def test_a_guard_without_limits_has_nothing_to_do(limits: GuardLimits, are_any: bool) -> None:
    """0 is no limit."""
    assert limits.are_any is are_any
