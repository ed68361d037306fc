"""Renewal: a connection is shown a fresh token before the one that it goes by ends (PROTOCOL §3, §4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fanwire_client._backoff import Backoff
from fanwire_client._connection import Unreachable
from fanwire_client._errors import InvalidToken
from fanwire_protocol.commands import MAX_COMMAND_BYTES, Authenticate, encode_command

__all__ = ["Renewal"]

# Tokens that were issued together end together: they are asked for in the first part of what time is left.
_SPREAD = 1 / 12
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 10.0
_ANSWER_SECONDS = 10.0

_log = logging.getLogger("fanwire.client")


class Renewal:
    """Fetches tokens when they are needed, and has them shown.

    *fetch* returns a token, or None where there is no other one than before; it raises Unreachable and
    InvalidToken. *show* sends one, and `answer` says what came of it. *random* (0 to 1) and *sleep* (seconds)
    time the attempts.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[str | None]],
        show: Callable[[str], None],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._fetch = fetch
        self._show = show
        self._random = random
        self._sleep = sleep
        self._told = asyncio.Event()
        self._ends_at = 0.0
        self._answer: asyncio.Future[bool] | None = None
        self._taken: str | None = None

    def begin(self) -> None:
        """Take it that a connection has begun, with the token of its dial."""
        self._told.clear()
        self._taken = None

    def tell(self, seconds: float) -> None:
        """Take it that the token ends in so many *seconds*."""
        self._ends_at = asyncio.get_running_loop().time() + seconds
        self._told.set()

    def answer(self, is_good: bool) -> None:
        """Take it that the server took the token that was shown last, or did not."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(is_good)

    async def run(self) -> None:
        """Renew whenever that is due, as long as one connection lasts; ends only by cancellation."""
        while True:
            await self._told.wait()
            self._told.clear()
            await self._renew()

    async def _renew(self) -> None:
        """Try until the server has taken a fresh token, or the old one is over and it closes with 4001."""
        backoff = Backoff(_SHORTEST_SECONDS, _LONGEST_SECONDS)
        seconds = self._random() * self._left * _SPREAD
        while seconds < self._left:
            await self._sleep(seconds)
            if await self._attempt():
                return
            seconds = backoff.next_delay(self._random())

    @property
    def _left(self) -> float:
        return self._ends_at - asyncio.get_running_loop().time()

    async def _attempt(self) -> bool:
        reason = "there is no other token than before"
        try:
            token = await self._fetch()
        except (Unreachable, InvalidToken) as failure:
            token, reason = None, str(failure)
        if token is not None and not _is_sendable(token):
            reason = "the token is too long for a command"
        elif token is not None and token != self._taken:
            if await self._is_taken(token):
                self._taken = token
                return True
            reason = "the server did not take the token"
        _log.warning("fanwire_client.renewal_failed", extra={"reason": reason})
        return False

    async def _is_taken(self, token: str) -> bool:
        self._answer = asyncio.get_running_loop().create_future()
        self._show(token)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._answer
        except TimeoutError:
            return False
        finally:
            self._answer = None


def _is_sendable(token: str) -> bool:
    """Tell whether a server would not close the connection for the length of the command (PROTOCOL §4)."""
    return len(encode_command(Authenticate(token, 2**53))) <= MAX_COMMAND_BYTES
