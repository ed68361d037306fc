"""The supervisor: several workers as one edge.

Theory of operation. Each worker is a process of its own with a listening socket of its own on the one
public port, among which the kernel spreads connections; it tails the log by itself. The supervisor holds
no connection and reads no event. It starts workers, starts them anew when they end, tells all of them to
drain when it is told to stop, and answers on the ops port for all. Workers that are silent for long are
killed, because the kernel goes on to give them clients.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from aiohttp import web

from fanwire_edge.child import Child
from fanwire_edge.config import document_of
from fanwire_edge.core.restarts import Restarts
from fanwire_edge.core.totals import Families, Family, Sample, Totals
from fanwire_edge.drain import HURRY_SECONDS
from fanwire_edge.listener import bound, port_of, reserved, serve
from fanwire_edge.ops import Readiness, ops_application
from fanwire_edge.settings import Settings
from fanwire_protocol.settings import SettingError

__all__ = ["Supervisor"]

# Between two looks at the workers: until all are ready, and then. What a worker counted since the last
# look is lost where it is killed.
START_LOOK_SECONDS = 0.2
LOOK_SECONDS = 2.0
SILENCE_SECONDS = 30.0
# How long an answer is waited for. Who probes readiness often has no more than a second.
ANSWER_SECONDS = 2.0
PROBE_SECONDS = 0.7
# What a worker may take beyond the time of its drain.
MARGIN_SECONDS = 3.0

logger = logging.getLogger("fanwire.supervisor")


class Supervisor:
    """Runs `edge.workers` workers; *argv* starts one, with its number behind it."""

    def __init__(
        self,
        settings: Settings,
        argv: Sequence[str],
        exposition: Callable[[Families], bytes],
        random: Random,
    ) -> None:
        self._settings = settings
        self._argv = argv
        self._exposition = exposition
        self._random = random
        self._children: dict[int, Child] = {}
        self._totals = Totals()
        self._restarts = 0
        self._has_started = False
        self._told = asyncio.Event()
        self._hurried = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, and return when the last worker has said its goodbyes.

        Raises SettingError where a port cannot be had, or a worker cannot start with these settings.
        """
        edge = self._settings.edge
        ops = web.AppRunner(ops_application(self._readiness, self._metrics), access_log=None)
        try:
            await serve(ops, bound(edge.ops_host, edge.ops_port, "edge.ops_port"))
            with reserved(edge.host, edge.port, "edge.port") as port:
                fields = {"port": port, "ops_port": port_of(ops), "workers": edge.workers}
                logger.info("edge_starting", extra=fields)
                await self._supervise(document_of(self._settings_on(port)))
        finally:
            await ops.cleanup()
        logger.info("edge_stopped")

    def _settings_on(self, port: int) -> Settings:
        return dataclasses.replace(self._settings, edge=dataclasses.replace(self._settings.edge, port=port))

    async def _supervise(self, document: Mapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, self._tell)
        if self._settings.audit.target == "file":
            # Workers see by themselves that the file was moved away.
            loop.add_signal_handler(signal.SIGHUP, lambda: None)
        try:
            async with asyncio.TaskGroup() as tasks:
                attendants = [
                    tasks.create_task(self._look_after()),
                    tasks.create_task(self._stop_when_told()),
                ]
                async with asyncio.TaskGroup() as workers:
                    for number in range(1, self._settings.edge.workers + 1):
                        workers.create_task(self._keep(number, document))
                for attendant in attendants:
                    attendant.cancel()
        except* SettingError as problems:
            # All workers have the same settings, so that one reason is enough.
            raise _first(problems) from None
        finally:
            await self._end_all()

    def _tell(self) -> None:
        if self._told.is_set():
            self._hurried.set()
        self._told.set()

    async def _keep(self, number: int, document: Mapping[str, Any]) -> None:
        """Keep one worker running until the edge stops."""
        restarts = Restarts()
        clock = asyncio.get_running_loop().time
        while not self._told.is_set():
            began = clock()
            status, refusal = await self._live(number, document)
            if self._told.is_set():
                break
            if refusal and not self._has_started:
                raise SettingError(refusal)
            self._restarts += 1
            delay = restarts.delay(clock() - began, self._random.random())
            fields = {"child": number, "status": status, "restart_seconds": round(delay, 3)}
            level = logging.INFO if status == 0 else logging.ERROR
            logger.log(level, "worker_ended", extra=fields | ({"reason": refusal} if refusal else {}))
            try:
                async with asyncio.timeout(delay):
                    await self._told.wait()
            except TimeoutError:
                pass  # Its time has come.

    async def _live(self, number: int, document: Mapping[str, Any]) -> tuple[int | None, str | None]:
        """Run a worker to its end, and return its exit status and why it refused to start."""
        try:
            child = await Child.start((*self._argv, str(number)), document)
        except OSError as problem:
            return None, problem.strerror
        self._children[number] = child
        logger.info("worker_started", extra={"child": number, "pid": child.pid})
        if self._told.is_set():
            child.order("hurry" if self._hurried.is_set() else "drain")
        status = await child.run()
        del self._children[number]
        if child.last is not None:
            self._totals.take(number, child.last.families)
        self._totals.end(number)
        return status, child.refusal

    async def _look_after(self) -> None:
        """Ask how the workers are, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_SECONDS if self._has_started else START_LOOK_SECONDS)
            await self._ask(ANSWER_SECONDS)
            for number, child in self._children.items():
                if clock() - child.heard_at > SILENCE_SECONDS:
                    logger.error("worker_silent", extra={"child": number, "pid": child.pid})
                    child.kill()

    async def _ask(self, seconds: float) -> Mapping[int, bool]:
        """Return who answers, with whether it is ready, and take what each has counted."""
        children = dict(self._children)
        async with asyncio.TaskGroup() as tasks:
            asked = {number: tasks.create_task(child.report(seconds)) for number, child in children.items()}
        found = {number: report for number, task in asked.items() if (report := task.result()) is not None}
        for number, child in children.items():
            # The last report, which may be of a later question than this one.
            if self._children.get(number) is child and child.last is not None:
                self._totals.take(number, child.last.families)
        ready = {number: report.is_ready for number, report in found.items()}
        if not self._has_started and sum(ready.values()) == self._settings.edge.workers:
            self._has_started = True
            logger.info("edge_started", extra={"workers": len(ready)})
        return ready

    async def _stop_when_told(self) -> None:
        """Pass on the first signal and the second, and kill who is there when the time is over."""
        await self._told.wait()
        logger.info("edge_draining")
        for child in self._children.values():
            child.order("drain")
        try:
            async with asyncio.timeout(self._settings.edge.drain_seconds + MARGIN_SECONDS):
                await self._hurried.wait()
                for child in self._children.values():
                    child.order("hurry")
                await asyncio.sleep(HURRY_SECONDS + MARGIN_SECONDS)
        except TimeoutError:
            pass  # The drain's own time is over, which is no other case.
        for number, child in self._children.items():
            logger.error("worker_killed", extra={"child": number, "pid": child.pid})
            child.kill()

    async def _end_all(self) -> None:
        """See that nobody is left where the supervisor ends for a reason of its own."""
        async with asyncio.TaskGroup() as tasks:
            for child in self._children.values():
                tasks.create_task(child.end(HURRY_SECONDS + MARGIN_SECONDS))

    async def _readiness(self) -> Readiness:
        ready, workers = sum((await self._ask(PROBE_SECONDS)).values()), self._settings.edge.workers
        if self._told.is_set():
            return Readiness(False, "draining")
        state = "ready" if ready else "not reading from the broker"
        if not self._has_started:
            state = "starting"
        return Readiness(
            bool(ready) and self._has_started, f"{state}: {ready} of {workers} workers are ready"
        )

    async def _metrics(self) -> bytes:
        answering = await self._ask(ANSWER_SECONDS)
        sample: dict[Sample, float] = {("fanwire_worker_restarts_total", ()): self._restarts}
        # It adds to what the workers tell of themselves, which is none.
        self._totals.take(0, [Family("fanwire_worker_restarts", "Workers that ended.", "counter", sample)])
        return self._exposition(self._totals.merged(answering))


def _first(problems: BaseExceptionGroup[SettingError]) -> SettingError:
    problem = problems.exceptions[0]
    return _first(problem) if isinstance(problem, BaseExceptionGroup) else problem
