"""The ops port: health, readiness and metrics (PROTOCOL §9)."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.edge.running import RunningEdge
from tests.edge.wire import upgrade_request
from tests.kit.processes import http_status
from tests.kit.wait import eventually

GAUGES = {
    "workers_ready",
    "connections_active",
    "connections_behind",
    "subscriptions",
    "channels_active",
    "log_bytes",
    "log_records",
    "tail_reading",
    "tail_readers",
    "tail_lag_seconds",
    "tasks",
}
COUNTERS = {
    "connections_opened",
    "connections_closed",
    "handshakes",
    "events_read",
    "events_invalid",
    "events_unroutable",
    "frames_out",
    "bytes_out",
    "batches",
    "commands",
    "errors_out",
    "gaps",
    "audit_lines",
    "audit_lost",
    "tail_lost",
    "topics_refused",
    "roles_unjoined",
    "orders",
    "worker_restarts",
}
HISTOGRAM = {
    *("publish_to_write_seconds_bucket", "publish_to_write_seconds_sum"),
    *("revocation_latency_seconds_bucket", "revocation_latency_seconds_sum"),
}
LABELS = {"reason", "result", "code", "decision", "le", "limit", "operation"}


async def _status(url: str) -> int | None:
    return await asyncio.to_thread(http_status, url)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_the_ops_port_answers(edge: RunningEdge, path: str) -> None:
    """A running edge is alive, ready, and says how it is."""
    assert await _status(edge.ops_url(path)) == 200


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 404), ("/metrics", 404)])
async def test_the_public_port_tells_the_world_only_that_it_lives(
    edge: RunningEdge, path: str, status: int
) -> None:
    """Metrics and readiness are for operators."""
    assert await _status(f"http://127.0.0.1:{edge.port}{path}") == status


async def test_no_connection_is_opened_on_the_ops_port(edge: RunningEdge) -> None:
    """`/ws` is on the public port only."""
    assert await _status(edge.ops_url("/ws")) == 404


async def test_every_metric_is_there(edge: RunningEdge, tenant: str) -> None:
    """Those with labels as soon as there was something to count."""
    await _use(edge, tenant)
    names = {name.removeprefix("fanwire_") for name in await edge.families()}

    assert names >= GAUGES
    assert names >= {f"{name}_total" for name in COUNTERS - {"gaps"}}
    assert names >= HISTOGRAM


async def test_metrics_count_what_happened(edge: RunningEdge, tenant: str) -> None:
    """Each event and each frame once; the histogram has each event in one bucket."""
    channel = f"tenant:{tenant}:resource:orders:*"
    names = ("events_read_total", "frames_out_total", "bytes_out_total", "batches_total")
    async with edge.client(tenant) as one, edge.client(tenant) as two:
        for client in (one, two):
            await client.call({"type": "subscribe", "channel": channel}, "subscribed")
        before = [await edge.metric(name) for name in names]
        latency = await edge.metric("publish_to_write_seconds_bucket", le="+Inf")
        for number in range(5):
            edge.add_event("orders", tenant, number)
        for client in (one, two):
            assert len(await client.messages(5)) == 5
        after = [await edge.metric(name) for name in names]

        delta = [new - old for new, old in zip(after, before, strict=True)]
        assert delta[:2] == [5, 10]
        assert delta[2] > 10 * 200
        assert 1 <= delta[3] <= 5
        assert await edge.metric("publish_to_write_seconds_bucket", le="+Inf") == latency + 5
        assert await edge.metric("log_records") >= 5
        assert await edge.metric("tail_lag_seconds") < 5
        assert await edge.metric("tail_reading") == 1


async def test_the_number_of_series_does_not_depend_on_who_connects(edge: RunningEdge, tenant: str) -> None:
    """After 200 tenants and channels nobody has seen before there are as many series as after one."""
    await _use(edge, tenant)
    before = await edge.families()
    for _ in range(200):
        await _use(edge, f"t-{uuid.uuid4()}")
    after = await edge.families()

    assert {name: set(samples) for name, samples in after.items()} == {
        name: set(samples) for name, samples in before.items()
    }
    labels = {label for samples in after.values() for pairs in samples for label, _ in pairs}
    assert labels <= LABELS


async def test_connections_have_no_task_of_their_own(edge: RunningEdge, tenant: str) -> None:
    """Twenty connections, and not one asyncio task more than with none."""
    async with asyncio.timeout(20):
        await eventually(lambda: _is_zero(edge))
        before = await edge.metric("tasks")
        clients = [edge.client(tenant) for _ in range(20)]
        for client in clients:
            await client.__aenter__()
        try:
            assert await edge.metric("connections_active") == 20
            assert await edge.metric("tasks") <= before
        finally:
            for client in clients:
                await client.__aexit__(None, None, None)


async def _is_zero(edge: RunningEdge) -> bool:
    return await edge.metric("connections_active") == 0


async def _use(edge: RunningEdge, tenant: str) -> None:
    """Connect, be refused, subscribe, make a mistake, receive an event, leave."""
    async with await edge.dial() as wire:
        assert (await wire.ask(upgrade_request())).status == 401
    async with edge.client(tenant, sub=f"u-{tenant}", roles=[f"r-{tenant}", "no role"]) as client:
        channel = f"tenant:{tenant}:resource:orders:{tenant}"
        await client.call({"type": "subscribe", "channel": channel}, "subscribed")
        await client.call({"type": "subscribe", "channel": f"nonsense:{tenant}"}, "error")
        await client.call({"type": "subscribe", "channel": f"tenant:{tenant}:user:x"}, "error")
        edge.add_event("orders", tenant, resource=("orders", tenant), type=f"type-{tenant[:20]}")
        assert (await client.message())["channel"] == channel
