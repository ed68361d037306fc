"""Orders: whom an order of the control stream concerns (PROTOCOL §7 "Control").

Every condition that is given must hold. What an order was given for is the state of its moment: a
credential that was issued after it is another one, so an order may come late, or twice, and does no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fanwire_edge.core.principal import Principal, count_unjoined_roles
from fanwire_edge.core.record import is_resource_key
from fanwire_protocol.channels import (
    SYSTEM_ALL,
    all_channel,
    connection_channel,
    covers,
    role_channel,
    user_channel,
)
from fanwire_protocol.orders import Order

__all__ = ["concerns", "covered", "is_older", "overlaps", "reached_by"]


def concerns(order: Order, principal: Principal, client_id: str | None) -> bool:
    """Tell whether all conditions of *order* hold for a client, whenever its credential was issued."""
    return (
        order.tenant in (None, principal.tenant)
        and order.user in (None, principal.user)
        and order.client in (None, client_id)
        and order.token in (None, principal.token_id)
        and (order.role is None or order.role in principal.roles)
    )


def is_older(principal: Principal, at_ms: int) -> bool:
    """Tell whether the credential was issued at or before *at_ms*; one that does not say was."""
    return principal.issued_at is None or principal.issued_at * 1000 <= at_ms


def overlaps(one: str, other: str) -> bool:
    """Tell whether two channels or patterns have a channel in common."""
    return covers(one, other) or covers(other, one)


def covered(keys: Iterable[str], channels: Collection[str]) -> list[str]:
    """Return the subscriptions of *keys* that have a channel in common with *channels*.

    A pattern that holds a revoked channel is among them: part of it cannot be left out.
    """
    # The keys of what the server joins are no resources, and what is revoked is nothing else.
    return [
        key for key in filter(is_resource_key, keys) if any(overlaps(key, channel) for channel in channels)
    ]


def reached_by(order: Order) -> str:
    """Return the channel that everybody is on whom *order* can concern: the narrowest that there is."""
    tenant = order.tenant or _tenant_of(order.channels or ())
    if tenant is None:
        return SYSTEM_ALL
    if order.client is not None:
        return connection_channel(tenant, order.client)
    if order.user is not None:
        return user_channel(tenant, order.user)
    if order.role is not None:
        return _role_channel(tenant, order.role)
    return all_channel(tenant)


def _role_channel(tenant: str, role: str) -> str:
    # A role whose text cannot stand in a name has no channel.
    is_joined = not count_unjoined_roles(Principal("anybody", tenant, (role,)))
    return role_channel(tenant, role) if is_joined else all_channel(tenant)


def _tenant_of(channels: Collection[str]) -> str | None:
    """Return the one tenant that all *channels* are of."""
    tenants = {name.split(":")[1] for name in channels}
    return tenants.pop() if len(tenants) == 1 else None
