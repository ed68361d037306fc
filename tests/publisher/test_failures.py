"""What callers are told when Redis does not answer or says no: real server, real proxy."""

from __future__ import annotations

import asyncio
import time

import pytest

from fanwire_publisher import Outgoing, Publisher, PublisherClosed, PublishFailed, PublishRefused
from tests.kit.proxy import FaultProxy
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually
from tests.publisher.reading import delivered_ids, entries

ORDERS = "fanwire:orders:0"


async def test_silent_broker_fails_in_time_with_the_event_id(proxy: FaultProxy) -> None:
    """A black hole does not hang the caller: after retry_seconds the outcome is told as unknown."""
    async with Publisher.from_url(proxy.url(), retry_seconds=0.3) as publisher:
        await publisher.publish("orders", "x", tenant="acme")
        proxy.black_hole()
        started = time.monotonic()

        with pytest.raises(PublishFailed, match=r"event e-1: not confirmed, it may be in the log") as caught:
            await publisher.publish("orders", "x", tenant="acme", event_id="e-1")

        assert time.monotonic() - started < 5
        assert type(caught.value) is PublishFailed
        assert caught.value.event_id == "e-1"


async def test_callers_behind_a_silent_broker_fail_in_time_too(
    proxy: FaultProxy, redis_server: RedisServer
) -> None:
    """Waiting for one's turn counts; what was never sent is known to be absent from the log."""
    async with Publisher.from_url(proxy.url(), retry_seconds=0.3) as publisher:
        await publisher.publish("orders", "x", tenant="acme")
        proxy.black_hole()
        started = time.monotonic()
        failures: list[PublishFailed] = []

        async def fail(event_id: str) -> None:
            try:
                await publisher.publish("orders", "x", tenant="acme", event_id=event_id)
            except PublishFailed as error:
                failures.append(error)

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(fail(f"e-{number}"))

        assert time.monotonic() - started < 5
    assert {failure.event_id for failure in failures} == {f"e-{number}" for number in range(20)}
    kinds = {failure.event_id: type(failure) for failure in failures}
    assert kinds.pop("e-0") is PublishFailed
    assert set(kinds.values()) == {PublishRefused}
    assert len(entries(redis_server, ORDERS)) == 1


async def test_broker_that_is_down_is_not_an_unknown_outcome() -> None:
    """Where no connection could be made, the event is certainly not in the log."""
    async with FaultProxy(("127.0.0.1", 1)) as proxy:
        proxy.refuse()
        async with Publisher.from_url(proxy.url(), retry_seconds=0.2) as publisher:
            with pytest.raises(PublishRefused, match=r"gave up after 0\.2 s: ConnectionError"):
                await publisher.publish("orders", "x", tenant="acme")


async def test_lasting_refusal_of_a_passing_kind_ends_in_time(redis_server: RedisServer) -> None:
    """A broker that stays read-only is given up after retry_seconds, with its reason."""
    redis_server.execute("REPLICAOF", "127.0.0.1", 1)
    async with Publisher.from_url(redis_server.url, retry_seconds=0.2) as publisher:
        with pytest.raises(PublishRefused, match="ReadOnlyError"):
            await publisher.publish("orders", "x", tenant="acme")


async def test_wrong_password_is_told_at_once_and_never_shown(redis_server: RedisServer) -> None:
    """A denied login is no outage: no retry, and the password is in no error."""
    redis_server.execute("CONFIG", "SET", "requirepass", "right")
    async with Publisher.from_url(
        f"redis://:hunter2@127.0.0.1:{redis_server.port}", retry_seconds=30
    ) as publisher:
        with pytest.raises(PublishRefused, match="AuthenticationError") as caught:
            await publisher.publish("orders", "x", tenant="acme")

    assert "hunter2" not in f"{caught.value!r} {caught.value} {publisher!r}"


async def test_failure_of_many_names_every_unconfirmed_event(
    proxy: FaultProxy, redis_server: RedisServer
) -> None:
    """What is not in `unconfirmed` is in the log; publishing the rest again completes it, in order."""
    outgoing = [
        Outgoing("orders", "x", "y" * 500, tenant="acme", event_id=f"e-{number}") for number in range(600)
    ]
    async with Publisher.from_url(proxy.url(), retry_seconds=0.3) as publisher:
        await publisher.publish("orders", "x", tenant="acme", event_id="first")
        proxy.up.cut_after_bytes = 150_000
        proxy.refuse()

        with pytest.raises(PublishFailed, match=r"event e-\d+ and \d+ more: not confirmed") as caught:
            await publisher.publish_many(outgoing)

        unconfirmed = caught.value.unconfirmed
        confirmed = len(outgoing) - len(unconfirmed)
        assert unconfirmed == tuple(f"e-{number}" for number in range(confirmed, 600))
        assert delivered_ids(redis_server, ORDERS)[: confirmed + 1] == [
            "first",
            *(f"e-{number}" for number in range(confirmed)),
        ]
        await proxy.accept()
        await publisher.publish_many(outgoing[confirmed:])

    assert delivered_ids(redis_server, ORDERS) == ["first", *(f"e-{number}" for number in range(600))]


async def test_closing_ends_calls_on_their_way(proxy: FaultProxy) -> None:
    """A call that waits for Redis fails at once when its publisher is closed."""
    publisher = Publisher.from_url(proxy.url(), retry_seconds=30)
    await publisher.publish("orders", "x", tenant="acme")
    proxy.black_hole()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_failure(publisher))
        await eventually(lambda: proxy.up.swallowed_bytes > 0)
        await publisher.aclose()
        async with asyncio.timeout(2):
            failure = await waiting

    assert isinstance(failure, PublishFailed | PublisherClosed)


async def _failure(publisher: Publisher) -> Exception | None:
    try:
        await publisher.publish("orders", "x", tenant="acme")
    except (PublishFailed, PublisherClosed) as error:
        return error
    return None
