"""The service: one process that serves clients, from listening to its last goodbye.

It is an edge by itself, or one of the workers of an edge: then a supervisor answers on the ops port.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import uuid
from random import Random

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fanwire_edge.adapters.prometheus import EdgeCollector, exposition, families
from fanwire_edge.broadcaster import Broadcaster
from fanwire_edge.caretaker import Caretaker
from fanwire_edge.collector import Collector
from fanwire_edge.control import tell_refused
from fanwire_edge.core.topics import Topics
from fanwire_edge.core.totals import Families
from fanwire_edge.drain import Drain
from fanwire_edge.edge import Edge
from fanwire_edge.front import Front
from fanwire_edge.heartbeat import Heartbeat
from fanwire_edge.leash import Leash, Worker
from fanwire_edge.listener import bound, most_half_open, port_of, serve, tune
from fanwire_edge.ops import Readiness, healthz, ops_application
from fanwire_edge.ports import Archive, Companion, Registry, TailLost
from fanwire_edge.server import Door
from fanwire_edge.settings import Settings
from fanwire_protocol.settings import SettingError

__all__ = ["Service"]

TOPICS_SECONDS = 5.0
MAX_PAUSE_SECONDS = 2.0

logger = logging.getLogger("fanwire.service")


class _Stopped(Exception):
    """The process was asked to stop, and has said its goodbyes."""


class Service:
    """Runs one edge."""

    def __init__(
        self,
        settings: Settings,
        edge: Edge,
        door: Door,
        broadcaster: Broadcaster,
        registry: Registry,
        archive: Archive,
        topics: Topics,
        tick_seconds: float,
    ) -> None:
        self._settings = settings
        self._edge = edge
        self._door = door
        self._broadcaster = broadcaster
        self._registry = registry
        self._archive = archive
        self._topics = topics
        self._tick_seconds = tick_seconds
        self._random = Random()
        self._drain = Drain(edge, settings.edge.drain_limits(), Random())
        self._collector = EdgeCollector(edge.tally, edge.gauges)
        # In the order in which they are started; let go of in the other.
        self.companions: list[Companion] = [edge.audit, edge.guard]

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then say goodbye to every connection.

        Raises SettingError where a port cannot be had, or the broker agreed on other settings.
        """
        edge = self._settings.edge
        ops = web.AppRunner(ops_application(self._readiness, self._metrics), access_log=None)
        try:
            await serve(ops, bound(edge.ops_host, edge.ops_port, "edge.ops_port"))
            await self._serve(None, ops_port=port_of(ops))
        finally:
            await ops.cleanup()

    async def run_on(self, leash: Leash) -> None:
        """Do the same as one of several workers, which is told to stop by its *leash* too."""
        await self._serve(leash)

    async def _serve(self, leash: Leash | None, **ports: int) -> None:
        edge = self._settings.edge
        public = Front(self._application(), most_half_open(), self._count_dropped)
        try:
            listener = bound(edge.host, edge.port, "edge.port", is_shared=leash is not None)
            tune(listener, self._settings.delivery)
            for companion in self.companions:
                await companion.start()
            await serve(public, listener)
            event = "edge_started" if leash is None else "worker_listening"
            logger.info(event, extra={"port": port_of(public), **ports})
            await self._work(public, leash)
        finally:
            await public.cleanup()
            for companion in reversed(self.companions):
                await companion.close()
            await self._registry.close()
            await self._archive.close()
        logger.info("edge_stopped" if leash is None else "worker_stopped")

    def _count_dropped(self) -> None:
        self._edge.tally.rate_limited["half_open"] += 1

    async def _work(self, public: web.AppRunner, leash: Leash | None) -> None:
        def half_open() -> list[RequestHandler]:
            return public.server.connections if public.server else []

        heartbeat = Heartbeat(self._edge, self._tick_seconds, is_json=self._settings.heartbeat.json)
        caretaker = Caretaker(self._edge, heartbeat, half_open, self._settings.edge.upgrade_seconds)
        try:
            with Collector(is_for_good=not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._stop_when_told())
                    tasks.create_task(self._follow_log())
                    tasks.create_task(caretaker.run())
                    tasks.create_task(self._edge.errands.run())
                    for companion in self.companions:
                        tasks.create_task(companion.run())
                    if leash is not None:
                        tasks.create_task(leash.obey(self._worker(public)))
        except* _Stopped:
            pass
        except* SettingError as problems:
            raise problems.exceptions[0] from None

    def _worker(self, public: web.AppRunner) -> Worker:
        async def stop_listening() -> None:
            for site in tuple(public.sites):
                await site.stop()

        return Worker(lambda: self._edge.is_ready, self._families, self._drain, stop_listening)

    def _families(self) -> Families:
        return families(self._collector)

    async def _metrics(self) -> bytes:
        return exposition(self._families())

    async def _readiness(self) -> Readiness:
        edge = self._edge
        if edge.is_ready:
            return Readiness(True, "ready")
        return Readiness(False, "draining" if edge.is_draining else "not reading from the broker")

    def _application(self) -> web.Application:
        application = web.Application()
        for path in self._door.paths:
            application.router.add_route("*", path, self._door.open)
        application.router.add_get("/healthz", healthz)
        return application

    async def _follow_log(self) -> None:
        """Agree with the broker on the partitions, then tail it and look for new topics."""
        self._edge.partitions = partitions = await self._agreed_partitions()
        self._topics.open(partitions)
        # A topic found later is read from its first entry, so all that are there must be known before.
        while not await self._look_for_topics():  # noqa: ASYNC110  # asks the broker, no Event tells
            await asyncio.sleep(self._random.uniform(0, MAX_PAUSE_SECONDS))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._broadcaster.run())
            tasks.create_task(self._edge.history.run(self._archive))
            tasks.create_task(self._keep_looking())

    async def _agreed_partitions(self) -> int:
        wanted = self._settings.broker.partitions
        pause = 0.1
        while True:
            try:
                agreed = await self._registry.partitions(wanted)
            except TailLost as problem:
                logger.warning("broker_unreachable", extra={"reason": str(problem)})
                await asyncio.sleep(self._random.uniform(0, pause))
                pause = min(MAX_PAUSE_SECONDS, pause * 2)
                continue
            if wanted is not None and agreed != wanted:
                raise SettingError(
                    f"broker.partitions: {wanted} is not the number that this prefix was begun with; "
                    f"use {agreed}, or another broker.prefix"
                )
            return agreed

    async def _look_for_topics(self) -> bool:
        """Take the topics that are registered; tells whether the broker answered."""
        try:
            refused = self._topics.found(await self._registry.topics())
        except TailLost as problem:
            logger.info("topics_unknown", extra={"reason": str(problem)})
            return False
        tell_refused(refused)
        return True

    async def _keep_looking(self) -> None:
        """Look for new topics and for other readers, for ever."""
        reader = uuid.uuid4().hex
        while True:
            await self._announce(reader)
            await asyncio.sleep(TOPICS_SECONDS)
            await self._look_for_topics()

    async def _announce(self, reader: str) -> None:
        try:
            self._edge.pacing.readers = await self._registry.announce(reader)
        except TailLost as problem:
            # The number of before is the best guess.
            logger.info("readers_unknown", extra={"reason": str(problem)})

    async def _stop_when_told(self) -> None:
        """Drain at the first signal, and hurry at the second."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._drain.signal)
        if self._settings.audit.target == "file":
            # What logrotate sends; the handler also keeps the signal from ending the process.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._edge.audit.reopen)
        await self._drain.told()
        await self._drain.run()
        await self._edge.audit.finish()
        raise _Stopped
