"""From start to stop (PROTOCOL §2 `draining`, §5 1012, §9)."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.edge.running import RunningEdge, edge_process, running_edge, stop
from tests.edge.wire import upgrade_request
from tests.kit.processes import http_status
from tests.kit.redis_server import RedisServer, SharedRedis
from tests.kit.wait import eventually


async def test_sigterm_says_goodbye_to_everyone_and_the_edge_ends_with_zero(
    shared_redis: SharedRedis, loop_name: str
) -> None:
    """`disconnect` and 1012, each told to come back at a moment of its own."""
    async with running_edge(shared_redis, EDGE__LOOP=loop_name) as edge:
        clients = [await (await edge.dial()).open(f"Authorization: Bearer {edge.token()}") for _ in range(8)]
        edge.process.signal(signal.SIGTERM)
        delays = set()
        for client in clients:
            async with client:
                end = await client.closing()
                assert end.code == 1012
                assert (end.farewell["code"], end.farewell["reconnect"]) == (1012, True)
                assert 0 <= end.farewell["retryAfterMs"] <= client.greeting["reconnect"]["jitterMs"]
                delays.add(end.farewell["retryAfterMs"])
                await client.answer_close(1012)
        assert len(delays) > 4
        assert await stop(edge, is_told=True) == 0
        assert "edge_stopped" in edge.process.output


async def test_while_it_drains_newcomers_get_503_and_events_still_come(
    shared_redis: SharedRedis, loop_name: str
) -> None:
    """Not ready from the first moment; who is still here is served until told to go."""
    async with (
        running_edge(shared_redis, EDGE__LOOP=loop_name, EDGE__DRAIN_GRACE_SECONDS="1") as edge,
        edge.client() as client,
    ):
        await client.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}, "subscribed")
        token = f"Authorization: Bearer {edge.token()}"
        edge.process.signal(signal.SIGTERM)
        await edge.process.wait_for_http(edge.ops_url("/readyz"), 503)
        assert await asyncio.to_thread(http_status, edge.ops_url("/healthz")) == 200

        async with await edge.dial() as late:
            answer = await late.ask(upgrade_request(token))
            assert (answer.status, answer.error["code"]) == (503, "draining")
            assert int(answer.headers["retry-after"]) >= 0
            assert "www-authenticate" not in answer.headers
        edge.add_event("orders", "acme", 1)
        assert (await client.message())["type"] == "order.updated"
        end = await client.closing()
        assert end.code == 1012
        await client.answer_close(1012)
        assert await stop(edge, is_told=True) == 0


async def test_who_does_not_answer_the_goodbye_does_not_hold_the_edge_up(
    shared_redis: SharedRedis, loop_name: str
) -> None:
    """A client that says nothing, and a request that never ended, are aborted."""
    async with (
        running_edge(shared_redis, EDGE__LOOP=loop_name) as edge,
        edge.client() as client,
        await edge.dial() as half,
    ):
        half.writer.write(b"GET /ws HTTP/1.1\r\n")
        edge.process.signal(signal.SIGTERM)
        assert (await client.closing()).code == 1012
        assert await edge.process.wait_for_exit(6) == 0
        assert await client.rest() == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_edge_that_waits_for_its_broker_is_alive_not_ready_and_can_be_stopped(
    loop_name: str, number: signal.Signals
) -> None:
    """Newcomers get 503 `unavailable`; once the broker comes, they are let in."""
    with RedisServer() as server:
        redis = SharedRedis(server, "late")
        server.kill()
        process, port, ops_port = edge_process(redis, EDGE__LOOP=loop_name)
        async with process:
            edge = RunningEdge(process, port, ops_port, redis)
            await process.wait_for_http(edge.ops_url("/healthz"))
            assert await asyncio.to_thread(http_status, edge.ops_url("/readyz")) == 503
            token = f"Authorization: Bearer {edge.token()}"
            async with await edge.dial() as early:
                answer = await early.ask(upgrade_request(token))
                assert (answer.status, answer.error["code"]) == (503, "unavailable")
                assert "retry-after" in answer.headers
            if number == signal.SIGTERM:
                server.start()
                await process.wait_for_http(edge.ops_url("/readyz"))
                async with edge.client() as client:
                    await client.silence()
            process.signal(number)
            assert await stop(edge, is_told=True) == 0


async def test_what_is_published_after_ready_is_delivered(shared_redis: SharedRedis, loop_name: str) -> None:
    """From the first event on, to who connected at once."""
    async with running_edge(shared_redis, EDGE__LOOP=loop_name) as edge, edge.client() as client:
        await client.call({"type": "subscribe", "channel": "tenant:acme:resource:orders:*"}, "subscribed")
        edge.add_event("orders", "acme", 1)
        assert (await client.message())["channel"] == "tenant:acme:resource:orders:1"


async def test_the_output_is_one_line_for_each_event_of_an_operator_s_interest(edge: RunningEdge) -> None:
    """Opened, denied, closed with the reason; nothing for each event or command."""
    async with edge.client("logged", sub="u-logged") as client:
        client_id = client.client_id
        before = len(edge.process.output)
        await client.call({"type": "subscribe", "channel": "tenant:logged:resource:orders:*"}, "subscribed")
        await client.call({"type": "nonsense"}, "error")
        edge.add_event("orders", "logged", 1)
        await client.message("order.updated")
        assert "logged" not in edge.process.output[before:]
    await eventually(lambda: f'connection_closed_unexpectedly client_id="{client_id}"' in edge.process.output)
    lines = [line for line in edge.process.output.splitlines() if client_id in line]
    assert [line.split()[2] for line in lines] == ["connection_opened", "connection_closed_unexpectedly"]
