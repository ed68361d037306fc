"""An edge as the driver sees it: a child process, its ports and its metrics."""

from __future__ import annotations

import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.bench.events import TENANT
from tests.bench.machine import open_files, run_on
from tests.bench.processes import NoAnswer, poll_until
from tests.kit.processes import Process, free_port, http_status
from tests.kit.tokens import SECRET, make_token

__all__ = ["PREFIX", "Edge", "write_tokens"]

HOST = "127.0.0.1"
PREFIX = "fanwire-bench"
_START_SECONDS = 20.0
_UNLIMITED = "1000000"


class Edge:
    """An edge on one core, with the settings it has by default but for those that slow down on purpose.

    Without *is_open* those too: newcomers are admitted at the usual rate. *settings* are variables of its
    environment. Use it as a context manager.
    """

    def __init__(
        self, redis_url: str, core: int, *, is_open: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self._core = core
        self._ops = f"http://{HOST}:{free_port()}"
        arguments = ("--host", HOST, "--port", str(self.port), "--ops-port", self._ops.rpartition(":")[2])
        environment = {
            "FANWIRE_BROKER__URL": redis_url,
            "FANWIRE_BROKER__PREFIX": PREFIX,
            "FANWIRE_AUTH__JWT__SECRET": SECRET,
            "FANWIRE_EDGE__DRAIN_GRACE_SECONDS": "0",
            "FANWIRE_EDGE__DRAIN_PER_SECOND": _UNLIMITED,
            "FANWIRE_LOGGING__LEVEL": "WARNING",
        }
        if is_open:
            environment |= {
                "FANWIRE_EDGE__ADMISSION_PER_SECOND": _UNLIMITED,
                "FANWIRE_EDGE__ADMISSION_BURST": _UNLIMITED,
                # A million subscriptions of one tenant as fast as they go.
                "FANWIRE_LIMITS__TENANT_PER_SECOND": "0",
            }
        environment |= settings or {}
        self._process = Process.fanwire("edge", *arguments, environment=environment)

    def __enter__(self) -> Self:
        """Return once the edge is ready; raises NoAnswer with what it wrote."""
        self._process.start()
        run_on(self._core, self._process.pid)
        try:
            poll_until(self._is_ready, "the edge is ready", _START_SECONDS)
        except NoAnswer as error:
            output = self._process.output[-4000:]
            self._process.close()
            raise NoAnswer(f"{error}; it wrote:\n{output}") from error
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name, summed over their labels."""
        sums = defaultdict[str, float](float)
        with urllib.request.urlopen(f"{self._ops}/metrics", timeout=5) as response:
            for line in response.read().decode().splitlines():
                if line and not line.startswith("#"):
                    series, _, value = line.rpartition(" ")
                    sums[series.partition("{")[0]] += float(value)
        return dict(sums)

    def metric(self, name: str) -> float:
        """Return one metric; raises NoAnswer where the edge has none of this name."""
        found = self.metrics()
        if name not in found:
            raise NoAnswer(f"the edge has no metric {name}; it has {', '.join(sorted(found))}")
        return found[name]

    def open_sockets(self) -> int:
        """Return how many files and sockets the edge has open; it does not notice the question."""
        return open_files(self.pid)

    def await_connections(self, expected: int, deadline_seconds: float) -> None:
        """Wait until the edge counts *expected* connections; raises NoAnswer."""
        poll_until(
            lambda: self.metric("fanwire_connections_active") == expected,
            f"the edge has {expected} connections",
            deadline_seconds,
            every_seconds=0.1,
        )

    def _is_ready(self) -> bool:
        if self._process.returncode is not None:
            raise NoAnswer(f"the edge ended with status {self._process.returncode}")
        return http_status(f"{self._ops}/readyz") == 200


def write_tokens(path: Path, count: int, tenant: str = TENANT) -> Path:
    """Write *count* tokens, each of a user of its own, who may read every resource of the tenant."""
    channels = [f"tenant:{tenant}:resource:*"]
    path.touch(mode=0o600)
    with path.open("w") as file:
        for number in range(count):
            file.write(make_token(sub=f"u-{number}", tenant=tenant, channels=channels) + "\n")
    return path
