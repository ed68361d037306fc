"""The recording kit against the real thing: what it writes is a history that the checker can judge."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from fanwire_client import Client
from fanwire_publisher import Outgoing, Publisher, PublisherClosed, PublishFailed
from tests.kit.edges import edge_on
from tests.kit.fleet import finish_all, running
from tests.kit.recorded_log import read_log
from tests.kit.recorded_session import Identity
from tests.kit.recording import Recorder, RecordingPublisher, check, recorded, rights
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.resumption import JOINED, Resumption, commands
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

QUICK = Timing(ping_seconds=0.2)
ALL = "tenant:acme:resource:*"


def client_of(
    recorder: Recorder,
    urls: Sequence[str],
    tenant: str,
    number: int,
    *names: str,
    timing: Timing = QUICK,
) -> RecordingClient:
    """Return a client of a user that may read all resources of its tenant."""
    user, pattern = f"u-{number}", f"tenant:{tenant}:resource:*"
    who = Identity(
        f"{tenant}-{number}",
        tenant,
        make_token(sub=user, tenant=tenant, roles=["admin"], channels=[pattern]),
        rights(tenant, user, roles=["admin"], channels=[pattern]),
    )
    return RecordingClient(
        recorder, urls, who, [f"tenant:{tenant}:resource:{name}" for name in names], timing
    )


def lines_of(path: Path, op: str) -> list[dict[str, Any]]:
    """Return the operations of one kind."""
    return [line for line in map(json.loads, path.read_text().splitlines()) if line["op"] == op]


async def publish_some(publisher: RecordingPublisher, count: int) -> None:
    """Publish on resources, users, roles, all and everyone of two tenants."""
    for number in range(count):
        tenant = ("acme", "globex")[number % 2]
        await publisher.publish("orders", "changed", tenant=tenant, resource=("orders", str(number % 3)))
        await publisher.publish("invoices", "changed", tenant=tenant, resource=("invoices", "1"), to=("all",))
        await publisher.publish("direct", "changed", tenant=tenant, to=("user", "u-1"))
        await publisher.publish_channel(f"tenant:{tenant}:role:admin", "changed")
    await publisher.broadcast(None, "changed")
    many = [
        Outgoing(
            "orders", "changed", tenant="acme", resource=("orders", "1"), event_id=f"many-{time.time_ns()}"
        )
        for _ in range(3)
    ]
    await publisher.publish_many(many)


@pytest.mark.parametrize("partitions", [1, 4])
async def test_recorded_run_over_two_edges_is_clean(
    partitions: int, shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Clients of two tenants on two edges, cut and resumed on the other edge: everything came or was told."""
    published, seen, log = (tmp_path / name for name in ("published", "seen", "log"))
    settings = {"FANWIRE_BROKER__PARTITIONS": str(partitions)}
    async with edge_on(shared_redis, **settings) as one, edge_on(shared_redis, **settings) as two:
        prefix = shared_redis.prefix
        real = Publisher.from_url(shared_redis.url, prefix=prefix, partitions=partitions, allow_system=True)
        with Recorder(published) as first, Recorder(seen) as second, Recorder(log) as third:
            clients = [
                client_of(second, (one.url, two.url), tenant, number, *names)
                for tenant in ("acme", "globex")
                for number, names in enumerate((["orders:*"], ["orders:1", "*"], []))
            ]
            async with real, running(clients):
                publisher = RecordingPublisher(real, first)
                await publish_some(publisher, 10)
                for client in clients[::2]:
                    client.cut()
                await publish_some(publisher, 10)
                await eventually(lambda: all(client.is_ready for client in clients), 10)
                await publish_some(publisher, 10)
                await finish_all(clients, shared_redis.url, prefix, partitions=partitions)
            assert await read_log(third, shared_redis.url, prefix) == 3 * (4 * 10 + 1 + 3)

    report = check(published, seen, log)
    assert report.statistics["clients"] == 6
    assert report.statistics["connections"] == 9
    assert report.statistics["events confirmed"] == 3 * (4 * 10 + 1 + 3)
    assert {client.connections for client in clients} == {1, 2}
    ops = {
        line["op"]
        for path in (published, seen, log)
        for line in map(json.loads, path.read_text().splitlines())
    }
    assert {"published", "entry", "positions", "event", "closed", "end"} <= ops


