"""Revocations under load, on two edges: how soon they are felt, and that nothing comes through after them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fanwire_cli.history import Report
from fanwire_publisher import Publisher
from tests.bench.machine import raise_file_limit
from tests.faults.readers import resource
from tests.faults.rig import rounds, say
from tests.kit.edges import EdgeProcess
from tests.kit.fleet import finish_all, running
from tests.kit.proxy import FaultProxy
from tests.kit.recorded_log import read_log
from tests.kit.recorded_session import Identity
from tests.kit.recording import Recorder, RecordingPublisher, check, rights
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

USERS = rounds(10, 50)
CONNECTIONS = rounds(100, 1000)
REVOKED = rounds(5, 20)
GROUPS = 10
EVENTS_PER_SECOND = rounds(50, 100)
# A little more than what may reach somebody after `revoke` returned.
LATER_SECONDS = 1.3
PERMISSION_CHANGED, PERMISSION_REVOKED = 4003, 4503
READY_SECONDS = rounds(30, 120)
OUTAGE_SECONDS = rounds(2, 60)


@pytest.fixture(autouse=True)
def _many_files() -> None:
    """Edges inherit it."""
    raise_file_limit(20_000)


class Crowd:
    """Clients of some users on several edges, an even load for them, and the history of it all."""

    def __init__(self, directory: Path, redis: RedisServer, urls: Sequence[str]) -> None:
        self.paths = [directory / name for name in ("published", "seen", "log")]
        self._redis = redis
        self._urls = urls
        self.clients: list[RecordingClient] = []
        self.tokens: dict[str, str] = {}
        self._is_stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RecordingPublisher]:
        """Connect everybody and publish until the block ends; then judge the history."""
        async with AsyncExitStack() as stack:
            published, seen = [stack.enter_context(Recorder(path)) for path in self.paths[:2]]
            real = await stack.enter_async_context(Publisher.from_url(self._redis.url))
            self.publisher = RecordingPublisher(real, published)
            await self.publisher.publish("orders", "first", tenant="acme")
            self.clients = [self._client(seen, number) for number in range(CONNECTIONS)]
            async with running(self.clients, READY_SECONDS), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish())
                yield self.publisher
                self._is_stopping = True
                gone = [each for each in self.clients if PERMISSION_REVOKED in each.session.close_codes]
                for client in gone:
                    await client.end(None)
                await finish_all(
                    [each for each in self.clients if each not in gone], self._redis.url, deadline_seconds=60
                )

    async def verdict(self) -> Report:
        """Judge the history; raises AssertionError with what is wrong."""
        with Recorder(self.paths[2]) as log:
            await read_log(log, self._redis.url)
        return check(*self.paths)

    def of(self, user: str) -> list[RecordingClient]:
        """Return the clients of a user."""
        return [each for each in self.clients if each.who.token == self.tokens[user]]

    def _client(self, recorder: Recorder, number: int) -> RecordingClient:
        user = f"u-{number % USERS}"
        granted = ["tenant:acme:resource:orders:*", "tenant:acme:resource:jobs:*"]
        token = self.tokens.setdefault(user, make_token(sub=user, channels=granted, iat=int(time.time())))
        who = Identity(f"client-{number}", "acme", token, rights("acme", user, channels=granted))
        group = str(number % GROUPS)
        wanted = [resource("orders", group), resource("jobs", group)]
        timing = Timing(ping_seconds=2, shortest_seconds=0.1, longest_seconds=0.5)
        urls = [self._urls[number // USERS % len(self._urls)]]
        return RecordingClient(recorder, urls, who, wanted, timing)

    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        due, number = loop.time(), 0
        while not self._is_stopping:
            due += 1 / EVENTS_PER_SECOND
            await asyncio.sleep(due - loop.time())
            number += 1
            topic, user = ("orders", "jobs")[number % 2], f"u-{number % USERS}"
            await self.publisher.publish(
                topic, "u", tenant="acme", resource=(topic, str(number // 2 % GROUPS)), to=("user", user)
            )


def described(seconds: Sequence[float]) -> str:
    """Return percentiles in milliseconds."""
    ordered = sorted(seconds)
    at = {
        name: ordered[int(part * (len(ordered) - 1))] * 1000 for name, part in (("p50", 0.5), ("p99", 0.99))
    }
    figures = ", ".join(f"{name} {value:.0f} ms" for name, value in at.items())
    return f"{figures}, most {ordered[-1] * 1000:.0f} ms of {len(ordered)}"


async def status_of(url: str, token: str) -> int:
    """Return how a handshake with *token* is answered."""
    try:
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


async def test_revoked_users_are_gone_at_once_on_all_edges(redis_server: RedisServer, tmp_path: Path) -> None:
    """Users are revoked in turn under load: every connection of theirs closes, no event that is published a
    second later reaches them, their tokens are refused, and nobody else misses anything."""
    async with EdgeProcess(redis_server.url) as first, EdgeProcess(redis_server.url) as second:
        edges = [first, second]
        crowd = Crowd(tmp_path, redis_server, [edge.url for edge in edges])
        begun: dict[str, int] = {}
        users = [f"u-{number}" for number in range(REVOKED)]
        async with crowd.running() as publisher:
            for user in users:
                begun[user] = time.monotonic_ns()
                await publisher.revoke("acme", user=user)
                await asyncio.sleep(0.05)
            clients = {user: crowd.of(user) for user in users}
            names = {each.who.name: user for user in users for each in clients[user]}
            for each in (client for user in users for client in clients[user]):
                await eventually(lambda: each.session.close_codes == [PERMISSION_REVOKED], 10)  # noqa: B023
            # For the events to be published that must not reach anybody any more.
            await asyncio.sleep(LATER_SECONDS)
            for edge in edges:
                assert await status_of(edge.url, crowd.tokens[users[0]]) == 401
        taken = [
            (at - begun[names[client]]) / 1e9
            for client, at in closes(crowd.paths[1]).items()
            if client in names
        ]
        counted = [await edge.metric("fanwire_revocation_latency_seconds_count") for edge in edges]
        spent = [await edge.metric("fanwire_revocation_latency_seconds_sum") for edge in edges]
        report = await crowd.verdict()

    say(f"from revoke() to the close at the client: {described(taken)}")
    say(f"at the edges, from the broker's clock: {sum(spent) / sum(counted) * 1000:.1f} ms on average")
    say(str(report))
    assert len(taken) == CONNECTIONS * REVOKED // USERS
    assert counted == [REVOKED, REVOKED]


def closes(path: Path) -> dict[str, int]:
    """Return when the last connection of each client closed."""
    owners: dict[str, str] = {}
    found: dict[str, int] = {}
    for line in map(json.loads, path.read_text().splitlines()):
        if line["op"] == "connect":
            owners[line["connection"]] = line["client"]
        elif line["op"] == "closed":
            found[owners[line["connection"]]] = line["time"]
    return found


async def test_a_withdrawn_channel_ends_for_those_it_was_taken_from(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Whether their edge closes the connection or ends the subscription, they go on with their other channels
    and lose nothing of those, and others notice nothing."""
    async with (
        EdgeProcess(redis_server.url) as closing,
        EdgeProcess(redis_server.url, FANWIRE_AUTHORIZATION__ON_REVOKE="unsubscribe") as ending,
    ):
        crowd = Crowd(tmp_path, redis_server, [closing.url, ending.url])
        async with crowd.running() as publisher:
            await publisher.revoke("acme", user="u-0", channels=["tenant:acme:resource:orders:*"])
            sent_back = [each for each in crowd.of("u-0") if each.urls == [closing.url]]
            for each in sent_back:
                await eventually(lambda: each.session.close_codes == [PERMISSION_CHANGED], 10)  # noqa: B023
                await eventually(lambda: each.is_ready, 10)  # noqa: B023
            await asyncio.sleep(LATER_SECONDS)
            assert not any(each.session.close_codes for each in crowd.clients if each not in sent_back)
        say(str(await crowd.verdict()))
        assert len(sent_back) == CONNECTIONS // USERS // 2


