"""Getting orders to the edges, or saying what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from fanwire_protocol.event import uuid7
from fanwire_protocol.orders import Operation, Order
from fanwire_publisher._failure import failure_of
from fanwire_publisher._ledger import Command
from fanwire_publisher._link import Link
from fanwire_publisher._options import PublisherOptions
from fanwire_publisher._orders import Instruction, expired, instruct, pairs_of, removal
from fanwire_publisher._sources import Sources

__all__ = ["Control"]


class Control:
    """Gives orders through one link, with retries that keep their ids."""

    def __init__(self, link: Link, options: PublisherOptions, sources: Sources) -> None:
        self._link = link
        self._options = options
        self._sources = sources

    async def give(self, operation: Operation, tenant: str | None, **conditions: Any) -> str:
        """Give one order and return its id once Redis holds it.

        Raises InvalidEvent, and what `Delivery.deliver` does. Cancelling is safe: the order may then be
        carried out or not.
        """
        now_ms = self._sources.now_ms()
        order_id = uuid7(now_ms, self._sources.random(10))
        order = Order(operation, order_id, now_ms, tenant=tenant, **conditions)
        instruction = instruct(order, allow_system=self._options.allow_system)
        self._link.refuse_when_closed()
        try:
            async with asyncio.timeout(self._link.seconds):
                await self._link.persist(instruction, lambda: self._attempt(instruction))
        except TimeoutError as error:
            raise self._link.gave_up(instruction) from error
        return order_id

    async def _attempt(self, instruction: Instruction) -> None:
        prefix = self._options.prefix
        if writing := instruction.writing(prefix):
            await self._run(instruction, writing)
            instruction.is_written = True
        _, *looked = await self._run(instruction, instruction.telling(prefix))
        if over := expired(pairs_of(looked[0]) if looked else (), self._sources.now_ms()):
            await self._forget(removal(prefix, over))

    async def _run(self, instruction: Instruction, commands: Sequence[Command]) -> list[Any]:
        """Carry out *commands*, of which the first has to succeed."""
        was_uncertain = instruction.is_uncertain
        instruction.is_uncertain = True
        try:
            replies = await self._link.run(commands)
            if isinstance(replies[0], Exception):
                raise replies[0]
        except (RedisError, OSError) as error:
            instruction.is_uncertain = was_uncertain or not failure_of(error).is_refusal
            raise
        return replies

    async def _forget(self, command: Command) -> None:
        try:
            await self._link.run((command,))
        except (RedisError, OSError):
            # The order is given. What is over stays until another one looks at it.
            pass
