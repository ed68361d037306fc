"""What every scenario needs: Redis, a publisher and an edge, each on its core."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bench.edge import PREFIX, Edge, write_tokens
from tests.bench.load import Clients, Load
from tests.bench.machine import Cores
from tests.bench.order import Order
from tests.bench.peers import PEERS, Peer
from tests.bench.processes import Process
from tests.bench.report import Section
from tests.kit.redis_server import RedisServer

__all__ = ["Plan", "Rig", "Scenario"]

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. *full* takes the long runs that the targets are written for.

    *pairs* are of fanwire and the floor, *peer_pairs* of each of the *peers* and the floor.
    """

    cores: Cores
    full: bool = False
    pairs: int = 7
    peer_pairs: int = 3
    rounds: int = 3
    idle_connections: int = 15_000
    peers: tuple[Peer, ...] = PEERS


Scenario = Callable[[Plan], Section]


class Rig:
    """A fresh Redis, a publisher and an edge that is ready. Use it as a context manager."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._stack = ExitStack()
        self.edge: Edge
        self.broker_pid: int
        self._publisher: Process
        self._folder: Path

    def __enter__(self) -> Self:
        """Start everything; raises NoAnswer where something does not."""
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanwire-bench-")))
            # Redis inherits this process's core.
            redis = stack.enter_context(RedisServer())
            self.broker_pid = redis.pid
            command = [sys.executable, "-m", "tests.bench.publisher", "fanwire", f"{redis.url} {PREFIX}"]
            # First, so that its topic is known when the edge starts.
            self._publisher = stack.enter_context(Process(command, self._cores.load))
            self._publisher.read(_START_SECONDS)
            self.edge = stack.enter_context(Edge(redis.url, self._cores.server))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def load(self, count: int, subscribe: str | None = None, **options: Any) -> Load:
        """Describe clients of the edge, each with a token of its own; entering opens them."""
        tokens = self._folder / f"tokens-{count}"
        if not tokens.exists():
            write_tokens(tokens, count)
        return Load(self.edge.port, Clients(count, subscribe, tokens, **options), self._cores.load)

    def publish(self, order: Order) -> dict[str, Any]:
        """Publish and return how late the publisher was."""
        return self._publisher.ask(str(order), _START_SECONDS + order.seconds * 2)

    def begin(self, order: Order) -> None:
        """Publish and do not wait for the end."""
        self._publisher.tell(str(order))

    def finish(self, order: Order) -> dict[str, Any]:
        """Wait for what `begin` began, and return how late the publisher was."""
        return self._publisher.read(_START_SECONDS + order.seconds * 2)
