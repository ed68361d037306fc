"""The broadcaster: carries the log from the broker to the connections (DESIGN "The idea").

It lets the follower decide what to read and what a reply means, turns entries into records of the edge's
log, and writes them out batch by batch. It is the only task that moves `Edge.positions`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from fanwire_edge.control import Control
from fanwire_edge.core import answers
from fanwire_edge.core.decoding import decode_entries
from fanwire_edge.core.fanout import batches, reach, wanted
from fanwire_edge.core.follower import Follower, Loss
from fanwire_edge.core.record import Record, gap_record
from fanwire_edge.core.stream import CONTROL, Entry, Stream, StreamInfo
from fanwire_edge.core.topics import Topics
from fanwire_edge.edge import Edge
from fanwire_edge.faults import report_fault, report_faulty
from fanwire_edge.ports import Archive, Tail, TailLost
from fanwire_edge.readback import remember_recent
from fanwire_protocol.position import Position

__all__ = ["Broadcaster"]

# A read for more writes than this is worth another look for entries before the fan-out (DESIGN).
SECOND_READ_WRITES = 64
READS_TO_GROW = 32
YIELD_SECONDS = 0.005
BACKOFF_SECONDS = (0.1, 2.0)

logger = logging.getLogger("fanwire.broadcaster")


class Broadcaster:
    """Tails one broker node for one edge."""

    def __init__(
        self,
        edge: Edge,
        tail: Tail,
        archive: Archive,
        follower: Follower,
        topics: Topics,
        control: Control,
        random: Random,
    ) -> None:
        self._edge = edge
        self._tail = tail
        self._archive = archive
        self._follower = follower
        self._topics = topics
        self._control = control
        self._random = random
        # Whether the duplicates of the present broker's log are known.
        self._is_remembered = True
        # Whether anything was read since the broker was lost last.
        self._has_read = False

    async def run(self) -> None:
        """Follow the log for ever; ends only by cancellation."""
        attempts, told = 0, ""
        while True:
            try:
                await self._connect()
                self._edge.is_reading = True
                await self._follow()
            except TailLost as problem:
                # Once for each reason: an outage may go on for long.
                if self._has_read:
                    attempts, told, self._has_read = 0, "", False
                if str(problem) != told:
                    told = str(problem)
                    logger.warning("broker_lost", extra={"reason": told})
                self._edge.tally.tail_lost += 1
                if self._edge.is_reading:
                    self._follower.shrink()
                self._edge.is_reading = False
                attempts += 1
            await asyncio.sleep(self._pause_seconds(attempts))

    def _pause_seconds(self, attempts: int) -> float:
        low, high = BACKOFF_SECONDS
        return self._random.uniform(0, min(high, low * 2 ** min(attempts, 10)))

    async def _connect(self) -> None:
        """Connect, and tell of what the broker's identity leaves in doubt, before anything is read."""
        follower = self._follower
        is_first = not follower.streams
        before, identity = follower.identity, await self._tail.connect()
        infos = await self._tail.inspect(follower.streams)
        losses = follower.adopt(identity, infos)
        if losses:
            # Orders may be gone with the events.
            self._edge.revocations.is_known = False
            logger.warning("broker_identity_changed", extra={"streams": len(losses)})
            await self._deliver(self._logged(self._gap(loss) for loss in losses if loss.stream != CONTROL))
        # Whether anything was read since the broker was lost last.
        self._has_read = False
        if before not in (None, identity):
            self._edge.history.pages.clear()
            # What stood in the log of before may be gone; then its copy is the event.
            self._edge.duplicates.clear()
            self._is_remembered = False
        if not self._is_remembered:
            await self._remember(infos)
            self._is_remembered = True
        await self._follow_new(from_start=not is_first)
        # Behind the look at the streams' ends: an order is in the hash before it is in the stream.
        if not self._edge.revocations.is_known:
            await self._control.load()
        logger.info("broker_reading", extra={"broker": identity[:8], "streams": len(follower.streams)})

    async def _follow_new(self, *, from_start: bool) -> None:
        wanted, followed = self._topics.streams, self._follower.streams
        if len(wanted) == len(followed):
            return
        new = [stream for stream in wanted if stream not in followed]
        infos = await self._tail.inspect(new)
        if not from_start:
            await self._remember(infos)
        for stream in new:
            # What happened on the control stream before is history; what is due is in hashes.
            self._follower.follow(stream, infos[stream], from_start=from_start and stream != CONTROL)
            self._edge.log.anchor(stream, self._follower.position(stream))
        self._edge.positions = self._follower.positions

    async def _remember(self, infos: Mapping[Stream, StreamInfo]) -> None:
        identity = self._follower.identity or ""
        for stream, info in infos.items():
            await remember_recent(self._archive, self._edge.duplicates, identity[:8], stream, info)

    async def _follow(self) -> None:
        for reads in itertools.count(1):
            await self._follow_new(from_start=True)
            if pause := self._edge.pacing.pause(asyncio.get_running_loop().time()):
                await asyncio.sleep(pause)
            records = await self._read(block=True)
            lost: TailLost | None = None
            if reach(self._edge.hub, wanted(self._edge.hub, records)) > SECOND_READ_WRITES:
                try:
                    records += await self._read(block=False)
                except TailLost as problem:
                    lost = problem
            await self._deliver(records)
            if lost is not None:
                raise lost
            # Slowly, because each read that turns out too large costs a connection.
            if reads % READS_TO_GROW == 0:
                self._follower.grow()

    async def _read(self, *, block: bool) -> list[Record]:
        follower = self._follower
        clock = asyncio.get_running_loop().time
        request = follower.request(clock(), block=block)
        reply = follower.on_time(await self._tail.read(request), request, clock())
        self._edge.read_at = time.monotonic()
        self._has_read = True
        if reply.identity is not None and reply.identity != follower.identity:
            raise TailLost("the broker's identity changed while it was read")
        doubtful = follower.doubtful(request, reply)
        infos = await self._tail.inspect(doubtful) if doubtful else {}
        records: list[Record] = []
        # Control first: what it says holds for the data of the same read.
        for stream in sorted({*reply.entries, *doubtful}, key=lambda stream: stream != CONTROL):
            before = follower.position(stream)
            found = follower.receive(stream, reply.entries.get(stream, ()), infos.get(stream))
            if isinstance(found, Loss):
                logger.warning("log_trimmed", extra={"topic": stream.topic, "from": str(found.start)})
                if stream == CONTROL:
                    await self._control.load()
                else:
                    records.append(self._gap(found))
            elif stream == CONTROL:
                await self._control.take(found)
            else:
                records.extend(self._records(stream, before, found))
        return self._logged(records)

    def _logged(self, records: Iterable[Record]) -> list[Record]:
        logged = list(records)
        self._edge.log.keep_from = self._edge.write_seq
        for record in logged:
            self._edge.log.append(record)
        return logged

    def _gap(self, loss: Loss) -> Record:
        edge = self._edge
        edge.tally.gaps[loss.reason.value] += 1
        frame = edge.stamped(answers.lost(loss, edge.greeting.reconnect_jitter_ms))
        return gap_record(loss, frame, edge.partitions)

    def _records(self, stream: Stream, before: Position, entries: Sequence[Entry]) -> list[Record]:
        tally = self._edge.tally
        found = decode_entries(stream, before, entries, self._edge.duplicates.is_repeated)
        tally.events_read += len(entries)
        tally.events_unroutable += found.unroutable
        tally.events_repeated += found.repeated
        for entry_id, reason in found.invalid:
            report_fault(self._edge, stream, entry_id, reason)
        return found.records

    async def _deliver(self, records: Sequence[Record]) -> None:
        """Write *records* out; may suspend between connections, during which everything else waits."""
        edge = self._edge
        edge.begin_delivery()
        try:
            due = wanted(edge.hub, records)
            await self._write(due)
            edge.write_seq = edge.log.next
            edge.positions = self._follower.positions
        finally:
            edge.end_delivery()
        self._count(due)
        report_faulty(edge)

    async def _write(self, records: Sequence[Record]) -> None:
        edge, clock = self._edge, asyncio.get_running_loop().time
        since = clock()
        for deliveries, end in batches(edge.hub, records):
            edge.write_seq = end
            edge.tally.batches += 1
            for delivery in deliveries:
                for _ in delivery.run():
                    if clock() - since > YIELD_SECONDS:
                        await asyncio.sleep(0)
                        since = clock()
                edge.tally.frames_out += delivery.deliveries
                edge.tally.bytes_out += delivery.written_bytes

    def _count(self, records: Sequence[Record]) -> None:
        now_ms = time.time_ns() // 1_000_000
        for record in records:
            if not record.is_gap:
                self._edge.tally.observe_latency(now_ms - record.order[0])
