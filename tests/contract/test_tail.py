"""The contract of `Tail`, `Archive` and `Registry`: every adapter keeps it (DESIGN "Tail")."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest
import pytest_asyncio

from fanwire_edge.adapters.redis_registry import RedisRegistry
from fanwire_edge.adapters.redis_tail import RedisTail
from fanwire_edge.core.follower import ReadRequest
from fanwire_edge.core.stream import CONTROL, Entry, Stream, StreamInfo
from fanwire_edge.ports import Archive, Registry, Tail, TailLost
from fanwire_protocol.position import BEGINNING
from tests.contract.brokers import PREFIX, Broker
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

ORDERS, MAIL = Stream("orders", 0), Stream("mail", 3)


@pytest_asyncio.fixture
async def tail(broker: Broker) -> AsyncIterator[Tail]:
    """A connected tail."""
    tail = broker.tail()
    await tail.connect()
    yield tail
    await tail.close()


@pytest_asyncio.fixture
async def archive(broker: Broker) -> AsyncIterator[Archive]:
    """An archive."""
    archive = broker.archive()
    yield archive
    await archive.close()


@pytest_asyncio.fixture
async def registry(broker: Broker) -> AsyncIterator[Registry]:
    """A registry."""
    registry = broker.registry()
    yield registry
    await registry.close()


def request(
    cursors: dict[Stream, str],
    prove: Iterable[Stream] = (),
    *,
    identify: bool = False,
    count: int = 100,
    block_ms: int | None = None,
) -> ReadRequest:
    """Return a request that answers at once."""
    return ReadRequest(cursors, frozenset(prove), identify, count, block_ms)


# Connecting


async def test_connecting_tells_an_identity_that_stays(broker: Broker, tail: Tail) -> None:
    """Forty hex digits, the same for every connection, and on request in a read."""
    identity = await tail.connect()

    assert re.fullmatch("[0-9a-f]{40}", identity)
    another = broker.tail()
    assert await another.connect() == identity
    await another.close()
    assert (await tail.read(request({ORDERS: BEGINNING}, identify=True))).identity == identity
    assert (await tail.read(request({ORDERS: BEGINNING}))).identity is None


async def test_a_restart_is_another_identity_and_loses_the_connection(broker: Broker, tail: Tail) -> None:
    """What was read before proves nothing any more; only connecting again helps."""
    before = await tail.connect()
    broker.restart()

    with pytest.raises(TailLost):
        await tail.read(request({ORDERS: BEGINNING}))
    with pytest.raises(TailLost, match="not connected"):
        await tail.read(request({ORDERS: BEGINNING}))
    assert await tail.connect() != before
    assert not (await tail.read(request({ORDERS: BEGINNING}))).entries


async def test_without_a_broker_everything_raises_and_says_why(
    broker: Broker, tail: Tail, archive: Archive, registry: Registry
) -> None:
    """`TailLost`, never another error, and never without a text."""
    broker.stop()

    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: tail.read(request({ORDERS: BEGINNING})),
        lambda: tail.inspect([ORDERS]),
        tail.connect,
        lambda: archive.page(ORDERS, (0, 0), 10),
        registry.topics,
        lambda: registry.partitions(1),
        lambda: registry.announce("reader"),
    ]
    for attempt in attempts:
        with pytest.raises(TailLost, match=r".{5}"):
            await attempt()


async def test_before_connecting_and_after_closing_nothing_can_be_read(broker: Broker) -> None:
    """Closing twice is no error."""
    tail = broker.tail()
    for _ in range(2):
        with pytest.raises(TailLost, match="not connected"):
            await tail.read(request({ORDERS: BEGINNING}))
        with pytest.raises(TailLost, match="not connected"):
            await tail.inspect([ORDERS])
        await tail.connect()
        await tail.close()
        await tail.close()


# Inspecting


async def test_a_stream_that_is_not_there_is_an_empty_one(tail: Tail) -> None:
    """And one that never was read has lost nothing."""
    assert await tail.inspect([ORDERS, CONTROL]) == {ORDERS: StreamInfo(), CONTROL: StreamInfo()}
    assert await tail.inspect([]) == {}


async def test_what_is_said_of_a_stream_counts_what_was_removed(broker: Broker, tail: Tail) -> None:
    """Length, all that was ever added, the first and the last id; trimmed or deleted is the same."""
    ids = [broker.add(ORDERS, b"%d" % number) for number in range(6)]

    assert (await tail.inspect([ORDERS]))[ORDERS] == StreamInfo(6, 6, ids[0], ids[5])
    broker.trim(ORDERS, 4)
    assert (await tail.inspect([ORDERS]))[ORDERS] == StreamInfo(4, 6, ids[2], ids[5])
    broker.remove(ORDERS, ids[2])
    broker.remove(ORDERS, ids[5])
    info = (await tail.inspect([ORDERS]))[ORDERS]
    assert info == StreamInfo(2, 6, ids[3], ids[5])
    assert info.removed == 4
    broker.trim(ORDERS, 0)
    assert (await tail.inspect([ORDERS]))[ORDERS] == StreamInfo(0, 6, None, ids[5])
    broker.drop(ORDERS)
    assert (await tail.inspect([ORDERS]))[ORDERS] == StreamInfo()


# Reading


async def test_a_read_brings_what_lies_behind_the_cursors(broker: Broker, tail: Tail) -> None:
    """In the order of the log, without streams that have nothing; ids grow."""
    ids = [broker.add(ORDERS, b"%d" % number) for number in range(4)]
    mail_id = broker.add(MAIL, b"hello")
    control_id = broker.add(CONTROL, b"op")

    reply = await tail.read(
        request({CONTROL: BEGINNING, ORDERS: ids[1], MAIL: mail_id, Stream("none", 0): BEGINNING})
    )

    assert reply.entries == {
        CONTROL: [Entry(control_id, b"op")],
        ORDERS: [Entry(ids[2], b"2"), Entry(ids[3], b"3")],
    }
    orders = [tuple(map(int, entry_id.split("-"))) for entry_id in ids]
    assert orders == sorted(set(orders))


async def test_an_entry_without_the_field_has_no_data(broker: Broker, tail: Tail) -> None:
    """It is still an entry, with its place."""
    entry_id = broker.add(ORDERS, None)

    assert (await tail.read(request({ORDERS: BEGINNING}))).entries == {ORDERS: [Entry(entry_id, None)]}


async def test_bytes_come_back_as_they_went_in(broker: Broker, tail: Tail) -> None:
    """All of them, and a megabyte of them."""
    for data in (bytes(range(256)), b"", b"\r\n", b"x" * 2**20):
        entry_id = broker.add(ORDERS, data)
        broker.trim(ORDERS, 1)
        assert (await tail.read(request({ORDERS: BEGINNING}))).entries[ORDERS] == [Entry(entry_id, data)]


async def test_the_count_holds_for_each_stream(broker: Broker, tail: Tail) -> None:
    """Two of each, the oldest; the next read goes on behind them."""
    ids = {stream: [broker.add(stream, b"x") for _ in range(3)] for stream in (ORDERS, MAIL)}

    first = await tail.read(request(dict.fromkeys(ids, BEGINNING), count=2))
    assert {stream: [each.id for each in found] for stream, found in first.entries.items()} == {
        stream: known[:2] for stream, known in ids.items()
    }
    rest = await tail.read(request({stream: known[1] for stream, known in ids.items()}, count=2))
    assert [len(found) for found in rest.entries.values()] == [1, 1]


async def test_a_proof_holds_while_the_cursor_s_own_entry_is_there(broker: Broker, tail: Tail) -> None:
    """Trimmed, deleted, dropped, or never read before: unproven. Only what is asked for is told."""
    ids = [broker.add(ORDERS, b"x") for _ in range(5)]
    mail_id = broker.add(MAIL, b"x")

    async def unproven(entry_id: str, *prove: Stream) -> frozenset[Stream]:
        cursors = {ORDERS: entry_id, MAIL: mail_id}
        return (await tail.read(request(cursors, prove))).unproven

    assert await unproven(ids[0], ORDERS, MAIL) == frozenset()
    assert await unproven(BEGINNING, ORDERS) == {ORDERS}
    broker.trim(ORDERS, 4)
    assert await unproven(ids[0], ORDERS, MAIL) == {ORDERS}
    assert await unproven(ids[0], MAIL) == frozenset()
    assert await unproven(ids[1], ORDERS) == frozenset()
    broker.remove(ORDERS, ids[2])
    assert await unproven(ids[2], ORDERS) == {ORDERS}
    broker.drop(ORDERS)
    assert await unproven(ids[4], ORDERS) == {ORDERS}


async def test_what_is_removed_while_a_read_waits_is_unproven(broker: Broker, tail: Tail) -> None:
    """The proof stands behind the read (ADR 0006): one made before would hide what was trimmed unread."""
    entry_id = broker.add(ORDERS, b"x")
    async with asyncio.TaskGroup() as tasks:
        cursors = {ORDERS: entry_id, MAIL: BEGINNING}
        read = tasks.create_task(tail.read(request(cursors, [ORDERS], block_ms=5000)))
        await eventually(broker.waiting)
        broker.remove(ORDERS, entry_id)
        mail_id = broker.add(MAIL, b"y")

    assert read.result().unproven == {ORDERS}
    assert read.result().entries == {MAIL: [Entry(mail_id, b"y")]}


# Waiting


async def test_a_waiting_read_wakes_as_soon_as_there_is_something(broker: Broker, tail: Tail) -> None:
    """On any of its streams, also one that did not exist; long before its time is over."""
    for stream in (ORDERS, MAIL, CONTROL):
        async with asyncio.TaskGroup() as tasks:
            began = time.monotonic()
            cursors = dict.fromkeys((ORDERS, MAIL, CONTROL), BEGINNING)
            read = tasks.create_task(tail.read(request(cursors, block_ms=5000)))
            await eventually(broker.waiting)
            assert not read.done()
            entry_id = broker.add(stream, b"x")
        assert read.result().entries == {stream: [Entry(entry_id, b"x")]}
        assert time.monotonic() - began < 4
        broker.drop(stream)


async def test_a_waiting_read_ends_empty_when_its_time_is_over(tail: Tail) -> None:
    """Which is no error; the next one is as good."""
    for _ in range(2):
        began = time.monotonic()
        reply = await tail.read(request({ORDERS: BEGINNING}, identify=True, block_ms=100))
        assert not reply.entries
        assert reply.identity is not None
        assert 0.09 <= time.monotonic() - began < 5


async def test_a_read_does_not_wait_where_there_is_something_or_where_it_need_not(
    broker: Broker, tail: Tail
) -> None:
    """Entries that are there already come at once."""
    began = time.monotonic()
    assert not (await tail.read(request({ORDERS: BEGINNING}))).entries
    broker.add(ORDERS, b"x")
    assert (await tail.read(request({ORDERS: BEGINNING}, block_ms=5000))).entries
    assert time.monotonic() - began < 4


async def test_a_waiting_read_is_lost_with_the_broker(broker: Broker, tail: Tail) -> None:
    """At once, not when its time is over."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        read = tasks.create_task(_loss(tail, request({ORDERS: BEGINNING}, block_ms=5000)))
        await eventually(broker.waiting)
        broker.stop()
    assert read.result()
    assert time.monotonic() - began < 4


