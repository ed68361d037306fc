"""Who is connected, and the channels that the server puts that one on (PROTOCOL §1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fanwire_protocol.channels import (
    MAX_NAME_BYTES,
    SYSTEM_ALL,
    all_channel,
    connection_channel,
    is_segment,
    role_channel,
    user_channel,
)

__all__ = ["InvalidPrincipal", "InvalidToken", "Principal", "count_unjoined_roles", "server_joined"]


class InvalidPrincipal(ValueError):
    """No channels can be named after this user or tenant; the text is fixed and shows neither."""


class InvalidToken(Exception):
    """A credential identifies nobody; *reason* is a fixed text that holds nothing of the credential."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Principal:
    """A user of a tenant and what the credential says about it.

    `permissions` holds the entries of the claims `permissions` and `scope`, `patterns` those of `channels`.
    `issued_at` and `expires_at` are in seconds since the epoch, None for a credential that does not say or
    does not expire. `token_id` is what a revocation calls the credential by: the `jti`, or an API key's id.
    Raises InvalidPrincipal: channel names are built from user and tenant, so neither may bring a colon along.
    """

    user: str
    tenant: str
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    expires_at: float | None = None
    issued_at: float | None = None
    token_id: str | None = None

    def __post_init__(self) -> None:
        if not is_segment(self.tenant):
            raise InvalidPrincipal("the tenant is not 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -")
        if not is_segment(self.user):
            raise InvalidPrincipal("the user is not 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -")
        if len(user_channel(self.tenant, self.user)) > MAX_NAME_BYTES:
            raise InvalidPrincipal("user and tenant together are too long for the name of a channel")


def server_joined(principal: Principal, client_id: str) -> tuple[str, ...]:
    """Return the channels that a connection is on without asking, in PROTOCOL §1's order."""
    tenant = principal.tenant
    return (
        user_channel(tenant, principal.user),
        *(_shared(role_channel(tenant, role)) for role in principal.roles if _is_joinable(tenant, role)),
        connection_channel(tenant, client_id),
        _shared(all_channel(tenant)),
        SYSTEM_ALL,
    )


@lru_cache(maxsize=4096)
def _shared(channel: str) -> str:
    """Return the same string for all who are on *channel*."""
    return channel


def count_unjoined_roles(principal: Principal) -> int:
    """Return how many roles have no channel, because their text cannot stand in a name."""
    return sum(not _is_joinable(principal.tenant, role) for role in principal.roles)


def _is_joinable(tenant: str, role: str) -> bool:
    return is_segment(role) and len(role_channel(tenant, role)) <= MAX_NAME_BYTES
