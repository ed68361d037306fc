"""Leases in Redis: a sorted set for each subject (ADR 0012).

A member's score is the time in milliseconds at which its lease ends, by Redis's clock. One that was taken
over stands there with a score below zero for a while, so that its edge learns of it and does not renew it.
All that is asked while an exchange is under way goes out together in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from redis.exceptions import ResponseError

from fanwire_edge.adapters.redis_lease_scripts import ATTEMPT, LOADS, RENEW, TAKE, call, is_unknown_script
from fanwire_edge.adapters.redis_wire import Command, RedisWire, checked
from fanwire_edge.ports import TailLost

__all__ = ["RedisLeases"]

ANSWER_SECONDS = 0.5
HAND_IN_SECONDS = 2.0
# How long a link may be idle before it is tried out, and the pause before it is made anew.
IDLE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 1.0
# Commands in one exchange, those that may wait for one, and leases that may wait for being ended.
MAX_BATCH = 512
MAX_WAITING = 8192
WINDOW_MS = 60_000

logger = logging.getLogger("fanwire.limits")


@dataclass(slots=True)
class _Question:
    """Commands that belong together, and who waits for their replies."""

    commands: Sequence[Command]
    waiting: asyncio.Future[list[Any]]


class RedisLeases:
    """Leases of *lease_seconds*, and *attempts* of an address a minute, under *prefix* at *url*."""

    def __init__(self, url: str, prefix: str, lease_seconds: float, attempts: int) -> None:
        self._wire = RedisWire(url, prefix)
        self._prefix = prefix
        self._lease_ms = round(lease_seconds * 1000)
        self._limit = attempts
        self._random = Random()
        self._questions: deque[_Question] = deque()
        self._returned: deque[Command] = deque()
        self._asked = asyncio.Event()
        self._is_away = False

    async def attempt(self, address: str) -> float:
        """Count an attempt. Raises TailLost."""
        key = f"{self._prefix}:_attempts:{address}"
        [wait_ms] = await self._ask([call(ATTEMPT, key, self._limit, WINDOW_MS)])
        return int(checked(wait_ms)) / 1000

    async def take(self, subject: str, limit: int, name: str, replaced: str | None) -> float:
        """Take a lease. Raises TailLost."""
        key = self._key(subject)
        [wait_ms] = await self._ask([call(TAKE, key, limit, self._lease_ms, name, replaced or "")])
        return int(checked(wait_ms)) / 1000

    async def renew(self, held: Mapping[str, Sequence[str]]) -> Collection[str]:
        """Renew leases. Raises TailLost."""
        calls = [call(RENEW, self._key(subject), self._lease_ms, *names) for subject, names in held.items()]
        replies = await self._ask(calls)
        return [name.decode() for reply in replies for name in checked(reply)]

    def give_back(self, subject: str, name: str) -> None:
        """End a lease with the next exchange; while Redis is away it ends by itself."""
        if not self._is_away and len(self._returned) < MAX_WAITING:
            self._returned.append(("ZREM", self._key(subject), name))
            self._asked.set()

    async def run(self) -> None:
        """Carry out what is asked for ever."""
        try:
            while True:
                try:
                    await self._connect()
                    await self._serve()
                except TailLost as problem:
                    self._fail(problem)
                await asyncio.sleep(self._random.uniform(0.1, MAX_PAUSE_SECONDS))
        finally:
            await self._hand_in()

    async def _connect(self) -> None:
        await self._wire.connect()
        for reply in await self._wire.exchange(LOADS, ANSWER_SECONDS):
            checked(reply)
        if self._is_away:
            self._is_away = False
            logger.info("limits_shared")

    async def _serve(self) -> None:
        while True:
            if not self._questions and not self._returned:
                await self._idle()
            returned = list(islice(self._returned, MAX_BATCH))
            asked = self._next_questions()
            commands = [*returned, *(command for question in asked for command in question.commands)]
            try:
                replies = await self._exchange(commands or [("PING",)])
            except TailLost as problem:
                _refuse(asked, problem)
                raise
            self._forget_returned(len(returned))
            start = len(returned)
            for question in asked:
                end = start + len(question.commands)
                if not question.waiting.done():
                    question.waiting.set_result(replies[start:end])
                start = end

    async def _idle(self) -> None:
        """Wait for something to do, but not so long that the end of the link would go unnoticed."""
        self._asked.clear()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._asked.wait()
        except TimeoutError:
            pass  # Then the link is tried out.

    def _next_questions(self) -> list[_Question]:
        asked: list[_Question] = []
        size = 0
        while self._questions and size < MAX_BATCH:
            question = self._questions.popleft()
            # Nobody waits any more for what is done.
            if not question.waiting.done():
                asked.append(question)
                size += len(question.commands)
        return asked

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies; scripts that Redis has forgotten are told it again."""
        replies = await self._wire.exchange(commands, ANSWER_SECONDS)
        forgotten = [index for index, reply in enumerate(replies) if is_unknown_script(reply)]
        if forgotten:
            again = [*LOADS, *(commands[index] for index in forgotten)]
            told = await self._wire.exchange(again, ANSWER_SECONDS)
            for index, reply in zip(forgotten, told[len(LOADS) :], strict=True):
                replies[index] = reply
        for reply in replies:
            if isinstance(reply, ResponseError) and str(reply).startswith("READONLY"):
                # It was demoted; another one is the master now.
                checked(reply)
        return replies

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        if self._is_away or len(self._questions) >= MAX_WAITING:
            raise TailLost("limits cannot be asked for")
        question = _Question(commands, asyncio.get_running_loop().create_future())
        self._questions.append(question)
        self._asked.set()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await question.waiting
        except TimeoutError:
            raise TailLost("limits were not told in time") from None

    def _fail(self, problem: TailLost) -> None:
        if not self._is_away:
            self._is_away = True
            logger.warning("limits_unknown", extra={"reason": str(problem)})
        _refuse(self._questions, problem)
        self._questions.clear()
        # They would not be up to date when Redis is back.
        self._returned.clear()

    async def _hand_in(self) -> None:
        """Give back at the end what was left, as far as that goes; an exchange that was cut off counts for
        nothing, and took the link with it."""
        try:
            async with asyncio.timeout(HAND_IN_SECONDS):
                if self._returned and not self._wire.is_connected:
                    await self._wire.connect()
                while self._returned:
                    left = list(islice(self._returned, MAX_BATCH))
                    await self._wire.exchange(left, ANSWER_SECONDS)
                    self._forget_returned(len(left))
        except (TailLost, TimeoutError):
            pass  # They end by themselves.
        finally:
            await self._wire.close()

    def _forget_returned(self, count: int) -> None:
        for _ in range(count):
            self._returned.popleft()

    def _key(self, subject: str) -> str:
        return f"{self._prefix}:_lease:{subject}"


def _refuse(asked: Collection[_Question], problem: TailLost) -> None:
    for question in asked:
        if not question.waiting.done():
            question.waiting.set_exception(problem)
