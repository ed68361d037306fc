"""Several workers as one edge: `edge.workers`, one public port, one ops port (PROTOCOL §9)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio

from tests.edge.running import READY_SECONDS, RunningEdge, edge_process, running_edge, stop
from tests.edge.wire import Wire
from tests.kit.processes import Process, http_status
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually

WORKERS = 2
CHANNEL = {"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(session_redis: RedisServer) -> AsyncIterator[RunningEdge]:
    """An edge of two workers with the settings it has by default."""
    async with running_edge(SharedRedis(session_redis, "workers"), EDGE__WORKERS=str(WORKERS)) as edge:
        yield edge


def workers_of(process: Process) -> dict[int, psutil.Process]:
    """Return the workers that run, by their numbers."""
    found = {}
    for child in psutil.Process(process.pid).children():
        try:
            arguments = child.cmdline()
        except psutil.NoSuchProcess:
            continue
        if "--worker" in arguments:
            found[int(arguments[-1])] = child
    return found


def ports_of(worker: psutil.Process) -> set[int]:
    """Return the ports of the clients that *worker* serves."""
    return {each.raddr.port for each in worker.net_connections("tcp") if each.raddr}


def port_of(client: Wire) -> int:
    """Return the client's own port."""
    port: int = client.writer.get_extra_info("sockname")[1]
    return port


@asynccontextmanager
async def subscribers(edge: RunningEdge, count: int = 16) -> AsyncIterator[dict[int, list[Wire]]]:
    """Connect and subscribe *count* clients, and yield them by the worker that serves them."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(edge.client()) for _ in range(count)]
        for client in clients:
            await client.call(CHANNEL, "subscribed")
        placed = defaultdict(list)
        for number, worker in workers_of(edge.process).items():
            ports = ports_of(worker)
            placed[number] = [client for client in clients if port_of(client) in ports]
        assert sum(map(len, placed.values())) == count
        yield placed


async def numbers(client: Wire, count: int) -> list[int]:
    """Return the numbers of the next *count* orders that *client* hears of."""
    return [each["payload"]["number"] for each in await client.messages(count)]


async def ready(edge: RunningEdge) -> bool:
    return await edge.metric("workers_ready") == WORKERS


@pytest.mark.asyncio(loop_scope="module")
async def test_connections_are_spread_and_each_client_gets_every_event(pair: RunningEdge) -> None:
    """Who serves a client makes no difference; /metrics adds up what all do."""
    before = await pair.metric("frames_out_total")
    async with subscribers(pair) as placed:
        assert all(placed[number] for number in range(1, WORKERS + 1)), placed
        for number in range(5):
            pair.add_event("orders", "acme", number)
        for client in (client for clients in placed.values() for client in clients):
            assert await numbers(client, 5) == [0, 1, 2, 3, 4]

        assert await pair.metric("connections_active") == 16
        assert await pair.metric("frames_out_total") == before + 5 * 16
        assert await pair.metric("tail_readers") == WORKERS
        assert await pair.metric("tail_reading") == 1
        assert await pair.metric("publish_to_write_seconds_count") >= 5 * WORKERS


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_that_is_killed_takes_no_other_with_it(pair: RunningEdge) -> None:
    """The clients of the others notice nothing, its own resume and miss nothing, it comes back, and no total
    goes backwards."""
    await eventually(lambda: ready(pair), READY_SECONDS)
    killed = workers_of(pair.process)[1]
    async with subscribers(pair) as placed:
        pair.add_event("orders", "acme", 1)
        [offset] = {(await client.message())["offset"] for client in [*placed[1], *placed[2]]}
        before = await counters(pair)
        killed.kill()
        for client in placed[1]:
            assert (await client.closing()).code != 1012
        pair.add_event("orders", "acme", 2)
        assert_no_less(await counters(pair), before)
        for client in placed[2]:
            assert await numbers(client, 1) == [2]

        async with pair.client() as resumed:
            await resumed.call({**CHANNEL, "since": offset}, "subscribed")
            assert await numbers(resumed, 1) == [2]
        await eventually(lambda: ready(pair), READY_SECONDS)
        async with subscribers(pair) as anew:
            assert anew[1]
            pair.add_event("orders", "acme", 3)
            for client in [*placed[2], *anew[1], *anew[2]]:
                assert await numbers(client, 1) == [3]

    assert workers_of(pair.process)[1].pid != killed.pid
    assert_no_less(await counters(pair), before)
    assert await pair.metric("worker_restarts_total") == 1
    assert f"worker_ended worker=0 child=1 status={-signal.SIGKILL}" in pair.process.output


async def counters(edge: RunningEdge) -> dict[tuple[str, Any], float]:
    """Return every counter and histogram of the edge."""
    families = await edge.families()
    return {
        (name, labels): value
        for name, samples in families.items()
        if name.endswith(("_total", "_bucket", "_count", "_sum"))
        for labels, value in samples.items()
    }


def assert_no_less(now: Mapping[Any, float], before: Mapping[Any, float]) -> None:
    assert before
    assert {key: value for key, value in before.items() if now.get(key, 0) < value} == {}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_that_is_told_to_stop_drains_and_another_takes_its_place(pair: RunningEdge) -> None:
    """An operator may renew one worker after the other; the edge stays ready."""
    await eventually(lambda: ready(pair), READY_SECONDS)
    told = workers_of(pair.process)[2]
    async with subscribers(pair) as placed:
        told.terminate()
        for client in placed[2]:
            assert (await client.closing()).code == 1012
            await client.answer_close(1012)
        assert await asyncio.to_thread(http_status, pair.ops_url("/readyz")) == 200
        await eventually(lambda: workers_of(pair.process).get(2, told).pid != told.pid, READY_SECONDS)
        await eventually(lambda: ready(pair), READY_SECONDS)
        for client in placed[1]:
            await client.silence()


async def test_sigterm_drains_all_workers_at_the_pace_of_one_edge(shared_redis: SharedRedis) -> None:
    """Not ready at once, each client is told, the two together keep the pace, and the exit status is 0.

    Also where every process gets the signal, as from systemd: who is told twice then does not hurry.
    """
    settings: dict[str, Any] = {"EDGE__WORKERS": "2", "EDGE__LOOP": "asyncio", "EDGE__DRAIN_PER_SECOND": "20"}
    async with running_edge(shared_redis, **settings) as edge, subscribers(edge) as placed:
        clock = asyncio.get_running_loop().time
        began, slowest = clock(), max(map(len, placed.values()))
        for pid in (edge.process.pid, *(worker.pid for worker in workers_of(edge.process).values())):
            os.kill(pid, signal.SIGTERM)
        await edge.process.wait_for_http(edge.ops_url("/readyz"), 503)
        async with asyncio.TaskGroup() as tasks:
            for client in (client for clients in placed.values() for client in clients):
                tasks.create_task(leave(client))
        # Each of the two says ten goodbyes a second, the first one at once.
        assert clock() - began >= (slowest - 1) / 10
        assert await stop(edge, is_told=True) == 0


async def leave(client: Wire) -> None:
    end = await client.closing()
    assert (end.code, end.farewell["code"]) == (1012, 1012)
    await client.answer_close(1012)


async def test_a_second_signal_is_fast_and_lines_tell_their_worker(shared_redis: SharedRedis) -> None:
    """All are told at once; in the log 0 is the supervisor."""
    settings: dict[str, Any] = {
        "EDGE__WORKERS": "2",
        "EDGE__DRAIN_GRACE_SECONDS": "20",
        "LOGGING__JSON": "true",
    }
    async with running_edge(shared_redis, **settings) as edge, subscribers(edge) as placed:
        edge.process.signal(signal.SIGINT)
        await edge.process.wait_for_http(edge.ops_url("/readyz"), 503)
        edge.process.signal(signal.SIGINT)
        for client in (client for clients in placed.values() for client in clients):
            await leave(client)
        assert await edge.process.wait_for_exit(4) == 0
        lines = [json.loads(line) for line in edge.process.output.splitlines()]

    assert {line["worker"] for line in lines} == {0, 1, 2}
    assert {line["worker"] for line in lines if line["event"] == "connection_opened"} == {1, 2}
    assert [line["worker"] for line in lines if line["event"] in ("edge_started", "edge_stopped")] == [0, 0]


async def test_what_no_worker_can_start_with_ends_the_edge_once(shared_redis: SharedRedis) -> None:
    """Exit status 2 and one line, as with one process, and not again and again."""
    shared_redis.server.execute("HSET", f"{shared_redis.prefix}:_config", "partitions", "3")
    process, _, _ = edge_process(shared_redis, EDGE__WORKERS="2", BROKER__PARTITIONS="4")
    async with process:
        assert await process.wait_for_exit() == 2
        lines = [line for line in process.output.splitlines() if " INFO " not in line]
    assert len(lines) == 1, process
    assert lines[0].startswith("fanwire edge: broker.partitions: 4 ")


async def test_a_port_in_use_ends_it_before_a_worker_starts(shared_redis: SharedRedis) -> None:
    """Also where the kernel would let two edges of one user share it."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process, _, _ = edge_process(shared_redis, "--port", str(port), "--workers", "2")
        async with process:
            assert await process.wait_for_exit() == 2
            [line] = process.output.splitlines()
    assert line.startswith(f"fanwire edge: edge.port: cannot listen on 127.0.0.1:{port}: ")