async def test_what_was_revoked_while_an_edge_could_not_read_is_felt_at_once_when_it_can(
    redis_server: RedisServer,
) -> None:
    """F26: the broker is unreachable for one edge. When it is back, whom it did not hear of is gone within
    two seconds, whether the order stands in the stream yet or only in the hash."""
    async with FaultProxy(redis_server.address) as proxy, AsyncExitStack() as stack:
        publisher = await stack.enter_async_context(Publisher.from_url(redis_server.url))
        edge = await stack.enter_async_context(EdgeProcess(proxy.url()))
        tokens = [make_token(sub=f"u-{number}") for number in range(3)]
        sockets = []
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            sockets.append(
                await stack.enter_async_context(connect(edge.url, additional_headers=headers, proxy=None))
            )
        proxy.refuse()
        proxy.reset()
        await publisher.revoke("acme", user="u-0")
        await asyncio.sleep(OUTAGE_SECONDS / 2)
        await publisher.revoke("acme", user="u-1")
        redis_server.execute("XTRIM", "fanwire:control", "MAXLEN", 1)
        await asyncio.sleep(OUTAGE_SECONDS / 2)
        if OUTAGE_SECONDS > 30:
            assert await status_of(edge.url, tokens[2]) == 503, "it cannot know what was revoked"
        await proxy.accept()
        back = time.monotonic()
        for socket in sockets[:2]:
            await eventually(lambda: socket.close_code == PERMISSION_REVOKED, 15)  # noqa: B023
        say(f"{time.monotonic() - back:.2f} s after the broker was back")
        await edge.wait_ready()
        assert [await status_of(edge.url, token) for token in tokens] == [401, 401, 101]
        assert sockets[2].close_code is None