async def test_client_leaves_an_edge_that_is_frozen(shared_redis: SharedRedis, tmp_path: Path) -> None:
    """An edge that answers nothing is given up for the next one, and nothing is lost on the way."""
    path = tmp_path / "history"
    async with edge_on(shared_redis) as one, edge_on(shared_redis) as two:
        real = Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix)
        with Recorder(path) as recorder:
            timing = Timing(ping_seconds=0.2, silence_seconds=1.0)
            client = client_of(recorder, [one.url, two.url], "acme", 1, "orders:*", timing=timing)
            async with real, running([client]):
                publisher = RecordingPublisher(real, recorder)
                one.pause()
                await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))
                await eventually(lambda: client.connections == 2 and client.is_ready, 10)
                await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))
                await finish_all([client], shared_redis.url, shared_redis.prefix)
    report = check(path)

    assert client.session.events + report.statistics["told by gaps"] == 2


class _Impatient(RecordingClient):
    """Is pinged before it waits for a frame, so also when `connected` has not come yet."""

    async def _receive(self, socket: ClientConnection) -> str | bytes:
        await self.ping()
        return await super()._receive(socket)


async def test_ping_before_the_connection_is_there_asks_for_nothing(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """Whoever pings a client while it is coming back does not keep it from asking for its channels."""
    who = Identity("c", "acme", make_token(sub="u-1", tenant="acme", channels=[ALL]), rights("acme", "u-1"))
    async with edge_on(shared_redis) as edge:
        with Recorder(tmp_path / "history") as recorder:
            client = _Impatient(recorder, [edge.url], who, [ALL], QUICK)
            async with running([client]):
                client.cut()
                await eventually(lambda: client.connections == 2 and client.is_ready, 10)
                await client.end(None)


async def test_recorded_fault_is_found(shared_redis: SharedRedis, tmp_path: Path) -> None:
    """A frame that is taken out of a recorded run is missed, and the check raises with its event."""
    path = tmp_path / "history"
    async with edge_on(shared_redis) as edge:
        real = Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix)
        with Recorder(path) as recorder:
            client = client_of(recorder, [edge.url], "acme", 1, "orders:*")
            async with real, running([client]):
                publisher = RecordingPublisher(real, recorder)
                for _ in range(5):
                    await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))
                await finish_all([client], shared_redis.url, shared_redis.prefix)
    lost = lines_of(path, "event")[2]["event_id"]
    check(path)
    kept = [line for line in path.read_text().splitlines() if not ('"event"' in line and lost in line)]
    path.write_text("\n".join(kept))

    with pytest.raises(AssertionError, match=f"lost: .*\n.*event {lost}"):
        check(path)


async def test_what_the_library_yields_is_recorded(shared_redis: SharedRedis, tmp_path: Path) -> None:
    """Events of `fanwire_client` become a session that hides its reconnects."""
    path = tmp_path / "history"
    token = make_token(channels=["tenant:acme:resource:*"])
    async with edge_on(shared_redis) as edge:
        real = Publisher.from_url(shared_redis.url, prefix=shared_redis.prefix)
        with Recorder(path) as recorder:
            async with real, Client(edge.url, token=token) as client:
                publisher = RecordingPublisher(real, recorder)
                subscription = client.subscribe("tenant:acme:resource:orders:*")
                items = recorded(subscription, recorder, "library", "acme")
                async with asyncio.TaskGroup() as tasks:
                    task = tasks.create_task(_take(items, 5))
                    await eventually(lambda: recorder.operations >= 3)
                    for _ in range(5):
                        await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))
                assert len(task.result()) == 5
                recorder.write("end", client="library", until=time.monotonic_ns())
    report = check(path)

    assert report.statistics["frames"] == 5
    assert lines_of(path, "connect")[0]["hides_reconnects"] is True


