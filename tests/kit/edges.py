"""An edge as operators run it: a process of its own, configured by its environment."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Mapping
from typing import Self

from tests.kit.canaries import CANARIES
from tests.kit.processes import Process, free_port, http_status
from tests.kit.redis_server import SharedRedis
from tests.kit.tokens import SECRET

__all__ = ["EdgeProcess", "edge_on"]

HOST = "127.0.0.1"
READY_SECONDS = 20.0
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


class EdgeProcess:
    """One edge on free loopback ports; an async context manager that waits for /readyz.

    *settings* are environment variables (`FANWIRE_…`), which win over those for the tests: the key of
    `tests.kit.tokens`, no grace at the end, and any number of pings, since tests ask with them where they
    wait. Output is kept and shown where waiting fails.
    """

    def __init__(self, broker_url: str, prefix: str = "fanwire", **settings: str) -> None:
        self.port = free_port()
        self.ops_port = free_port()
        self.process = Process(
            (sys.executable, "-m", "fanwire_edge.main"),
            {
                "FANWIRE_BROKER__URL": broker_url,
                "FANWIRE_BROKER__PREFIX": prefix,
                "FANWIRE_EDGE__HOST": HOST,
                "FANWIRE_EDGE__PORT": str(self.port),
                "FANWIRE_EDGE__OPS_PORT": str(self.ops_port),
                "FANWIRE_EDGE__DRAIN_GRACE_SECONDS": "0",
                "FANWIRE_AUTH__JWT__SECRET": SECRET,
                "FANWIRE_LIMITS__PINGS_PER_SECOND": "0",
                **settings,
            },
        )

    @property
    def url(self) -> str:
        """The URL of the WebSocket."""
        return f"ws://{HOST}:{self.port}/ws"

    @property
    def public_url(self) -> str:
        """The public port without a path."""
        return f"http://{HOST}:{self.port}"

    @property
    def ops_url(self) -> str:
        """The ops port without a path."""
        return f"http://{HOST}:{self.ops_port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def output(self) -> str:
        """Everything logged so far."""
        return self.process.output

    @property
    def resident_bytes(self) -> int:
        """The memory that the process holds."""
        with open(f"/proc/{self.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> Self:
        """Start and return at once."""
        self.process.start()
        return self

    async def wait_ready(self, deadline_seconds: float = READY_SECONDS) -> Self:
        """Wait until /readyz answers 200; raises AssertionError with the output."""
        await self.process.wait_for_http(f"{self.ops_url}/readyz", 200, deadline_seconds)
        return self

    async def readyz(self) -> int | None:
        """Return what /readyz answers, or None where nothing does."""
        return await asyncio.to_thread(http_status, f"{self.ops_url}/readyz")

    async def metrics(self) -> Mapping[str, float]:
        """Return every sample of /metrics under its name and labels, as Prometheus writes them."""
        text = await asyncio.to_thread(_get, f"{self.ops_url}/metrics")
        CANARIES.check(text, "/metrics")
        return {series: float(value) for series, value in _SAMPLE.findall(text)}

    async def metric(self, series: str) -> float:
        """Return one sample, 0 where it does not exist (yet)."""
        return (await self.metrics()).get(series, 0.0)

    def terminate(self, grace_seconds: float = 10.0) -> int:
        """Send SIGTERM, wait and return the exit status; blocks the loop meanwhile."""
        return self.process.terminate(grace_seconds)

    def kill(self) -> int:
        """Send SIGKILL, wait and return the exit status."""
        return self.process.kill()

    def pause(self) -> None:
        """Freeze the process by SIGSTOP and return once it is."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it run on after pause()."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it by SIGKILL and forget its output."""
        self.process.close()

    async def __aenter__(self) -> Self:
        self.start()
        try:
            return await self.wait_ready()
        except BaseException:
            self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.close()


def edge_on(shared_redis: SharedRedis, **settings: str) -> EdgeProcess:
    """Return an edge on a test's part of the shared server."""
    return EdgeProcess(shared_redis.url, shared_redis.prefix, **settings)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:
        text: str = response.read().decode()
        return text
