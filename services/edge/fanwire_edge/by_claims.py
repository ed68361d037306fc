"""The authorizer `claims`: what a token says, as far as that was not revoked (PROTOCOL §7, §9)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from fanwire_edge.core.authorization import by_claims
from fanwire_edge.core.decision import Asker, Decision
from fanwire_protocol.channels import Channel

if TYPE_CHECKING:
    from fanwire_edge.core.principal import Principal
    from fanwire_edge.core.revocations import Revocations

__all__ = ["ByClaims"]


class _Informed(Protocol):
    """An edge, as far as it is needed here: it knows what was revoked, at each moment."""

    revocations: Revocations


class ByClaims:
    """Has the opinion of the claims of those who ask *edge*, at once. A `ports.Authorizer`."""

    def __init__(self, edge: _Informed) -> None:
        self._edge = edge

    def opinion(self, principal: Principal, channel: Channel, client_id: str | None = None) -> Decision:
        """Return what the claims of *principal* say of *channel*."""
        decision = by_claims(principal, channel)
        if decision is not Decision.PERMITTED:
            return decision
        is_revoked = self._edge.revocations.forbids(principal, channel, time.time(), client_id)
        return Decision.UNDECIDED if is_revoked else decision

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Return the opinion on each of *channels*."""
        return {channel.name: self.opinion(asker.principal, channel) for channel in channels}
