"""The end of an edge: not ready, closed to newcomers, a grace, then goodbyes at a pace, then nobody left."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from fanwire_edge.drain import HURRY_SECONDS
from fanwire_edge.main import RECONNECT_JITTER_MS
from tests.edge.running import CANARY, ORDERS, RunningEdge, running_edge, stop
from tests.edge.wire import DEADLINE_SECONDS, HttpAnswer, Wire, upgrade_request
from tests.kit.processes import http_status
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

DRAINING = 1012
# What an edge needs beyond a drain: to see the signal, to clean up, and to end its interpreter.
EXIT_SECONDS = 1.5


@dataclass(slots=True)
class Client:
    """A client that reads until its end, and what it was given."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    code: int | None = None

    async def read(self) -> None:
        """Read to the end; the library answers CLOSE."""
        try:
            async for text in self.socket:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass  # Whether the code means success is not the library's to say.
        self.code = self.socket.close_code

    @property
    def is_told(self) -> bool:
        """Whether it was told to go."""
        last: str = self.messages[-1]["type"]
        return last == "disconnect"

    @property
    def told_at(self) -> float:
        """When it was told to go, by the edge's clock."""
        return datetime.fromisoformat(self.messages[-1]["timestamp"]).timestamp()

    @property
    def retry_after_ms(self) -> int:
        """When it is to come back."""
        delay: int = self.messages[-1]["payload"]["retryAfterMs"]
        return delay

    def numbers(self) -> list[int]:
        """Return the numbers of the orders that it heard of."""
        return [each["payload"]["number"] for each in self.messages if each["type"] == "order.updated"]


async def opened(edge: RunningEdge) -> Client:
    """Return a client that heard its greeting; raises what `websockets.connect` raises."""
    headers = {"Authorization": f"Bearer {edge.token()}"}
    url = f"ws://127.0.0.1:{edge.port}/ws"
    client = Client(await connect(url, additional_headers=headers, proxy=None, ping_interval=None))
    client.messages.append(json.loads(await client.socket.recv()))
    return client


@asynccontextmanager
async def crowd(edge: RunningEdge, count: int) -> AsyncIterator[list[Client]]:
    """Connect *count* clients that read until their end, and wait for it at the end of the block."""
    clients = [await opened(edge) for _ in range(count)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.read())
        yield clients


async def readiness(edge: RunningEdge) -> int | None:
    return await asyncio.to_thread(http_status, edge.ops_url("/readyz"))


async def upgrade(edge: RunningEdge) -> HttpAnswer:
    """Ask for an upgrade with a good token."""
    async with await edge.dial() as wire:
        return await wire.ask(upgrade_request(f"Authorization: Bearer {edge.token()}"))


def assert_draining(answer: HttpAnswer) -> None:
    assert answer.status == 503
    assert answer.error["code"] == "draining"
    assert 1 <= int(answer.headers["retry-after"]) <= 5


def peak(times: Sequence[float], span: float) -> int:
    """Return the largest number of *times* within *span* seconds."""
    return max(sum(start <= each < start + span for each in times) for start in times)


