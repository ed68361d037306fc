"""Which resource channels a principal may read by its own claims (PROTOCOL §9)."""

from __future__ import annotations

from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import Channel, ChannelKind, covers

__all__ = ["permits"]


def permits(principal: Principal, channel: Channel) -> bool:
    """Tell whether the claims permit a `resource` channel or pattern of the principal's own tenant.

    Channels that the server joins are a matter of membership and never permitted here.
    """
    if channel.kind is not ChannelKind.RESOURCE or channel.tenant != principal.tenant:
        return False
    if channel.type is not None and f"{channel.type}:read" in principal.permissions:
        return True
    # `covers` takes valid patterns, and a claim may hold anything: `tenant:*` would cover every tenant.
    # One that begins like this covers channels of this tenant only, however it goes on.
    head = f"tenant:{principal.tenant}:resource:"
    return any(pattern.startswith(head) and covers(pattern, channel.name) for pattern in principal.patterns)
