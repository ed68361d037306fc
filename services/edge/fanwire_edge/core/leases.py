"""Leases: the places that connections take of what users, tenants, addresses and credentials may have.

Those of all edges are counted in Redis, where a lease ends by itself unless its edge renews it. Here stands
which leases a connection needs, and which ones this edge holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import is_segment

__all__ = ["NO_LIMITS", "Claim", "ConnectionLimits", "GuardLimits", "Holder", "Holdings", "holder_of"]

# A client id is a UUID; what is longer was never given to anybody.
MAX_CLIENT_ID = 64


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections a user, a credential with an id, an address and a tenant may have; 0 is any."""

    user: int = 0
    key: int = 0
    ip: int = 0
    tenant: int = 0

    def claims(self, principal: Principal, address: str) -> Sequence[Claim]:
        """Return what a connection needs a lease of, those first of which there are the fewest."""
        tenant, token_id = principal.tenant, principal.token_id
        wanted = (
            ("user", self.user, f"{tenant}:{principal.user}"),
            ("key", self.key, token_id and f"{tenant}:{_named(token_id)}"),
            ("ip", self.ip, address),
            ("tenant", self.tenant, tenant),
        )
        return [Claim(kind, f"{kind}:{name}", limit) for kind, limit, name in wanted if limit and name]


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Connections, attempts of an address within a minute (0 is any), and how long a lease lives.

    `is_open` tells whether an edge counts for itself while nobody can tell what all of them count.
    """

    connections: ConnectionLimits
    attempts: int
    lease_seconds: float
    is_open: bool

    @property
    def are_any(self) -> bool:
        """Whether anything is limited at all."""
        limits = self.connections
        return any((self.attempts, limits.user, limits.key, limits.ip, limits.tenant))


NO_LIMITS = GuardLimits(ConnectionLimits(), 0, 30.0, is_open=True)


@dataclass(frozen=True, slots=True)
class Claim:
    """A place of one of the *limit* places of a subject; the kind names the limit in metrics."""

    kind: str
    subject: str
    limit: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A connection, and the one that it says to take the place of; both belong to the same user.

    The names are what stands in leases: nobody can name somebody else's connection as his.
    """

    client_id: str
    tenant: str
    name: str
    replaced: str | None


def holder_of(principal: Principal, client_id: str, replaces: str | None) -> Holder:
    """Return who takes leases for the connection *client_id*."""
    tenant, user = principal.tenant, principal.user
    # Neither holds a colon. Short, because a large name makes a small sorted set a big one.
    owner = hashlib.blake2s(f"{tenant}:{user}".encode(), digest_size=8).hexdigest()
    is_name = replaces is not None and 0 < len(replaces) <= MAX_CLIENT_ID
    return Holder(client_id, tenant, f"{client_id}/{owner}", f"{replaces}/{owner}" if is_name else None)


class Holdings:
    """The leases that the connections of this edge hold."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Holder]] = {}
        self._subjects: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._subjects)

    def hold(self, holder: Holder, subject: str) -> None:
        """Take note of a lease."""
        self._held.setdefault(subject, {})[holder.name] = holder
        self._subjects.setdefault(holder.name, []).append(subject)

    def release(self, name: str) -> Sequence[str]:
        """Forget all leases of *name*, and return what they were of."""
        subjects = self._subjects.pop(name, [])
        for subject in subjects:
            holders = self._held[subject]
            del holders[name]
            if not holders:
                del self._held[subject]
        return subjects

    def holder(self, name: str) -> Holder | None:
        """Return who holds leases under *name*."""
        subjects = self._subjects.get(name)
        return self._held[subjects[0]][name] if subjects else None

    def has_room(self, claim: Claim, holder: Holder) -> bool:
        """Tell whether *holder* finds a place as far as only this edge is concerned."""
        holders: Mapping[str, Holder] = self._held.get(claim.subject, {})
        return len(holders) < claim.limit or holder.replaced in holders

    def subjects(self) -> Sequence[str]:
        """Return what leases are held of at this moment."""
        return tuple(self._held)

    def names(self, subject: str) -> Collection[str]:
        """Return under which names leases of *subject* are held."""
        return self._held.get(subject, {}).keys()


def _named(token_id: str) -> str:
    """Return an id that can stand in the name of a key; the issuer of a token may have put anything there."""
    return token_id if is_segment(token_id) else hashlib.sha256(token_id.encode()).hexdigest()
