"""Which resource channels a principal may read by its own claims (PROTOCOL §9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fanwire_edge.core.decision import Decision
from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import Channel, ChannelKind, covers

__all__ = ["Decide", "by_claims", "is_own", "permits"]

# Tells what holds of a channel that somebody asks for.
Decide: TypeAlias = Callable[[Channel], Decision]


def is_own(principal: Principal, channel: Channel) -> bool:
    """Tell whether anybody may permit *channel*: it is a `resource` channel of the principal's own tenant.

    Channels that the server joins are a matter of membership, and another tenant's are nobody's to give.
    """
    return channel.kind is ChannelKind.RESOURCE and channel.tenant == principal.tenant


def by_claims(principal: Principal, channel: Channel) -> Decision:
    """Return the opinion of the claims, who forbid nothing: what they do not permit is not theirs."""
    return Decision.PERMITTED if permits(principal, channel) else Decision.UNDECIDED


def permits(principal: Principal, channel: Channel) -> bool:
    """Tell whether the claims permit a `resource` channel or pattern of the principal's own tenant."""
    if not is_own(principal, channel):
        return False
    if channel.type is not None and f"{channel.type}:read" in principal.permissions:
        return True
    # `covers` takes valid patterns, and a claim may hold anything: `tenant:*` would cover every tenant.
    # One that begins like this covers channels of this tenant only, however it goes on.
    head = f"tenant:{principal.tenant}:resource:"
    return any(pattern.startswith(head) and covers(pattern, channel.name) for pattern in principal.patterns)
