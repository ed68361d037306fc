"""Identification: whose a token is that a client shows in band, as an errand (PROTOCOL §2 `in_band`)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from fanwire_edge.core.credential import Credential
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.codes import ErrorCode

if TYPE_CHECKING:
    from fanwire_edge.authenticator import Authenticator
    from fanwire_edge.edge import Edge

__all__ = ["Finding", "Identification", "Known", "Unknown", "unless_revoked"]

# Verifiers have deadlines of their own, which are shorter; an application's callable may have none.
DEADLINE_SECONDS = 10.0
AWAY = "nobody can tell now whose token it is; try again"


@dataclass(frozen=True, slots=True)
class Known:
    """It is this one's; `credential` is there where others are asked with it."""

    principal: Principal
    credential: Credential | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is nobody's (`unauthenticated`), or nobody can tell (`unavailable`); it shows nothing of it."""

    code: ErrorCode
    reason: str


Finding: TypeAlias = Known | Unknown


def unless_revoked(edge: Edge, client_id: str, finding: Finding) -> Finding:
    """Return *finding*, or that its credential is not good (any more), or that nobody can tell that now."""
    if isinstance(finding, Unknown):
        return finding
    if not edge.revocations.is_known:
        return Unknown(ErrorCode.UNAVAILABLE, "nobody can tell now what was revoked; try again")
    if edge.revocations.is_revoked(finding.principal, client_id, time.time()):
        return Unknown(ErrorCode.UNAUTHENTICATED, "the credential was revoked")
    return finding


class Identification:
    """Asks *authenticator* whose *token* it is; `finding` is None until that is known."""

    __slots__ = ("_authenticator", "_token", "finding")

    def __init__(self, authenticator: Authenticator, token: str) -> None:
        self._authenticator = authenticator
        self._token = token
        self.finding: Finding | None = None

    async def run(self) -> None:
        """Find out; cancelling is safe."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                credential = self._authenticator.shown(self._token)
                principal = await self._authenticator.principal_of(credential)
        except InvalidToken as problem:
            self.finding = Unknown(ErrorCode.UNAUTHENTICATED, problem.reason)
        except (VerifierUnavailable, TimeoutError):
            self.finding = Unknown(ErrorCode.UNAVAILABLE, AWAY)
        else:
            self.finding = Known(principal, self._authenticator.kept(credential))
