"""The table of revocations: it finds every one in force, forgets those that are over, and never runs over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core.orders import concerns, is_older, overlaps
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.revocations import Revocations
from fanwire_protocol.channels import parse_channel
from fanwire_protocol.orders import Operation, Order

WHO = Principal("u-1", "acme", ("clerk",), issued_at=100.0, token_id="t-1")
ORDER = Order(Operation.REVOKE, "o-1", 100_000, until=200_000, tenant="acme", user="u-1")
ORDERS = "tenant:acme:resource:orders"
ALL = "tenant:acme:resource:*"


def table(*orders: Order, now: float = 100.0, most: int = 100) -> Revocations:
    """Return a table with *orders*."""
    found = Revocations(50.0, most)
    for order in orders:
        found.add(order, now)
    return found


def forbids(revocations: Revocations, name: str, who: Principal = WHO, now: float = 100.0) -> bool:
    """Tell whether claims permit *name* no more."""
    return revocations.forbids(who, parse_channel(name), now, "c-1")


def test_an_empty_table_knows_nothing_and_revokes_nobody() -> None:
    """Whether that is all has to be found out first."""
    empty = table()

    assert not empty.is_known
    assert not empty.is_revoked(WHO, "c-1", 100)
    assert not forbids(empty, f"{ORDERS}:1")
    assert len(empty) == 0


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"tenant": None},
        {"user": None},
        {"user": None, "role": "clerk"},
        {"role": "clerk"},
        {"tenant": None, "user": None, "role": "clerk"},
        {"user": None, "token": "t-1"},
        {"tenant": None, "user": None, "token": "t-1"},
        {"client": "c-1"},
        {"tenant": None, "user": None, "client": "c-1"},
    ],
    ids=str,
)
def test_a_credential_is_found_by_any_condition(conditions: dict[str, Any]) -> None:
    """And those that do not meet one are not: another user, tenant, role, token, client, or a later one."""
    revocations = table(replace(ORDER, **conditions))
    stranger = Principal("u-2", "other", ("guest",), issued_at=100.0, token_id="t-2")

    assert revocations.is_revoked(WHO, "c-1", 100)
    assert not revocations.is_revoked(stranger, "c-2", 100)
    assert not revocations.is_revoked(replace(WHO, issued_at=100.5), "c-1", 100)
    assert revocations.is_revoked(replace(WHO, issued_at=None), "c-1", 100)
    assert not forbids(revocations, f"{ORDERS}:1")


def test_a_revocation_ends_in_time() -> None:
    """At `until`, else a lifetime of a credential after it was given; later ones sweep it out."""
    revocations = table(ORDER, replace(ORDER, user="u-2", until=None))
    other = replace(WHO, user="u-2")

    assert (revocations.until(ORDER), revocations.until(replace(ORDER, until=None))) == (200, 150)
    assert revocations.is_revoked(WHO, "c-1", 199.9)
    assert not revocations.is_revoked(WHO, "c-1", 200)
    assert revocations.is_revoked(other, "c-1", 149.9)
    assert not revocations.is_revoked(other, "c-1", 150)
    revocations.add(replace(ORDER, user="u-3", until=300_000), 200)
    assert len(revocations) == 1
    revocations.add(ORDER, 200)
    assert len(revocations) == 1


def test_a_revocation_never_becomes_weaker() -> None:
    """Orders may come in any order, and again: what holds is all that was said of a subject."""
    early, late = replace(ORDER, at=50_000), replace(ORDER, id="o-2", at=120_000)
    longer = replace(ORDER, id="o-3", at=90_000, until=400_000)
    for orders in ([early, late, longer, early], [longer, late, early, late]):
        revocations = table(*orders)

        assert len(revocations) == 2
        assert revocations.is_revoked(replace(WHO, issued_at=120), "c-1", 199)
        assert revocations.is_revoked(replace(WHO, issued_at=90), "c-1", 399)
        assert not revocations.is_revoked(replace(WHO, issued_at=91), "c-1", 399)


def test_repetition_costs_no_memory() -> None:
    """A user who is revoked every second leaves one ban behind."""
    revocations = table(most=10)
    for number in range(100):
        revocations.add(replace(ORDER, id=f"o-{number}", at=100_000 + number), 100)

    assert len(revocations) == 1
    assert len(revocations._credentials._ends) <= 21
    assert revocations.is_revoked(replace(WHO, issued_at=100.099), "c-1", 100)
    assert not revocations.is_revoked(replace(WHO, issued_at=100.1), "c-1", 100)


@pytest.mark.parametrize(
    ("revoked", "forbidden", "permitted"),
    [
        (
            (f"{ORDERS}:1",),
            (f"{ORDERS}:1", f"{ORDERS}:*", ALL),
            (f"{ORDERS}:2", "tenant:acme:resource:jobs:*"),
        ),
        ((f"{ORDERS}:*",), (f"{ORDERS}:1", f"{ORDERS}:*", ALL), ("tenant:acme:resource:jobs:1",)),
        ((ALL,), (f"{ORDERS}:1", f"{ORDERS}:*", ALL), ()),
        ((f"{ORDERS}:1", f"{ORDERS}:2"), (f"{ORDERS}:1", f"{ORDERS}:2"), (f"{ORDERS}:3",)),
    ],
)
def test_a_channel_is_forbidden_with_all_that_holds_it(
    revoked: tuple[str, ...], forbidden: tuple[str, ...], permitted: tuple[str, ...]
) -> None:
    """A pattern cannot be permitted but for one channel of it, so it is not; others are as before."""
    revocations = table(replace(ORDER, channels=revoked))

    assert all(forbids(revocations, name) for name in forbidden)
    assert not any(forbids(revocations, name) for name in permitted)
    assert not any(forbids(revocations, name, replace(WHO, issued_at=101)) for name in forbidden)
    assert not any(forbids(revocations, name, replace(WHO, user="u-2")) for name in forbidden)
    assert not any(forbids(revocations, name, now=200) for name in forbidden)
    assert not revocations.is_revoked(WHO, "c-1", 100)


def test_channels_alone_are_withdrawn_from_everybody() -> None:
    """Of whatever tenant, since the channel says that."""
    revocations = table(replace(ORDER, tenant=None, user=None, channels=(f"{ORDERS}:1",)))

    assert forbids(revocations, f"{ORDERS}:1")
    assert forbids(revocations, f"{ORDERS}:1", replace(WHO, user="u-2"))


def test_a_full_table_refuses_too_many_rather_than_too_few() -> None:
    """The oldest are dropped, and then everybody's credentials of that age are refused for as long."""
    orders = [replace(ORDER, id=f"o-{n}", at=n * 1000, user=f"u-{n}", until=300_000) for n in range(1, 11)]
    revocations = table(*orders, now=1, most=10)
    assert not revocations.is_revoked(replace(WHO, user="u-99", issued_at=1), "c-1", 1)

    revocations.add(replace(ORDER, user="u-11", at=11_000, until=250_000), 1)

    assert len(revocations) == 9
    for number in range(1, 12):
        assert revocations.is_revoked(replace(WHO, user=f"u-{number}", issued_at=number), "c-1", 1), number
    assert revocations.is_revoked(replace(WHO, user="u-99", issued_at=2), "c-1", 299)
    assert revocations.is_revoked(replace(WHO, user="u-99", issued_at=None), "c-1", 299)
    assert not revocations.is_revoked(replace(WHO, user="u-99", issued_at=2.1), "c-1", 299)
    assert not revocations.is_revoked(replace(WHO, user="u-99", issued_at=2), "c-1", 300)
    assert not forbids(revocations, f"{ORDERS}:1", now=1)