async def _take(items: Any, count: int) -> list[Any]:
    return [await anext(items) for _ in range(count)]


async def test_publisher_that_fails_is_in_doubt_or_not(redis_server: RedisServer, tmp_path: Path) -> None:
    """Redis that dies leaves an event in doubt; a closed publisher has certainly not sent it."""
    path = tmp_path / "history"
    real = Publisher.from_url(redis_server.url, retry_seconds=0.3)
    with Recorder(path) as recorder:
        publisher = RecordingPublisher(real, recorder)
        await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))
        redis_server.pause()
        with pytest.raises(PublishFailed):
            await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))
        redis_server.resume()
        await real.aclose()
        with pytest.raises(PublisherClosed):
            await publisher.publish("orders", "changed", tenant="acme", resource=("orders", "1"))

    assert len(lines_of(path, "published")) == 1
    assert [line["definite"] for line in lines_of(path, "publish_failed")] == [False, True]


async def test_event_is_written_down_before_it_is_sent(redis_server: RedisServer, tmp_path: Path) -> None:
    """The file names an event whose publisher dies now."""
    recorder = Recorder(tmp_path / "history")
    async with Publisher.from_url(redis_server.url) as real, asyncio.TaskGroup() as tasks:
        redis_server.pause()
        publisher = RecordingPublisher(real, recorder)
        task = tasks.create_task(publisher.publish("orders", "changed", tenant="acme"))
        await eventually(lambda: lines_of(recorder.path, "publish"))
        task.cancel()
    recorder.close()

    assert lines_of(recorder.path, "publish_failed")[0]["definite"] is False
    redis_server.resume()


def test_lines_are_whole_and_few_writes(tmp_path: Path) -> None:
    """Lines wait in memory and are written together, never a part of one."""
    path = tmp_path / "history"
    with Recorder(path, buffer_bytes=1000) as recorder:
        for number in range(100):
            recorder.write("closed", connection="c", code=number)
            assert path.read_text() == "" or path.read_text().endswith("}\n")

    assert [line["code"] for line in lines_of(path, "closed")] == list(range(100))


# What a client keeps


def test_channel_resumes_from_where_it_was_answered() -> None:
    """What was not answered keeps the positions of the connection before."""
    kept = Resumption(["a", "b"])
    kept.connected({"t": "1"}, None)
    kept.answered(["a"], {"t": "2"}, None)
    kept.advanced({"t": "3"})
    kept.lost()
    assert (kept.since("a"), kept.since("b"), kept.since(JOINED)) == ({"t": "3"}, None, {"t": "3"})

    kept.connected({"t": "9"}, None)
    kept.lost()

    assert kept.since("a") == {"t": "3"}
    assert kept.since(JOINED) == {"t": "9"}


def test_gap_that_is_due_is_not_forgotten_in_a_cut() -> None:
    """After `recovered: false` the old positions count until one comes that lies after the gap."""
    kept = Resumption(["a"])
    kept.connected({"t": "1"}, None)
    kept.answered(["a"], {"t": "1"}, None)
    kept.lost()
    kept.connected({"t": "8"}, None)
    kept.answered(["a"], {"t": "8"}, False)
    kept.lost()
    assert kept.since("a") == {"t": "1"}

    kept.connected({"t": "8"}, None)
    kept.answered(["a"], {"t": "8"}, False)
    kept.told("t", "9")
    kept.advanced({})
    kept.lost()

    assert kept.since("a") == {"t": "9"}


def test_commands_fit_and_ask_for_all() -> None:
    """However many channels, each command is within 4,096 bytes and none is left out."""
    names = [f"tenant:acme:resource:orders:{number:0100}" for number in range(100)]
    kept = Resumption(names)
    made = list(commands(kept, kept.unanswered))

    assert [name for part, _ in made for name in part] == names
    assert all(len(command) <= 4096 for _, command in made)
    assert len(made) == 4
