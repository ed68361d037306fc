"""The library `fanwire_client` against a real edge, also when that edge dies."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from fanwire_client import Client, Event, Gap, Subscription
from fanwire_protocol import parse_offset, parse_position
from fanwire_protocol.codec import Encoding
from fanwire_publisher import Publisher
from tests.e2e.listener import ALL_OF_ACME
from tests.e2e.truth import Written
from tests.e2e.writer import Writer, resource
from tests.kit.edges import edge_on
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

DEADLINE_SECONDS = 20


def _token() -> str:
    return make_token(channels=[ALL_OF_ACME])


async def _until(subscription: Subscription, *last: Written) -> list[Event | Gap]:
    """Return what came until all of *last* had."""
    found: list[Event | Gap] = []
    awaited = {each.event_id for each in last}
    async with asyncio.timeout(DEADLINE_SECONDS):
        while awaited:
            each = await anext(subscription)
            found.append(each)
            if isinstance(each, Event):
                awaited.discard(each.event_id)
    return found


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_client_gets_what_is_published_once_and_in_order(
    shared_redis: SharedRedis, encoding: Encoding
) -> None:
    """Each subscription of a client yields the events of its channels, in the order of each topic."""
    async with (
        edge_on(shared_redis) as edge,
        Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix) as publisher,
        Client(edge.url, token=_token(), encoding=encoding) as client,
        client.subscribe(ALL_OF_ACME) as everything,
        client.subscribe(resource("orders", "1")) as one,
        client.subscribe() as own,
    ):
        writer = Writer(publisher)
        for subscription in (everything, one, own):
            await subscription.ready()
        for number in range(50):
            await writer.write("orders", 3, id_=str(number % 3))
            await writer.write("invoices", 2)
        [last_order] = await writer.write("orders", id_="1")
        [last] = await writer.write("invoices")
        await publisher.send_to_user("acme", "u-1", "note", {"text": "hello"}, event_id="note-1")

        _assert_exactly(await _until(everything, last_order, last), writer.written)
        only_one = [each for each in writer.written if each.channels == (resource("orders", "1"),)]
        _assert_exactly(await _until(one, last_order), only_one)
        async with asyncio.timeout(DEADLINE_SECONDS):
            note = await anext(own)
        assert isinstance(note, Event)
        assert (note.event_id, note.channel) == ("note-1", "tenant:acme:user:u-1")
        statistics = client.statistics()
        assert (statistics.connections, statistics.duplicates) == (1, 0)


def _assert_exactly(found: list[Event | Gap], written: list[Written]) -> None:
    for topic in ("orders", "invoices"):
        due = [(each.event_id, *each.channels) for each in written if each.topic == topic]
        events = [each for each in found if isinstance(each, Event)]
        assert [(each.event_id, each.channel) for each in events if _topic(each) == topic] == due
    assert not any(isinstance(each, Gap) for each in found)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_client_moves_to_another_edge_with_nothing_lost_in_silence(
    shared_redis: SharedRedis, encoding: Encoding
) -> None:
    """When the edge of a client is killed it comes back to another one behind the same address: every
    event comes once, or a gap tells of it before anything later."""
    async with (
        edge_on(shared_redis) as first,
        edge_on(shared_redis) as second,
        FaultProxy(("127.0.0.1", first.port)) as address,
        Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix) as publisher,
        Client(address.url("ws", "/ws"), token=_token(), encoding=encoding, random=lambda: 0.0) as client,
        client.subscribe(ALL_OF_ACME) as subscription,
    ):
        writer = Writer(publisher)
        await subscription.ready()
        [known] = await writer.write("orders")
        found = await _until(subscription, known)
        await writer.write("orders", 20)
        first.kill()
        address.target = ("127.0.0.1", second.port)
        address.reset()
        await writer.write("orders", 20)
        await eventually(lambda: client.statistics().connections == 2, DEADLINE_SECONDS)
        await subscription.ready()
        # Written until one comes: what came before the second edge knew the channel may be told of only.
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(_until_first_after(subscription, writer.written[-1]))
            while not following.done():
                await writer.write("orders")
                await asyncio.sleep(0.01)
        found += following.result()

        _assert_complete_or_told(found, writer)
        assert client.statistics().connections == 2


async def _until_first_after(subscription: Subscription, event: Written) -> list[Event | Gap]:
    found: list[Event | Gap] = []
    async for each in subscription:
        found.append(each)
        if isinstance(each, Event) and _key(each.offset) > parse_position(event.position).key:
            break
    return found


def _assert_complete_or_told(found: list[Event | Gap], writer: Writer) -> None:
    numbers = {each.event_id: number for number, each in enumerate(writer.written)}
    told: set[int] = set()
    after = 0
    for each in found:
        if isinstance(each, Gap):
            assert each.from_ is not None
            start, end = parse_position(each.from_).key, parse_position(each.to).key
            keys = [parse_position(event.position).key for event in writer.written]
            told |= {number for number, key in enumerate(keys) if start < key <= end}
        else:
            number = numbers[each.event_id]
            assert number >= after, f"twice or out of order: {each}"
            assert told >= set(range(after, number)), f"lost in silence before {each}"
            after = number + 1


def _key(offset: str | None) -> tuple[int, int]:
    assert offset is not None
    return parse_offset(offset).position.key


def _topic(event: Event) -> str:
    return (event.offset or "").partition("@")[0]


async def test_client_that_asks_for_too_much_at_once_gets_it_in_time(shared_redis: SharedRedis) -> None:
    """Sixty subscriptions in sixty commands are beyond an edge's budget: what it refuses is asked for again,
    and every one of them gets its events."""
    settings = {"FANWIRE_LIMITS__COMMANDS_BURST": "10"}
    async with (
        edge_on(shared_redis, **settings) as edge,
        Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix) as publisher,
        Client(edge.url, token=_token()) as client,
        AsyncExitStack() as stack,
    ):
        subscriptions = []
        for number in range(60):
            subscription = client.subscribe(resource("orders", str(number)))
            subscriptions.append(await stack.enter_async_context(subscription))
            # So that they do not share a command.
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE_SECONDS):
            for subscription in subscriptions:
                await subscription.ready()
        refused = await edge.metric('fanwire_rate_limited_total{limit="commands"}')
        assert refused >= 1

        writer = Writer(publisher)
        for number, subscription in enumerate(subscriptions):
            [event] = await writer.write("orders", id_=str(number))
            _assert_exactly(await _until(subscription, event), [event])