async def _loss(tail: Tail, wanted: ReadRequest) -> str:
    with pytest.raises(TailLost) as caught:
        await tail.read(wanted)
    return str(caught.value)


async def test_a_read_that_was_cancelled_takes_the_connection_with_it(broker: Broker, tail: Tail) -> None:
    """Its answer may still come, and must not be taken for the next one's."""
    broker.add(MAIL, b"x")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await tail.read(request({ORDERS: BEGINNING}, block_ms=5000))
    with pytest.raises(TailLost, match="not connected"):
        await tail.read(request({MAIL: BEGINNING}))
    await tail.connect()
    assert (await tail.read(request({MAIL: BEGINNING}))).entries


# Archive


async def test_a_page_holds_the_entries_from_a_place_on_and_what_proves_them(
    broker: Broker, tail: Tail, archive: Archive
) -> None:
    """The entry before it, how many were removed, and whose it is."""
    ids = [broker.add(ORDERS, b"%d" % number) for number in range(6)]
    broker.trim(ORDERS, 5)
    time_ms, sequence = map(int, ids[3].split("-"))

    page = await archive.page(ORDERS, (time_ms, sequence), 2)
    assert page.stream == ORDERS
    assert page.start == (time_ms, sequence)
    assert page.broker == (await tail.connect())[:8]
    assert page.entries == (Entry(ids[3], b"3"), Entry(ids[4], b"4"))
    assert (page.before_id, page.removed) == (ids[2], 1)

    first = await archive.page(ORDERS, (0, 0), 100)
    assert (first.before_id, first.removed) == (None, 1)
    assert [entry.id for entry in first.entries] == ids[1:]

    beyond = await archive.page(ORDERS, (time_ms + 60_000, 0), 100)
    assert (beyond.before_id, beyond.entries) == (ids[5], ())