async def test_workers_end_with_their_supervisor(shared_redis: SharedRedis) -> None:
    """Where it is killed they free the port at once, tell their clients, and are gone."""
    async with running_killed(shared_redis) as edge, subscribers(edge) as placed:
        workers = list(workers_of(edge.process).values())
        edge.process.kill()
        for client in (client for clients in placed.values() for client in clients):
            await leave(client)
        await eventually(lambda: not any(map(runs, workers)))
        with socket.create_server(("127.0.0.1", edge.port)):
            pass


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@asynccontextmanager
async def running_killed(redis: SharedRedis) -> AsyncIterator[RunningEdge]:
    """Run an edge of two workers that need not stop in order."""
    process, port, ops_port = edge_process(redis, EDGE__WORKERS="2")
    async with process:
        await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz", 200, READY_SECONDS)
        yield RunningEdge(process, port, ops_port, redis)


IMPATIENT = """
from fanwire_edge import main, supervisor
supervisor.SILENCE_SECONDS, supervisor.LOOK_SECONDS, supervisor.ANSWER_SECONDS = 2.0, 0.1, 0.5
raise SystemExit(main.main())
"""


async def test_a_worker_that_hangs_is_replaced(shared_redis: SharedRedis) -> None:
    """The kernel would go on to give it clients; here the supervisor's patience is two seconds."""
    async with running_edge(shared_redis, program=("-c", IMPATIENT), EDGE__WORKERS="2") as edge:
        hung = workers_of(edge.process)[1]
        os.kill(hung.pid, signal.SIGSTOP)
        await edge.process.wait_for_output("worker_silent worker=0 child=1")
        assert await asyncio.to_thread(http_status, edge.ops_url("/readyz")) == 200
        await eventually(lambda: ready(edge), READY_SECONDS)
        assert workers_of(edge.process)[1].pid != hung.pid
