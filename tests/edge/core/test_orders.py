"""Whom an order concerns, and where they are found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.orders import concerns, covered, is_older, overlaps, reached_by
from fanwire_edge.core.principal import Principal, server_joined
from fanwire_edge.core.record import gap_key
from fanwire_protocol.channels import matching_patterns
from fanwire_protocol.orders import Operation, Order

WHO = Principal("u-1", "acme", ("clerk", "no segment!"), issued_at=100.0, token_id="t-1")
ORDER = Order(Operation.REVOKE, "o-1", 100_000)
ORDERS = "tenant:acme:resource:orders"
ALL = "tenant:acme:resource:*"


@pytest.mark.parametrize(
    ("conditions", "is_concerned"),
    [
        ({"tenant": "acme"}, True),
        ({"tenant": "other"}, False),
        ({"user": "u-1"}, True),
        ({"user": "u-2"}, False),
        ({"role": "clerk"}, True),
        ({"role": "admin"}, False),
        ({"token": "t-1"}, True),
        ({"token": "t-2"}, False),
        ({"client": "c-1"}, True),
        ({"client": "c-2"}, False),
        ({"tenant": "acme", "user": "u-1", "role": "clerk", "token": "t-1", "client": "c-1"}, True),
        ({"tenant": "acme", "user": "u-1", "role": "clerk", "token": "t-1", "client": "c-2"}, False),
        ({"tenant": "acme", "user": "u-2", "role": "clerk"}, False),
    ],
    ids=str,
)
def test_all_conditions_that_are_given_must_hold(conditions: dict[str, Any], is_concerned: bool) -> None:
    """One that does not spares the client."""
    assert concerns(replace(ORDER, **conditions), WHO, "c-1") is is_concerned


def test_a_client_without_what_is_asked_for_is_spared() -> None:
    """A credential without an id is no token of that id, and nobody is a client without a connection."""
    nameless = replace(WHO, token_id=None)
    assert not concerns(replace(ORDER, token="t-1"), nameless, "c-1")
    assert not concerns(replace(ORDER, client="c-1"), WHO, None)


@pytest.mark.parametrize(
    ("issued_at", "expected"), [(None, True), (99.9, True), (100.0, True), (100.001, False), (101, False)]
)
def test_a_credential_is_older_than_an_order(issued_at: float | None, expected: bool) -> None:
    """Where it was issued at that moment or before, or does not say."""
    assert is_older(replace(WHO, issued_at=issued_at), 100_000) is expected


@pytest.mark.parametrize(
    ("conditions", "key"),
    [
        ({"client": "c-1", "tenant": "acme", "user": "u-1"}, "tenant:acme:connection:c-1"),
        ({"tenant": "acme", "user": "u-1", "role": "clerk"}, "tenant:acme:user:u-1"),
        ({"tenant": "acme", "role": "clerk"}, "tenant:acme:role:clerk"),
        ({"tenant": "acme", "role": "no segment!"}, "tenant:acme:all"),
        ({"tenant": "acme", "token": "t-1"}, "tenant:acme:all"),
        ({"user": "u-1"}, "system:all"),
        ({"channels": (f"{ORDERS}:1", ALL)}, "tenant:acme:all"),
        ({"channels": (f"{ORDERS}:1", "tenant:other:resource:*")}, "system:all"),
    ],
    ids=str,
)
def test_those_it_concerns_are_on_one_channel(conditions: dict[str, Any], key: str) -> None:
    """The narrowest one that the server joins; whoever is concerned is on it."""
    order = replace(ORDER, **conditions)

    assert reached_by(order) == key
    assert key in server_joined(WHO, "c-1")
    assert concerns(order, WHO, "c-1")


def test_a_pattern_ends_with_any_channel_of_it() -> None:
    """And a channel with any pattern that holds it. What the server joined stays."""
    joined = [*server_joined(WHO, "c-1"), gap_key(0)]
    keys = [f"{ORDERS}:1", f"{ORDERS}:2", f"{ORDERS}:*", ALL, "tenant:acme:resource:jobs:*", *joined]

    assert covered(keys, [f"{ORDERS}:1"]) == [f"{ORDERS}:1", f"{ORDERS}:*", ALL]
    assert covered(keys, [f"{ORDERS}:*"]) == [f"{ORDERS}:1", f"{ORDERS}:2", f"{ORDERS}:*", ALL]
    assert covered(keys, ["tenant:acme:resource:jobs:1"]) == [ALL, "tenant:acme:resource:jobs:*"]
    assert covered(keys, ["tenant:acme:resource:cycles:1", "tenant:other:resource:*"]) == [ALL]
    assert covered(joined, [ALL]) == []


@given(st.data())
def test_two_names_overlap_where_a_channel_matches_both(data: st.DataObject) -> None:
    """By the definition of patterns: some published channel is under both."""
    concrete = [f"tenant:acme:resource:{type_}:{id_}" for type_ in "ab" for id_ in "12"]
    names = sorted({*concrete, *(pattern for name in concrete for pattern in matching_patterns(name))})
    one, other = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))

    def is_under(name: str, channel: str) -> bool:
        return name == channel or name in matching_patterns(channel)

    expected = any(is_under(one, channel) and is_under(other, channel) for channel in concrete)
    assert overlaps(one, other) is expected