async def test_a_page_of_nothing_is_empty(archive: Archive) -> None:
    """A stream that is not there has neither entries nor losses."""
    page = await archive.page(MAIL, (0, 0), 10)

    assert (page.entries, page.before_id, page.removed) == ((), None, 0)


async def test_an_archive_connects_again_by_itself(broker: Broker, archive: Archive) -> None:
    """What was lost with the broker is told once; then the new one is read."""
    broker.add(ORDERS, b"x")
    before = await archive.page(ORDERS, (0, 0), 10)
    broker.restart()
    entry_id = broker.add(ORDERS, b"y")

    async def is_back() -> bool:
        try:
            page = await archive.page(ORDERS, (0, 0), 10)
        except TailLost:
            return False
        return page.entries == (Entry(entry_id, b"y"),) and page.broker != before.broker

    await eventually(is_back)


# Registry


async def test_the_first_to_ask_decides_the_partitions(registry: Registry) -> None:
    """One by default; who asks for another number learns the agreed one."""
    assert await registry.partitions(None) == 1
    assert await registry.partitions(4) == 1


@pytest.mark.parametrize("wanted", [1, 7, 1024])
async def test_a_number_that_is_asked_for_first_stays(broker: Broker, wanted: int) -> None:
    """Also for another process."""
    for asked in (wanted, None, wanted + 1):
        registry = broker.registry()
        assert await registry.partitions(asked) == wanted
        await registry.close()


