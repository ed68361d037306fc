"""Who is connected, and what the server puts that one on."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.principal import (
    InvalidPrincipal,
    InvalidToken,
    Principal,
    count_unjoined_roles,
    server_joined,
)
from fanwire_protocol.channels import parse_channel

CLIENT_ID = "0190b5e0-5b6e-7c3a-9d1e-2f4a6b8c0d1e"


def test_a_connection_is_joined_to_its_own_channels_in_the_contract_s_order() -> None:
    """User, roles, connection, all of the tenant, everyone."""
    principal = Principal("u-1", "acme", roles=("admin", "staff"))

    assert server_joined(principal, CLIENT_ID) == (
        "tenant:acme:user:u-1",
        "tenant:acme:role:admin",
        "tenant:acme:role:staff",
        f"tenant:acme:connection:{CLIENT_ID}",
        "tenant:acme:all",
        "system:all",
    )
    assert count_unjoined_roles(principal) == 0


def test_names_that_many_are_on_are_kept_once() -> None:
    """Thousands of connections of a tenant hold the same string."""
    one, other = (server_joined(Principal(user, "acme", roles=("admin",)), user) for user in ("u-1", "u-2"))

    assert (one[1], one[3]) == ("tenant:acme:role:admin", "tenant:acme:all")
    assert one[1] is other[1]
    assert one[3] is other[3]


@pytest.mark.parametrize("role", ["", "two words", "a:b", "*", "über", "admin\n", "r" * 129])
def test_a_role_that_is_no_segment_is_not_joined_and_counted(role: str) -> None:
    """It stays among the principal's roles, and no channel is made of it."""
    principal = Principal("u-1", "acme", roles=(role, "admin"))

    joined = server_joined(principal, CLIENT_ID)

    assert [name for name in joined if ":role:" in name] == ["tenant:acme:role:admin"]
    assert count_unjoined_roles(principal) == 1
    assert principal.roles == (role, "admin")


def test_a_role_whose_channel_would_be_too_long_is_not_joined() -> None:
    """The name would exceed 255 bytes, which no frame may carry."""
    principal = Principal("u", "t" * 128, roles=("r" * 128, "r" * 114))

    joined = server_joined(principal, CLIENT_ID)

    assert [len(name) for name in joined if ":role:" in name] == [255]
    assert count_unjoined_roles(principal) == 1


@pytest.mark.parametrize(
    ("user", "tenant", "message"),
    [
        ("u-1", "", "the tenant is not"),
        ("u-1", "acme:resource", "the tenant is not"),
        ("u-1", "*", "the tenant is not"),
        ("u-1", "acme\n", "the tenant is not"),
        ("", "acme", "the user is not"),
        ("a:b", "acme", "the user is not"),
        ("*", "acme", "the user is not"),
        ("u" * 129, "acme", "the user is not"),
        ("u" * 128, "t" * 128, "together are too long"),
    ],
)
def test_there_is_no_principal_that_cannot_stand_in_a_channel(user: str, tenant: str, message: str) -> None:
    """A colon in a user or tenant would reach somebody else's channels."""
    with pytest.raises(InvalidPrincipal, match=message):
        Principal(user, tenant)


@given(
    st.text(max_size=130),
    st.text(max_size=130),
    st.lists(st.text(max_size=130), max_size=4).map(tuple),
)
def test_whatever_a_principal_is_called_it_is_joined_to_its_own_tenant_only(
    user: str, tenant: str, roles: tuple[str, ...]
) -> None:
    """Every joined name is a valid channel, the server's to join, of the own tenant or the system's."""
    try:
        principal = Principal(user, tenant, roles)
    except InvalidPrincipal:
        return

    channels = [parse_channel(name) for name in server_joined(principal, CLIENT_ID)]

    assert all(channel.is_server_joined for channel in channels)
    assert {channel.tenant for channel in channels} == {tenant, None}


def test_a_principal_is_small_and_cannot_change() -> None:
    """Fifteen thousand of them are held by a process: no dict, no more than its fields."""
    principal = Principal("u-1", "acme")

    assert not hasattr(principal, "__dict__")
    assert sys.getsizeof(principal) <= 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        principal.tenant = "other"  # type: ignore[misc]


def test_an_invalid_token_says_why_and_nothing_else() -> None:
    """The reason is all that it holds."""
    error = InvalidToken("the token has expired")

    assert (error.reason, str(error)) == ("the token has expired", "the token has expired")
