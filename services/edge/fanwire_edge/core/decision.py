"""Decisions: whether a principal may read a channel, as those who are asked answer (PROTOCOL §4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from fanwire_edge.core.credential import Credential
from fanwire_edge.core.principal import Principal

__all__ = ["Asker", "Decision"]


class Decision(Enum):
    """One answer. Only PERMITTED lets anybody read; who cannot tell says UNAVAILABLE, never PERMITTED."""

    PERMITTED = "permitted"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    UNAVAILABLE = "unavailable"
    # Whoever says that leaves it to the next authorizer of the chain; at its end it means FORBIDDEN.
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants to read, and what it showed at the handshake, for others to be asked in its name."""

    principal: Principal
    credential: Credential | None = field(default=None, repr=False)
