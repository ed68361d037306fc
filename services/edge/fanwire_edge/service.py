"""The service: one edge process, from listening to its last goodbye."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from random import Random

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fanwire_edge.adapters.prometheus import edge_registry
from fanwire_edge.broadcaster import Broadcaster, tell_refused
from fanwire_edge.caretaker import Caretaker
from fanwire_edge.core.topics import Topics
from fanwire_edge.drain import Drain
from fanwire_edge.edge import Edge
from fanwire_edge.ops import healthz, ops_application
from fanwire_edge.ports import Archive, Registry, TailLost
from fanwire_edge.server import Door
from fanwire_edge.settings import DeliverySettings, Settings
from fanwire_protocol.settings import SettingError

__all__ = ["Service"]

TOPICS_SECONDS = 5.0
MAX_PAUSE_SECONDS = 2.0
BACKLOG = 4096
# How long the kernel offers bytes to a peer that takes none. One that may catch up at its own pace takes
# them in large steps, a minute apart at a kilobyte a second.
USER_TIMEOUT_MS = 30_000
PATIENT_USER_TIMEOUT_MS = 180_000

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

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then say goodbye to every connection.

        Raises SettingError where a port cannot be had, or the broker agreed on other settings.
        """
        edge = self._settings.edge
        public = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        ops = web.AppRunner(
            ops_application(self._edge, edge_registry(self._edge.tally, self._edge.gauges)), access_log=None
        )
        try:
            await _listen(ops, edge.ops_host, edge.ops_port, "edge.ops_port")
            await _listen(public, edge.host, edge.port, "edge.port", self._settings.delivery)
            logger.info("edge_started", extra={"port": _port(public), "ops_port": _port(ops)})
            await self._work(public)
        finally:
            await public.cleanup()
            await ops.cleanup()
            await self._registry.close()
            await self._archive.close()
        logger.info("edge_stopped")

    async def _work(self, public: web.AppRunner) -> None:
        def half_open() -> list[RequestHandler]:
            return public.server.connections if public.server else []

        caretaker = Caretaker(self._edge, half_open, self._tick_seconds, self._settings.edge.upgrade_seconds)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stop_when_told())
                tasks.create_task(self._follow_log())
                tasks.create_task(caretaker.run())
        except* _Stopped:
            pass
        except* SettingError as problems:
            raise problems.exceptions[0] from None

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", self._settings.edge.path, self._door.open)
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
        while True:
            await asyncio.sleep(TOPICS_SECONDS)
            await self._look_for_topics()

    async def _stop_when_told(self) -> None:
        """Drain at the first signal, and hurry at the second."""
        told = asyncio.Event()
        drain = Drain(self._edge, self._settings.edge.drain_limits(), Random())

        def tell() -> None:
            if told.is_set():
                drain.hurry()
            told.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, tell)
        await told.wait()
        await drain.run()
        raise _Stopped


async def _listen(
    runner: web.AppRunner, host: str, port: int, setting: str, delivery: DeliverySettings | None = None
) -> None:
    await runner.setup()
    try:
        listener = _bound(host, port)
    except OSError as problem:
        raise SettingError(
            f"{setting}: cannot listen on {host}:{port}: {problem.strerror}; "
            f"take another port, or 0 for a free one"
        ) from problem
    if delivery is not None:
        # Accepted sockets inherit both. Without them the kernel hides megabytes for a client that does not
        # read, and keeps a peer for many minutes that is gone without a word.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, delivery.send_buffer_bytes)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            is_patient = any(rule.endswith("catch_up") for rule in (delivery.policy, *delivery.policies))
            timeout_ms = PATIENT_USER_TIMEOUT_MS if is_patient else USER_TIMEOUT_MS
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    await web.SockSite(runner, listener, backlog=BACKLOG).start()


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _port(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])
