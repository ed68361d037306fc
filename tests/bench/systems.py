"""The systems that are compared, each started on a core of its own and spoken to in its own protocol."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

from tests.bench.audience import Audience
from tests.bench.edge import write_tokens
from tests.bench.events import channel_name
from tests.bench.load import Clients, Floor, Load, floor_line, subscription
from tests.bench.machine import Cores
from tests.bench.order import Order
from tests.bench.peers.peer import Peer, Place
from tests.bench.processes import NoAnswer, Process, is_listening, poll_until
from tests.bench.rig import Rig
from tests.kit import processes
from tests.kit.processes import free_port
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import SECRET

__all__ = ["FanwireRunning", "FloorRunning", "PeerRunning", "Running", "start"]

_START_SECONDS = 20.0


class Running(Protocol):
    """A server that runs, and what feeds it. Use it as a context manager."""

    @property
    def pid(self) -> int:
        """The process whose cost is measured, with its children."""
        ...

    @property
    def broker_pid(self) -> int | None:
        """The broker's process, where the system has one beside it."""
        ...

    def open(self, audience: Audience) -> Load:
        """Describe clients; entering opens them."""
        ...

    def publish(self, order: Order) -> dict[str, Any]:
        """Publish and return how late the publisher was; raises NoAnswer."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...


def start(peer: Peer | None, cores: Cores) -> Running:
    """Describe a server: of a peer, or an edge where there is none."""
    return FanwireRunning(cores) if peer is None else PeerRunning(peer, cores)


class FloorRunning:
    """The C program that sends with a bare `send`; it feeds itself."""

    broker_pid: int | None = None

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._floor: Floor

    def __enter__(self) -> Self:
        self._floor = Floor(self._cores.server)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._floor.close()

    @property
    def pid(self) -> int:
        return self._floor.pid

    def open(self, audience: Audience) -> Load:
        """Describe clients; whatever they subscribe to, an order decides which of them get its events."""
        clients = Clients(
            audience.count,
            subscription([channel_name("b:1")]),
            sample=audience.sample,
            in_flight=audience.in_flight,
            deadline_seconds=audience.deadline_seconds,
        )
        return Load(self._floor.port, clients, self._cores.load)

    def publish(self, order: Order, channels: int = 1) -> dict[str, Any]:
        """Send the same to the clients, which are spread over *channels* channels."""
        return self._floor.ask(floor_line(order, channels), _START_SECONDS + order.seconds * 2)


class FanwireRunning:
    """A real edge with its defaults, its Redis and a publisher."""

    def __init__(self, cores: Cores) -> None:
        self.rig = Rig(cores)

    def __enter__(self) -> Self:
        self.rig.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.rig.__exit__(*exc_info)

    @property
    def pid(self) -> int:
        return self.rig.edge.pid

    @property
    def broker_pid(self) -> int | None:
        return self.rig.broker_pid

    def open(self, audience: Audience) -> Load:
        """Describe clients, each with a token of its own."""
        return self.rig.load(
            audience.count,
            subscription([channel_name(place) for place in audience.channels]),
            groups=audience.groups,
            sample=audience.sample,
            in_flight=audience.in_flight,
            deadline_seconds=audience.deadline_seconds,
        )

    def publish(self, order: Order) -> dict[str, Any]:
        """Publish and return how late the publisher was."""
        return self.rig.publish(order)


class PeerRunning:
    """A peer's server with its Redis, where it has one, and a publisher."""

    def __init__(self, peer: Peer, cores: Cores) -> None:
        self._peer, self._cores = peer, cores
        self._stack = ExitStack()
        self._redis: RedisServer | None = None
        self._server: processes.Process
        self._publisher: Process
        self._place: Place

    def __enter__(self) -> Self:
        """Start everything; raises NoAnswer with what the server wrote."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanwire-bench-")))
            if self._peer.uses_redis:
                # Redis inherits this process's core.
                self._redis = stack.enter_context(RedisServer())
            port = free_port()
            publish_port = free_port() if self._peer.has_own_publish_port else port
            redis_url = self._redis.url if self._redis else ""
            self._place = Place(port, publish_port, redis_url, folder, SECRET)
            # Pinned before it starts: some take as many threads as they find cores.
            pinned = ("taskset", "-c", str(self._cores.server), *self._peer.command(self._place))
            self._server = stack.enter_context(processes.Process(pinned))
            self._await_server()
            command = [
                "-m",
                "tests.bench.publisher",
                self._peer.sink,
                self._peer.publish_address(self._place),
            ]
            self._publisher = stack.enter_context(Process([sys.executable, *command], self._cores.load))
            self._publisher.read(_START_SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def broker_pid(self) -> int | None:
        return None if self._redis is None else self._redis.pid

    def open(self, audience: Audience) -> Load:
        """Describe clients, each with a token of its own."""
        tokens = self._place.folder / f"tokens-{audience.count}"
        if not tokens.exists():
            write_tokens(tokens, audience.count)
        clients = Clients(
            audience.count,
            self._peer.subscribe(audience.channels),
            tokens,
            audience.in_flight,
            audience.sample,
            deadline_seconds=audience.deadline_seconds,
            groups=audience.groups,
            dialect=self._peer.dialect,
            path=self._peer.path(audience.channels),
            event_prefix=self._peer.event_prefix,
        )
        return Load(self._place.port, clients, self._cores.load)

    def publish(self, order: Order) -> dict[str, Any]:
        """Publish and return how late the publisher was."""
        return self._publisher.ask(str(order), _START_SECONDS + order.seconds * 5)

    def _await_server(self) -> None:
        def is_up() -> bool:
            if self._server.returncode is not None:
                raise NoAnswer(f"{self._peer.name} ended with {self._server.returncode}")
            return is_listening(self._place.port) and is_listening(self._place.publish_port)

        try:
            poll_until(is_up, f"{self._peer.name} listens", _START_SECONDS)
        except NoAnswer as error:
            raise NoAnswer(f"{error}; it wrote:\n{self._server.output[-2000:]}") from error