async def test_topics_are_those_that_were_registered(broker: Broker, registry: Registry) -> None:
    """Each once, in no order, and new ones at the next look."""
    assert await registry.topics() == frozenset()
    for topic in ("orders", "mail", "orders"):
        broker.register(topic)
    assert await registry.topics() == {"orders", "mail"}


async def test_readers_that_announce_themselves_are_counted_once_each(
    broker: Broker, registry: Registry
) -> None:
    """Also those of another process."""
    other = broker.registry()
    assert [await registry.announce(reader) for reader in ("one", "one", "two")] == [1, 1, 2]
    assert await other.announce("three") == 3
    await other.close()


# Redis alone


async def test_a_reader_that_was_not_heard_of_for_long_is_no_longer_counted(
    redis_server: RedisServer,
) -> None:
    """By the broker's clock; and nothing is left behind when all are gone."""
    now = int(redis_server.execute("TIME")[0])
    redis_server.execute("ZADD", f"{PREFIX}:_readers", now - 60, "gone", now - 5, "there")
    registry = RedisRegistry(redis_server.url, PREFIX)

    assert await registry.announce("this") == 2
    assert set(redis_server.execute("ZRANGE", f"{PREFIX}:_readers", 0, -1)) == {b"there", b"this"}
    assert 0 < redis_server.execute("TTL", f"{PREFIX}:_readers") <= 60
    await registry.close()


