"""A recorded run: edges, a crowd of clients under load, and the checker's verdict at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fanwire_cli.history import Report
from fanwire_cli.history.report import Kind
from fanwire_publisher import Publisher
from tests.faults.crowd import TENANTS, LibraryClient, client_of
from tests.faults.load import TOPICS, Load
from tests.faults.outages import operations, save
from tests.faults.rig import rounds, say
from tests.faults.verdicts import judge
from tests.kit.edges import EdgeProcess
from tests.kit.fleet import finish_all, running
from tests.kit.recorded_log import ends_of_log, read_log
from tests.kit.recording import Recorder, RecordingPublisher
from tests.kit.recording_client import RecordingClient, Timing
from tests.kit.wait import eventually

__all__ = ["Scene", "edges", "scene"]

CLIENTS = rounds(36, 200)
EVENTS_PER_SECOND = rounds(120, 500)
PROGRESS_SECONDS = 60.0
LEVEL_SECONDS = 30.0
READY_SECONDS = 60.0
EAGER = Timing(ping_seconds=rounds(1, 3) / 2, silence_seconds=60)


class Scene:
    """What takes part in one run. `log_url` is where the log is read at the end."""

    def __init__(self, name: str, directory: Path, log_url: str, publisher: Publisher) -> None:
        self.name = name
        self.log_url = log_url
        self.paths = [directory / part for part in ("published", "seen", "log")]
        self.published, self.seen = Recorder(self.paths[0]), Recorder(self.paths[1])
        self.publisher = RecordingPublisher(publisher, self.published)
        self.clients: list[RecordingClient] = []
        self.libraries: list[LibraryClient] = []
        self.loads: list[Load] = []
        self.figures: dict[str, Any] = {}

    @property
    def confirmed(self) -> int:
        """How many events have a position."""
        return sum(load.confirmed for load in self.loads)

    def join(self, urls: Sequence[str], count: int, timing: Timing = EAGER) -> list[RecordingClient]:
        """Add *count* clients that start on the first of *urls* and fail over to the next."""
        first = len(self.clients)
        new = [client_of(self.seen, urls, number, timing) for number in range(first, first + count)]
        self.clients += new
        return new

    def join_library(self, url: str) -> LibraryClient:
        """Add a client of the library."""
        number = len(self.libraries)
        client = LibraryClient(self.seen, url, TENANTS[number % len(TENANTS)], 1000 + number)
        self.libraries.append(client)
        return client

    @asynccontextmanager
    async def under_load(self, per_second: float = EVENTS_PER_SECOND) -> AsyncIterator[None]:
        """Let everybody connect, publish meanwhile, and at the end wait until everybody has everything."""
        async with running(self.clients, READY_SECONDS), _reading(self.libraries):
            self.loads = [Load(self.publisher, tenant, per_second / len(TENANTS)) for tenant in TENANTS]
            async with asyncio.TaskGroup() as tasks:
                for load in self.loads:
                    tasks.create_task(load.run())
                try:
                    yield
                finally:
                    for load in self.loads:
                        load.stop()
            await self._finish()

    @property
    def gaps(self) -> list[Any]:
        """Every gap that anybody was told of."""
        told = [gap for client in self.clients for gap in client.session.gaps]
        return [*told, *(gap for library in self.libraries for gap in library.gaps)]

    async def more(self, seconds: float) -> None:
        """Wait until so many events more are confirmed as the load has in *seconds*."""
        target = self.confirmed + seconds * EVENTS_PER_SECOND
        await eventually(lambda: self.confirmed >= target, PROGRESS_SECONDS, "events that are confirmed")

    async def all_ready(self, clients: Sequence[RecordingClient], connections: int) -> None:
        """Wait until each of *clients* is connected and answered for the *connections*-th time at least."""

        def are_ready() -> bool:
            return all(each.is_ready and each.connections >= connections for each in clients)

        await eventually(are_ready, LEVEL_SECONDS, "clients that are back")

    async def all_level(self, deadline_seconds: float) -> None:
        """Wait until pongs tell every client that it has all that is in the log at this moment."""
        # Topics of a tenant are on one stream, since there is one partition.
        ends = {key.split(":")[1]: end for key, end in (await ends_of_log(self.log_url)).items()}
        async with asyncio.timeout(deadline_seconds):
            for client in self.clients:
                await eventually(lambda: _is_level(client, ends), deadline_seconds, "level")  # noqa: B023

    async def verdict(self, **figures: Any) -> Report:
        """Judge the history, print and save its figures; raises AssertionError with what is wrong."""
        with Recorder(self.paths[2]) as log:
            await read_log(log, self.log_url)
        self.published.close()
        self.seen.close()
        report, told_twice = judge(self.paths, operations(self.paths[1]))
        self.figures |= figures
        self.figures |= {
            "history": dict(report.statistics),
            "false_gaps": report.counts[Kind.FALSE_GAP],
            "again_after_failover": told_twice,
            "publish_failed": sum(load.failed for load in self.loads),
        }
        save(f"{self.name}-{CLIENTS}", self.figures)
        say(f"{self.name}: {self.figures}")
        return report

    async def _finish(self) -> None:
        """End every client once it has everything; libraries do not ping, so a last event tells it."""
        until = time.monotonic_ns()
        for library in self.libraries:
            for topic in (*TOPICS, "channels"):
                event_id = f"last-{library.who.name}-{topic}"
                resource = (topic, "last")
                position = await self.publisher.publish(
                    topic, "last", tenant=library.who.tenant, resource=resource, event_id=event_id
                )
                has_it = lambda: library.has(event_id, topic, position)  # noqa: B023, E731
                await eventually(has_it, LEVEL_SECONDS, f"{event_id} at the library")
            library.end(until)
        await finish_all(self.clients, self.log_url, deadline_seconds=LEVEL_SECONDS)


def _is_level(client: RecordingClient, ends: dict[str, str]) -> bool:
    return all(client.session.has_reached(topic, end) for topic, end in ends.items())


@asynccontextmanager
async def scene(
    name: str, directory: Path, log_url: str, publish_url: str | None = None
) -> AsyncIterator[Scene]:
    """Give a scene whose publisher goes to *publish_url*, by default where the log is."""
    async with Publisher.from_url(publish_url or log_url, allow_system=True) as publisher:
        yield Scene(name, directory, log_url, publisher)


@asynccontextmanager
async def edges(count: int, broker_url: str, **settings: str) -> AsyncIterator[list[EdgeProcess]]:
    """Start *count* edges at once, and wait for all."""
    started: list[EdgeProcess] = []
    async with AsyncExitStack() as stack:
        for _ in range(count):
            edge = EdgeProcess(broker_url, **settings)
            stack.callback(edge.close)
            started.append(edge.start())
        for edge in started:
            await edge.wait_ready()
        yield started


@asynccontextmanager
async def _reading(libraries: Sequence[LibraryClient]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(library.run()) for library in libraries]
        try:
            await eventually(lambda: all(library.is_ready for library in libraries), READY_SECONDS)
            yield
        finally:
            for task in reading:
                task.cancel()
