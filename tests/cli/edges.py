"""An edge as `fanwire edge` starts it, for the commands that talk to one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.kit.processes import Process, free_port
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import SECRET

__all__ = ["RunningEdge", "running_edge"]


@dataclass(frozen=True, slots=True)
class RunningEdge:
    """A ready edge: its process, ports, and the environment that commands beside it need."""

    process: Process
    port: int
    ops_port: int
    environment: dict[str, str]

    @property
    def url(self) -> str:
        """The WebSocket URL."""
        return f"ws://127.0.0.1:{self.port}/ws"


@asynccontextmanager
async def running_edge(shared_redis: SharedRedis) -> AsyncIterator[RunningEdge]:
    """Run an edge until the block ends."""
    port, ops_port = free_port(), free_port()
    environment = {
        "FANWIRE_BROKER__URL": shared_redis.url,
        "FANWIRE_BROKER__PREFIX": shared_redis.prefix,
        "FANWIRE_AUTH__JWT__SECRET": SECRET,
        "FANWIRE_EDGE__OPS_PORT": str(ops_port),
        "FANWIRE_EDGE__DRAIN_GRACE_SECONDS": "0",
    }
    argv = ("edge", "--host", "127.0.0.1", "--port", str(port))
    async with Process.fanwire(*argv, environment=environment) as process:
        await process.wait_for_http(f"http://127.0.0.1:{ops_port}/readyz")
        yield RunningEdge(process, port, ops_port, environment)
