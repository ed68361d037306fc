"""A real edge as a child process, beside a real Redis."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from fanwire_protocol.event import Event, encode_event, uuid7
from fanwire_protocol.keys import stream_key, topics_key
from fanwire_publisher import Publisher
from tests.edge.wire import Wire
from tests.kit.canaries import CANARIES, PAYLOAD_CANARY
from tests.kit.processes import Process, free_port
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import SECRET, make_token

__all__ = [
    "CANARY",
    "NO_BUDGETS",
    "ORDERS",
    "READY_SECONDS",
    "RunningEdge",
    "edge_process",
    "running_edge",
    "stop",
]

CANARY = PAYLOAD_CANARY
ORDERS = "orders"
PROGRAM = ("-m", "fanwire_edge.main")
# For tests that send more than anybody should, and are about something else.
NO_BUDGETS: dict[str, Any] = {
    f"LIMITS__{name}_PER_SECOND": "0" for name in ("COMMANDS", "PINGS", "CHURN", "TENANT")
}
READY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """A ready edge."""

    process: Process
    port: int
    ops_port: int
    redis: SharedRedis

    def token(self, tenant: str | None = "acme", **claims: Any) -> str:
        """Return a token of `u-1`, who may read the tenant's orders; the output must never show it."""
        return make_token(tenant=tenant, **{"scope": "orders:read", **claims})

    def ops_url(self, path: str) -> str:
        """Return a URL of the ops port."""
        return f"http://127.0.0.1:{self.ops_port}{path}"

    async def dial(self) -> Wire:
        """Connect to the public port."""
        return await Wire.dial(self.port)

    @asynccontextmanager
    async def client(self, tenant: str = "acme", **claims: Any) -> AsyncIterator[Wire]:
        """Connect, upgrade with a token and read the greeting."""
        async with await self.dial() as wire:
            yield await wire.open(f"Authorization: Bearer {self.token(tenant, **claims)}")

    def publisher(self) -> Publisher:
        """Return a publisher for this edge's log; use it with `async with`."""
        return Publisher.from_url(self.redis.url, prefix=self.redis.prefix, allow_system=True)

    def add(self, topic: str, fields: Mapping[bytes, bytes] | bytes) -> str:
        """Append an entry as it is, bytes as its field `e`, and return its id."""
        pairs = {b"e": fields} if isinstance(fields, bytes) else fields
        flat = [part for pair in pairs.items() for part in pair]
        key = stream_key(self.redis.prefix, topic, 0)
        entry_id: bytes = self.redis.server.execute("XADD", key, "*", *flat)
        return entry_id.decode()

    def add_event(self, topic: str, tenant: str, number: int = 0, **fields: Any) -> str:
        """Append an event on the order *number* as any program could, and return its entry's id."""
        return self.add(topic, encode_event(order(tenant, number, **fields)))

    async def families(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """Return the samples of /metrics by name, then by labels."""
        text = await asyncio.to_thread(_get, self.ops_url("/metrics"))
        CANARIES.check(text, "/metrics")
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    async def metric(self, name: str, **labels: str) -> float:
        """Return one sample, 0 where it is not there yet."""
        samples = (await self.families()).get(f"fanwire_{name}", {})
        return samples.get(tuple(sorted(labels.items())), 0.0)


def order(tenant: str | None, number: int = 0, **fields: Any) -> Event:
    """Return an event on the order *number*, with an id of its own and the canary in its payload."""
    values: dict[str, Any] = {
        "id": uuid7(1_700_000_000_000, os.urandom(10)),
        "type": "order.updated",
        "tenant": tenant,
        "time": 1_700_000_000_000,
        "payload": {"number": number, "canary": CANARY},
        "resource": ("orders", str(number)),
        **fields,
    }
    return Event(**values)


def edge_process(
    redis: SharedRedis,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
    **settings: str | None,
) -> tuple[Process, int, int]:
    """Describe an edge, and return it with its two ports.

    *settings* go without `FANWIRE_`, None leaves one out; *arguments* win over those of the fixture,
    *program* is what Python runs.
    """
    port, ops_port = free_port(), free_port()
    values: dict[str, str | None] = {
        "BROKER__URL": redis.url,
        "BROKER__PREFIX": redis.prefix,
        "AUTH__JWT__SECRET": SECRET,
        "EDGE__OPS_PORT": str(ops_port),
        "EDGE__DRAIN_GRACE_SECONDS": "0",
        **settings,
    }
    variables = {f"FANWIRE_{name}": value for name, value in values.items() if value is not None}
    argv = (sys.executable, *program, "--host", "127.0.0.1", "--port", str(port), *arguments)
    return Process(argv, {**variables, **(environment or {})}), port, ops_port


@asynccontextmanager
async def running_edge(
    redis: SharedRedis,
    *,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
    **settings: str | None,
) -> AsyncIterator[RunningEdge]:
    """Run an edge, which knows the topic `orders`, until the block ends.

    Then it must stop in order, and have kept its secrets.
    """
    redis.server.execute("SADD", topics_key(redis.prefix), ORDERS)
    process, port, ops_port = edge_process(redis, environment=environment, program=program, **settings)
    async with process:
        await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz", 200, READY_SECONDS)
        edge = RunningEdge(process, port, ops_port, redis)
        yield edge
        assert await stop(edge) == 0, process.output[-4000:]


async def stop(edge: RunningEdge, *, is_told: bool = False) -> int:
    """Send SIGTERM, unless it was told already, check the whole output and return the exit status."""
    if edge.process.returncode is None and not is_told:
        edge.process.child.terminate()
    status = await edge.process.wait_for_exit()
    output = edge.process.output
    CANARIES.check(output, "the output of the edge")
    assert "Traceback" not in output, output[-8000:]
    return status


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
        return text
