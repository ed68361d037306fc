"""Answers of a verifier that asks others, remembered for a moment and asked for once at a time.

After a restart of something in front, thousands of clients come back with the credentials they had, some of
them on several tabs. Nothing is remembered under a credential itself: only under its hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fanwire_edge.core.memo import Memo
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import Verifier, VerifierUnavailable

__all__ = ["EitherVerifier", "MemoLimits", "RememberedVerifier"]


@dataclass(frozen=True, slots=True)
class MemoLimits:
    """Seconds that good and bad answers are remembered, and how many of each; none where it is 0.

    Bad ones have a memory of their own, so that a storm of guesses drives out nothing that is known.
    """

    good_seconds: float
    bad_seconds: float = 0.0
    good_entries: int = 16_384
    bad_entries: int = 4_096


class _Away(Exception):
    """Who asked for all was cancelled; one of those who wait must ask."""


class RememberedVerifier:
    """The port `Verifier`, in front of *verifier*. *clock* is monotonic, *wall_clock* tells the date."""

    def __init__(
        self,
        verifier: Verifier,
        limits: MemoLimits,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._verifier = verifier
        self._limits = limits
        self._clock = clock
        self._wall_clock = wall_clock
        self._good: Memo[Principal] = Memo(limits.good_entries)
        self._bad: Memo[str] = Memo(limits.bad_entries)
        self._asked: dict[bytes, asyncio.Future[Principal]] = {}
        # Who reads the memory of the process cannot look for a credential by its hash.
        self._key = os.urandom(32)

    async def verify(self, token: str) -> Principal:
        """Return whose *token* is; raises InvalidToken, and VerifierUnavailable. Cancelling is safe."""
        hidden = hashlib.blake2b(
            token.encode("utf-8", "surrogatepass"), digest_size=32, key=self._key
        ).digest()
        while True:
            now = self._clock()
            principal = self._good.recall(hidden, now)
            if principal is not None:
                return principal
            reason = self._bad.recall(hidden, now)
            if reason is not None:
                raise InvalidToken(reason)
            asked = self._asked.get(hidden)
            if asked is None:
                return await self._ask(token, hidden)
            try:
                # Cancelling one of those who wait must not cancel the others.
                return await asyncio.shield(asked)
            except _Away:
                continue

    async def _ask(self, token: str, hidden: bytes) -> Principal:
        answer: asyncio.Future[Principal] = asyncio.get_running_loop().create_future()
        self._asked[hidden] = answer
        # What is remembered counts from the question: later the answer may be another one.
        now = self._clock()
        try:
            principal = await self._verifier.verify(token)
        except (InvalidToken, VerifierUnavailable) as problem:
            if isinstance(problem, InvalidToken):
                self._bad.keep(hidden, problem.reason, now, now + self._limits.bad_seconds)
            _fail(answer, type(problem)(*problem.args))
            raise
        except BaseException:
            _fail(answer, _Away())
            raise
        finally:
            del self._asked[hidden]
        self._good.keep(hidden, principal, now, now + self._lifetime(principal))
        answer.set_result(principal)
        return principal

    def _lifetime(self, principal: Principal) -> float:
        if principal.expires_at is None:
            return self._limits.good_seconds
        return min(self._limits.good_seconds, principal.expires_at - self._wall_clock())


def _fail(answer: asyncio.Future[Principal], problem: Exception) -> None:
    answer.set_exception(problem)
    # Perhaps nobody else waited; that is no exception that was overlooked.
    answer.exception()


class EitherVerifier:
    """The port `Verifier` over several: whom the first of them knows that knows anybody."""

    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = verifiers

    async def verify(self, token: str) -> Principal:
        """Return whose *token* is; raises InvalidToken where none knows it, and VerifierUnavailable."""
        reason = "nobody knows the credential"
        for verifier in self._verifiers:
            try:
                return await verifier.verify(token)
            except InvalidToken as problem:
                reason = problem.reason
        raise InvalidToken(reason)