async def test_a_replica_is_refused_until_it_is_a_master(redis_server: RedisServer) -> None:
    """Its log may lack entries that were acknowledged."""
    with RedisServer(replica_of=redis_server.address) as replica:
        tail = RedisTail(replica.url, PREFIX)
        with pytest.raises(TailLost, match="is a slave, not a master"):
            await tail.connect()
        replica.execute("REPLICAOF", "NO", "ONE")
        master = RedisTail(redis_server.url, PREFIX)
        assert await tail.connect() != await master.connect()
        await tail.close()
        await master.close()


async def test_a_master_that_becomes_a_replica_is_noticed(redis_server: RedisServer) -> None:
    """By the identity in a read, or because it drops its clients; never by silence."""
    with RedisServer() as other:
        tail = RedisTail(redis_server.url, PREFIX)
        await tail.connect()
        redis_server.execute("REPLICAOF", "127.0.0.1", other.port)
        with pytest.raises(TailLost):
            await tail.read(request({ORDERS: BEGINNING}, identify=True))
        await tail.close()


async def test_a_key_of_another_kind_is_a_loss_that_names_it(redis_server: RedisServer) -> None:
    """Somebody else's key is no reason to crash."""
    redis_server.execute("SET", f"{PREFIX}:orders:0", "x")
    tail = RedisTail(redis_server.url, PREFIX)
    await tail.connect()
    with pytest.raises(TailLost, match=r"WRONGTYPE|wrong kind"):
        await tail.inspect([ORDERS])
    with pytest.raises(TailLost, match=r"WRONGTYPE|wrong kind"):
        await tail.read(request({ORDERS: BEGINNING}))
    await tail.close()


async def test_a_broker_that_does_not_answer_is_lost_in_seconds(redis_server: RedisServer) -> None:
    """The deadline is that of the read, and two seconds more; connecting has one as well."""
    tail = RedisTail(redis_server.url, PREFIX)
    registry = RedisRegistry(redis_server.url, PREFIX)
    await tail.connect()
    redis_server.pause()
    try:
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_loss(tail, request({ORDERS: BEGINNING}, block_ms=500)))
            tasks.create_task(_lost(RedisTail(redis_server.url, PREFIX)))
            tasks.create_task(_lost_topics(registry))
        assert 2 <= time.monotonic() - began < 15
    finally:
        redis_server.resume()
        await registry.close()


async def _lost(tail: Tail) -> None:
    with pytest.raises(TailLost):
        await tail.connect()


async def _lost_topics(registry: Registry) -> None:
    with pytest.raises(TailLost):
        await registry.topics()


async def test_a_lost_read_is_not_repeated_behind_our_back(redis_server: RedisServer) -> None:
    """redis-py would repeat it ten times; one read is one XREAD in the server's counts."""
    async with FaultProxy(redis_server.address) as proxy:
        tail = RedisTail(proxy.url(), PREFIX)
        await tail.connect()
        proxy.down.swallow = True
        with pytest.raises(TailLost):
            await tail.read(request({ORDERS: BEGINNING}))
        await tail.close()
    assert redis_server.execute("INFO", "commandstats")["cmdstat_xread"]["calls"] == 1


@pytest.mark.parametrize("options", ["decode_responses=true", "socket_timeout=0.2", "protocol=2"])
async def test_options_of_the_url_do_not_break_the_reading(redis_server: RedisServer, options: str) -> None:
    """They win over arguments in redis-py; bytes, deadlines and replies stay what we need."""
    url = f"{redis_server.url}?{options}"
    tail, registry = RedisTail(url, PREFIX), RedisRegistry(url, PREFIX)
    await tail.connect()
    redis_server.execute("XADD", f"{PREFIX}:orders:0", "*", "e", b"\xff")
    redis_server.execute("SADD", f"{PREFIX}:topics", "orders")

    assert (await tail.read(request({MAIL: BEGINNING}, block_ms=500))).entries == {}
    assert (await tail.read(request({ORDERS: BEGINNING}, [ORDERS]))).entries[ORDERS][0].data == b"\xff"
    assert (await tail.inspect([ORDERS]))[ORDERS].added == 1
    assert await registry.topics() == {"orders"}
    await tail.close()
    await registry.close()