async def test_edge_takes_leave_in_order(shared_redis: SharedRedis, loop_name: str) -> None:
    """200 clients hear all that happens until their goodbye; goodbyes keep the pace; nobody new gets in."""
    count, grace, pace = 200, 1.0, 150
    settings: dict[str, Any] = {
        "EDGE__LOOP": loop_name,
        "EDGE__DRAIN_GRACE_SECONDS": f"{grace:g}",
        "EDGE__DRAIN_PER_SECOND": str(pace),
    }
    async with running_edge(shared_redis, **settings) as edge:
        async with crowd(edge, count) as clients:
            for client in clients:
                await client.socket.send('{"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}')
            await eventually(lambda: all(client.messages[-1]["type"] == "subscribed" for client in clients))

            began = time.time()
            edge.process.signal(signal.SIGTERM)
            await eventually(lambda: readiness_is(edge, 503), grace / 2)
            assert_draining(await upgrade(edge))
            edge.add_event(ORDERS, "acme", 1)
            await eventually(lambda: all(client.numbers() == [1] for client in clients))
            assert time.time() < began + grace

            await eventually(lambda: sum(client.is_told for client in clients) >= count // 4)
            edge.add_event(ORDERS, "acme", 2)
            assert await readiness(edge) == 503
            assert_draining(await upgrade(edge))

        assert await edge.process.wait_for_exit(DEADLINE_SECONDS) == 0
        elapsed = time.time() - began

    assert {client.code for client in clients} == {DRAINING}
    assert all(client.is_told for client in clients)
    heard_last = sum(client.numbers() == [1, 2] for client in clients)
    assert heard_last >= count // 4, "those whose goodbye was still to come heard the second event"
    times = sorted(client.told_at for client in clients)
    # By a clock of milliseconds no goodbye was early.
    assert all(at >= began + grace + index / pace - 0.002 for index, at in enumerate(times))
    assert peak(times, 0.5) <= 1.2 * pace / 2
    assert elapsed <= grace + count / pace + EXIT_SECONDS
    assert_spread([client.retry_after_ms for client in clients])


async def readiness_is(edge: RunningEdge, status: int) -> bool:
    return await readiness(edge) == status


def assert_spread(delays: Sequence[int]) -> None:
    """Fail where a delay leaves the window, or a quarter of the window has too few of them."""
    quarter = RECONNECT_JITTER_MS // 4
    shares = [sum(low <= delay < low + quarter for delay in delays) for low in range(0, 4 * quarter, quarter)]
    assert sum(shares) == len(delays)
    assert min(shares) >= len(delays) / 10, shares


async def test_who_comes_while_the_edge_leaves_is_refused_or_told(
    shared_redis: SharedRedis, loop_name: str
) -> None:
    """Of a stream of newcomers each gets 503, or a goodbye, or finds the port closed; none is dropped."""
    outcomes = list[str]()
    entered = list[Client]()

    async def keep_coming(edge: RunningEdge) -> None:
        while edge.process.returncode is None:
            try:
                client = await opened(edge)
                entered.append(client)
                await client.read()
                outcomes.append(f"told {client.code}" if client.is_told else f"dropped {client.code}")
            except InvalidStatus as refusal:
                outcomes.append(f"refused {refusal.response.status_code}")
            except (InvalidMessage, OSError):
                outcomes.append("closed")
            except InvalidHandshake as problem:
                outcomes.append(repr(problem))

    settings: dict[str, Any] = {"EDGE__LOOP": loop_name, "EDGE__DRAIN_PER_SECOND": "20"}
    async with running_edge(shared_redis, **settings) as edge, asyncio.TaskGroup() as tasks:
        for _ in range(12):
            tasks.create_task(keep_coming(edge))
        await eventually(lambda: len(entered) >= 6)
        edge.process.signal(signal.SIGTERM)
        assert await edge.process.wait_for_exit() == 0

    assert set(outcomes) <= {f"told {DRAINING}", "refused 503", "closed"}, outcomes
    assert outcomes.count(f"told {DRAINING}") == len(entered) >= 6
    assert "refused 503" in outcomes


@asynccontextmanager
async def stuck(edge: RunningEdge) -> AsyncIterator[None]:
    """Connect a client that joins, subscribes, and then reads no more though much is sent to it."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", edge.port))
    async with Wire(*await asyncio.open_connection(sock=narrow)) as wire:
        await wire.open(f"Authorization: Bearer {edge.token()}")
        await wire.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:1"}, "subscribed")
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        payload = {"canary": CANARY, "text": "x" * 16_384}
        for number in range(60):
            edge.add_event(ORDERS, "acme", number, resource=("orders", "1"), payload=payload)
        await eventually(lambda: edge.metric("connections_behind"))
        yield


async def test_who_does_not_read_is_aborted_when_the_time_is_over(
    shared_redis: SharedRedis, loop_name: str
) -> None:
    """A stuck socket costs no more than `drain_seconds`; its neighbour leaves in order."""
    settings: dict[str, Any] = {
        "EDGE__LOOP": loop_name,
        "EDGE__DRAIN_SECONDS": "1",
        "DELIVERY__MAX_BEHIND_BYTES": str(2**24),
    }
    async with running_edge(shared_redis, **settings) as edge:
        async with stuck(edge), crowd(edge, 1) as [neighbour]:
            began = time.monotonic()
            edge.process.signal(signal.SIGTERM)
            assert await edge.process.wait_for_exit() == 0
            elapsed = time.monotonic() - began
        assert "drain_timeout" in edge.process.output

    assert 0.9 <= elapsed <= 1 + EXIT_SECONDS
    assert neighbour.code == DRAINING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("grace", ["20", "0"], ids=["in the grace", "in the goodbyes"])
async def test_a_second_signal_is_fast(shared_redis: SharedRedis, grace: str, number: signal.Signals) -> None:
    """All are told at once; who gives no answer is waited for a second, not for the rest of the drain."""
    settings: dict[str, Any] = {"EDGE__DRAIN_GRACE_SECONDS": grace, "EDGE__DRAIN_PER_SECOND": "1"}
    async with running_edge(shared_redis, **settings) as edge, edge.client(), crowd(edge, 40) as clients:
        edge.process.signal(signal.SIGTERM)
        await eventually(lambda: readiness_is(edge, 503))
        if grace == "0":
            await eventually(lambda: any(client.is_told for client in clients))
        assert sum(client.is_told for client in clients) <= 3
        began = time.monotonic()
        edge.process.signal(number)
        assert await edge.process.wait_for_exit() == 0
        elapsed = time.monotonic() - began

    assert elapsed <= HURRY_SECONDS + EXIT_SECONDS
    assert {client.code for client in clients} == {DRAINING}
    assert len({client.retry_after_ms for client in clients}) > 30


async def test_a_drain_too_short_for_its_pace_ends_in_time(shared_redis: SharedRedis) -> None:
    """The pace is kept until the time is over; who is left then is told and aborted at once."""
    settings: dict[str, Any] = {"EDGE__DRAIN_SECONDS": "2", "EDGE__DRAIN_PER_SECOND": "10"}
    async with running_edge(shared_redis, **settings) as edge, crowd(edge, 100) as clients:
        began = time.monotonic()
        assert await stop(edge) == 0
        elapsed = time.monotonic() - began

    assert elapsed <= 2 + EXIT_SECONDS
    assert {client.code for client in clients} == {DRAINING}
    times = [client.told_at for client in clients]
    paced = [moment for moment in times if moment < max(times) - 0.15]
    assert 10 <= len(paced) <= 20
    assert peak(paced, 1.0) <= 12


async def test_a_drain_of_no_time_is_over_at_once(shared_redis: SharedRedis) -> None:
    """Grace and pace do not matter then; clients are told nevertheless."""
    settings: dict[str, Any] = {
        "EDGE__DRAIN_SECONDS": "0",
        "EDGE__DRAIN_GRACE_SECONDS": "20",
        "EDGE__DRAIN_PER_SECOND": "1",
    }
    async with running_edge(shared_redis, **settings) as edge, crowd(edge, 3) as clients:
        began = time.monotonic()
        assert await stop(edge) == 0
        elapsed = time.monotonic() - began

    assert elapsed <= EXIT_SECONDS
    assert {client.code for client in clients} == {DRAINING}
