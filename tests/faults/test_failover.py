"""Another broker takes over, or the same one changes its role: what was acknowledged may be gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fanwire_protocol import parse_position
from fanwire_publisher import Publisher
from tests.e2e.listener import ALL_OF_ACME, Listener, listening
from tests.e2e.truth import Written
from tests.e2e.writer import Writer
from tests.faults.rig import add_raw, arrived, finish, key_of, rounds, say, writing
from tests.kit.edges import EdgeProcess
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@dataclass
class Pair:
    """A master and its replica; `link` carries the replication, `door` is what the others dial."""

    master: RedisServer
    replica: RedisServer
    link: FaultProxy
    door: FaultProxy

    async def in_step(self) -> None:
        """Wait until the replica holds all that the master does."""
        await eventually(lambda: self._length(self.replica) == self._length(self.master) > 0, 10)

    def promote(self) -> None:
        """Kill the master and lead everyone to the replica, which is master from now on."""
        self.master.kill()
        self.replica.execute("REPLICAOF", "NO", "ONE")
        self.door.target = self.replica.address
        self.door.reset()

    @staticmethod
    def _length(server: RedisServer) -> int:
        return int(server.execute("XLEN", key_of("orders")))


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    async with (
        RedisServer() as master,
        FaultProxy(master.address) as link,
        RedisServer(replica_of=link.address) as replica,
        FaultProxy(master.address) as door,
    ):
        yield Pair(master, replica, link, door)


@pytest.mark.parametrize("was_read", [True, False], ids=["lost entries were read", "lost entries were not"])
async def test_promoted_replica_that_lacks_entries_and_reissues_their_ids(was_read: bool) -> None:
    """Acknowledged entries that the new master lacks, and others under the same ids, are told of by a gap
    before anything of its life is delivered."""
    async with (
        pair() as brokers,
        EdgeProcess(brokers.door.url()) as edge,
        writing(brokers.door.url()) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("orders", 10))[-1])
        await brokers.in_step()
        brokers.link.black_hole()
        if not was_read:
            edge.pause()
        lost = await writer.write("orders", 5)
        if was_read:
            await arrived(listener, lost[-1])
        brokers.promote()
        reissued = _reissue(brokers.replica, lost)
        writer.written.extend(reissued)
        promoted = time.monotonic()
        if not was_read:
            edge.resume()
        await eventually(lambda: listener.gaps)
        say(f"told {1000 * (time.monotonic() - promoted):.0f} ms after the promotion")
        await arrived(listener, (await writer.write("orders", 5))[-1])
        [report] = await finish(writer, [listener])

        assert set(report.gaps) == {"failover"}
        [gap] = [gap for gap in listener.gaps if gap["topic"] == "orders"]
        assert parse_position(gap["to"]).broker != parse_position(gap["from"]).broker
        came = {frame["eventId"] for frame in listener.events}
        assert not came & {each.event_id for each in reissued}
        assert lost[-1].event_id in came if was_read else True


def _reissue(server: RedisServer, lost: list[Written]) -> list[Written]:
    """Add other events under the ids of *lost*, as a master may whose clock is behind."""
    info: dict[str, Any] = server.execute("INFO", "replication")
    broker = info["master_replid"][:8]
    again = [replace(each, event_id=f"other-{each.event_id}") for each in lost]
    reissued = []
    for each in again:
        id_ = parse_position(each.position).id
        assert add_raw(server, each.topic, each.event_id, entry_id=id_) == id_
        reissued.append(replace(each, position=f"{id_}~{broker}"))
    return reissued


async def test_identity_that_changes_on_a_live_connection() -> None:
    """A broker that gets another identity while its connections go on is told like a failover, within
    two reads."""
    with RedisServer(config={"enable-debug-command": "yes"}) as redis:
        async with (
            EdgeProcess(redis.url, FANWIRE_TAIL__BLOCK_MS="500") as edge,
            writing(redis.url) as writer,
            listening(edge.url, ALL_OF_ACME) as listener,
        ):
            await arrived(listener, (await writer.write("orders", 10))[-1])
            for number in range(1, rounds(1, 10) + 1):
                redis.execute("DEBUG", "CHANGE-REPL-ID")
                changed = time.monotonic()
                await eventually(lambda: len(listener.gaps) == 4 * number)  # noqa: B023
                say(f"told {1000 * (time.monotonic() - changed):.0f} ms after the change")
                await arrived(listener, (await writer.write("orders", 3))[-1])
            assert (await edge.metric('fanwire_gaps_total{reason="failover"}')) == 4 * number
            assert not listener.is_closed


async def test_demoted_broker_is_not_read_until_it_is_a_master_again() -> None:
    """A replica is never read: the edge is not ready while its broker is one, and tells of the change
    before it reads on."""
    async with (
        RedisServer() as redis,
        RedisServer() as other,
        EdgeProcess(redis.url) as edge,
        writing(redis.url) as writer,
        listening(edge.url, ALL_OF_ACME) as listener,
    ):
        await arrived(listener, (await writer.write("orders", 10))[-1])
        redis.execute("REPLICAOF", *other.address)
        demoted = time.monotonic()
        await eventually(lambda: _is(edge, 503))
        say(f"not ready {1000 * (time.monotonic() - demoted):.0f} ms after the demotion")
        await edge.process.wait_for_output("not a master")
        other.execute("SET", "a", "1")
        await eventually(lambda: redis.execute("EXISTS", "a") == 1, 10)
        assert not listener.gaps
        redis.execute("REPLICAOF", "NO", "ONE")
        promoted = time.monotonic()
        await edge.wait_ready()
        say(f"ready {1000 * (time.monotonic() - promoted):.0f} ms after the promotion")
        # The publisher takes the identity on trust for a second, and this goes faster.
        async with Publisher.from_url(redis.url) as publisher:
            writer.use(publisher)
            await arrived(listener, (await writer.write("orders", 3))[-1])
            [report] = await finish(writer, [listener])
        assert set(report.gaps) == {"failover"}
        assert not listener.is_closed


async def test_failover_in_the_middle_of_traffic() -> None:
    """Events are written all the time while the master dies: none is lost without a word."""
    for _ in range(rounds(1, 10)):
        async with (
            pair() as brokers,
            EdgeProcess(brokers.door.url()) as edge,
            writing(brokers.door.url()) as writer,
            listening(edge.url, ALL_OF_ACME) as listener,
        ):
            await arrived(listener, (await writer.write("orders", 10))[-1])
            await brokers.in_step()
            await _write_while_failing_over(brokers, writer, listener)
            [report] = await finish(writer, [listener])
            assert set(report.gaps) == {"failover"}
            say(f"{report.delivered} came, gaps told of {report.covered}")


async def _write_while_failing_over(brokers: Pair, writer: Writer, listener: Listener) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_write_until_told(writer, listener))
        await eventually(lambda: len(writer.written) > 100)
        brokers.link.black_hole()
        size = len(writer.written)
        await eventually(lambda: len(writer.written) > size + 50)
        brokers.promote()


async def _write_until_told(writer: Writer, listener: Listener) -> None:
    async with asyncio.timeout(15):
        while not listener.gaps:
            # One at a time: only a retry of an event that was in fact added could come twice.
            await writer.write("orders")


async def _is(edge: EdgeProcess, status: int) -> bool:
    return await edge.readyz() == status
