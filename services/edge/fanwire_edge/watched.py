"""What is said of a verifier that cannot tell: why, once in a while, and when it can again."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import Verifier, VerifierUnavailable

__all__ = ["WatchedVerifier"]

AGAIN_SECONDS = 60.0

logger = logging.getLogger("fanwire.verifiers")


class WatchedVerifier:
    """The port `Verifier`, in front of *verifier*, of *what* is shown to it; *clock* is monotonic.

    Clients are told that nobody can tell now, and operators why: a reason once a minute at most.
    """

    def __init__(self, verifier: Verifier, what: str, clock: Callable[[], float]) -> None:
        self._verifier = verifier
        self._what = what
        self._clock = clock
        self._told_at = -math.inf
        self._is_told = False

    async def verify(self, token: str) -> Principal:
        """Return whose *token* is; raises InvalidToken, and VerifierUnavailable."""
        try:
            principal = await self._verifier.verify(token)
        except VerifierUnavailable as problem:
            self._tell(str(problem))
            raise
        except InvalidToken:
            self._tell_good()
            raise
        self._tell_good()
        return principal

    def _tell(self, reason: str) -> None:
        now = self._clock()
        if now >= self._told_at + AGAIN_SECONDS:
            self._told_at, self._is_told = now, True
            logger.warning("verifier_unavailable", extra={"verifies": self._what, "reason": reason})

    def _tell_good(self) -> None:
        if self._is_told:
            self._is_told = False
            logger.info("verifier_back", extra={"verifies": self._what})