def test_a_full_table_of_channels_forbids_too_many_rather_than_too_few() -> None:
    """A channel that was withdrawn stays withdrawn; a credential is not void for that."""
    names = tuple(f"{ORDERS}:{number}" for number in range(12))
    revocations = table(replace(ORDER, channels=names, at=50_000), now=1, most=10)
    old = replace(WHO, issued_at=50)

    assert all(forbids(revocations, name, old, 1) for name in names)
    assert forbids(revocations, "tenant:acme:resource:jobs:1", old, 1)
    assert not forbids(revocations, "tenant:acme:resource:jobs:1", WHO, 1)
    assert not revocations.is_revoked(old, "c-1", 1)


_SOME = st.sampled_from
_CONDITIONS = {
    "tenant": _SOME([None, "acme", "other"]),
    "user": _SOME([None, "u-1", "u-2"]),
    "role": _SOME([None, "clerk", "guest"]),
    "token": _SOME([None, "t-1", "t-2"]),
    "client": _SOME([None, "c-1", "c-2"]),
}
_NAMES = [f"tenant:acme:resource:{rest}" for rest in ("*", "a:*", "a:1", "a:2", "b:*", "b:1")]
_ORDERS = st.builds(
    Order,
    st.just(Operation.REVOKE),
    st.just("o"),
    st.integers(0, 9).map(lambda at: at * 1000),
    st.integers(10, 19).map(lambda until: until * 1000),
    channels=st.none() | st.lists(_SOME(_NAMES), min_size=1, max_size=3).map(tuple),
    **_CONDITIONS,
)
_WHO = st.builds(
    Principal,
    _SOME(["u-1", "u-2"]),
    _SOME(["acme", "other"]),
    _SOME([(), ("clerk",), ("guest", "clerk")]),
    issued_at=st.none() | st.integers(0, 9).map(float),
    token_id=_SOME([None, "t-1", "t-2"]),
)


@settings(max_examples=300)
@given(st.lists(_ORDERS, max_size=12), _WHO, _SOME([None, "c-1"]), st.integers(10, 20), _SOME(_NAMES))
def test_the_table_says_what_its_orders_say(
    orders: list[Order], who: Principal, client_id: str | None, now: int, name: str
) -> None:
    """Whatever the places where they stand, and whatever was dropped because others say it too."""
    revocations = table(*orders, now=0)

    def holds(order: Order) -> bool:
        is_over = now * 1000 >= (order.until or 0)
        return not is_over and is_older(who, order.at) and concerns(order, who, client_id)

    in_force = [order for order in orders if holds(order)]
    expected = any(order.channels is None for order in in_force)
    assert revocations.is_revoked(who, client_id, now) is expected
    withdrawn = any(overlaps(name, each) for order in in_force for each in order.channels or ())
    assert revocations.forbids(who, parse_channel(name), now, client_id) is withdrawn


@settings(max_examples=100)
@given(st.lists(_ORDERS, max_size=40), _WHO, st.integers(10, 20))
def test_a_small_table_lets_nobody_in_whom_a_large_one_refuses(
    orders: list[Order], who: Principal, now: int
) -> None:
    """However many are dropped."""
    large, small = table(*orders, now=0, most=1000), table(*orders, now=0, most=3)

    assert small.is_revoked(who, "c-1", now) >= large.is_revoked(who, "c-1", now)
    for name in _NAMES:
        channel = parse_channel(name)
        assert small.forbids(who, channel, now) >= large.forbids(who, channel, now)
    assert len(small) <= 6
