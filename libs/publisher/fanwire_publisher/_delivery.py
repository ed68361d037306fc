"""Getting records of one topic into the log, or saying what is known of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from redis.exceptions import RedisError

from fanwire_protocol import Position
from fanwire_protocol.event import uuid7
from fanwire_publisher._failure import failure_of
from fanwire_publisher._job import Job
from fanwire_publisher._lanes import Lanes
from fanwire_publisher._ledger import Ledger
from fanwire_publisher._link import Link
from fanwire_publisher._options import PublisherOptions
from fanwire_publisher._record import Record
from fanwire_publisher._sources import Sources

__all__ = ["Delivery"]


class Delivery:
    """Writes records through one link, with retries that keep their ids and their order."""

    def __init__(self, link: Link, options: PublisherOptions, sources: Sources) -> None:
        self._link = link
        self._sources = sources
        self._ledger = Ledger(options)
        self._lanes = Lanes()

    async def deliver(self, records: Sequence[Record]) -> list[Position]:
        """Add *records*, which share a topic, and return their positions in the same order.

        Takes at most `retry_seconds`. Raises PublishFailed, PublishRefused, PartitionsConflict or
        PublisherClosed. Cancelling is safe: the outcome is then unknown, and others keep their order.
        """
        self._link.refuse_when_closed()
        job = Job(records)
        try:
            async with asyncio.timeout(self._link.seconds), self._lanes.hold(records):
                await self._link.persist(job, lambda: self._try(job))
        except TimeoutError as error:
            raise self._link.gave_up(job) from error
        return [job.positions[index] for index in range(len(records))]

    async def _try(self, job: Job) -> None:
        try:
            await self._attempt(job)
        except (RedisError, OSError):
            self._ledger.forget()
            raise

    async def _attempt(self, job: Job) -> None:
        topic = job.records[0].topic
        if self._ledger.needs_setup(topic):
            await self._set_up(topic)
        by_partition: dict[int, list[int]] = {}
        for index in job.pending():
            by_partition.setdefault(self._ledger.partition(job.records[index]), []).append(index)
        for indices in by_partition.values():
            await self._add(job, indices)

    async def _set_up(self, topic: str) -> None:
        now = self._sources.monotonic()
        replies = await self._link.run(self._ledger.setup(topic))
        if not self._ledger.take_setup(topic, replies, now):
            return
        now_ms = self._sources.now_ms()
        announcement = self._ledger.announcement(topic, uuid7(now_ms, self._sources.random(10)), now_ms)
        try:
            self._ledger.take_announcement(await self._link.run((announcement,)))
        except BaseException:
            self._ledger.owe_announcement(topic)
            raise

    async def _add(self, job: Job, indices: Sequence[int]) -> None:
        now = self._sources.monotonic()
        batch = self._ledger.batch([job.records[index] for index in indices], now)
        first_tried = set(indices) - job.uncertain
        job.uncertain.update(indices)
        try:
            replies = await self._link.run(batch.commands)
            positions = self._ledger.take_batch(batch, replies, now)
        except (RedisError, OSError) as error:
            if failure_of(error).is_refusal:
                job.uncertain -= first_tried
            raise
        job.positions.update(zip(indices, positions, strict=True))
