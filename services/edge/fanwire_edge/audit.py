"""The audit log: who came and went, and who was refused what (docs/guides/security.md "Audit log").

What happens is written down as a line at once, and the line waits here until one task carries it out; no
connection waits for a disk. What waits is bounded in lines and bytes; what does not fit is lost, and that is
counted and told by a line of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fanwire_edge.core.address import counted_address
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.audit import AuditRecord, line_of
from fanwire_edge.core.backlog import Backlog
from fanwire_edge.core.denials import Denials
from fanwire_edge.core.tally import Tally
from fanwire_edge.ports import AuditFailed, AuditSink
from fanwire_protocol.codes import ErrorCode, HandshakeError

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.core.principal import Principal

__all__ = ["Audit", "Visitor"]

MAX_WAITING_LINES = 10_000
MAX_WAITING_BYTES = 2 * 1024 * 1024
# Lines that are carried out at once.
BATCH_LINES = 500
GATHER_SECONDS = 0.2
RETRY_SECONDS = 1.0
FINISH_SECONDS = 2.0
# What says something about who may do what; other refusals are mistakes, or the edge's own troubles.
_ABOUT_RIGHTS = {"unauthenticated", "forbidden", "unavailable"}
_AT_THE_DOOR = _ABOUT_RIGHTS | {"origin_not_allowed", "rate_limited", "connection_limit"}
_TOLD = {"handshake": _AT_THE_DOOR, "authenticate": _AT_THE_DOOR, "subscribe": _ABOUT_RIGHTS}

logger = logging.getLogger("fanwire.audit")


@dataclass(slots=True)
class Visitor:
    """Where somebody came from: client's address, page, and the parameter of the entrypoint."""

    ip: str | None = None
    origin: str | None = None
    session: str | None = None
    is_in: bool = False


_NOBODY = Visitor()


class Audit:
    """Writes the audit log to *sink*; without one it does nothing and keeps nothing."""

    def __init__(self, sink: AuditSink | None, tally: Tally) -> None:
        self._sink = sink
        self._tally = tally
        self._visitors: dict[Connection, Visitor] = {}
        self._denials = Denials()
        self._backlog = Backlog(MAX_WAITING_LINES, MAX_WAITING_BYTES)
        self._is_failing = False
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether anything is written, so that it is worth finding out where somebody comes from."""
        return self._sink is not None

    # What happens

    def arrived(self, connection: Connection, visitor: Visitor) -> None:
        """Keep where *connection* came from, until it is closed."""
        if self._sink is not None:
            self._visitors[connection] = visitor

    def opened(self, connection: Connection) -> None:
        """Write that *connection* is on its channels."""
        if self._sink is not None:
            visitor = self._visitors.setdefault(connection, Visitor())
            visitor.is_in = True
            self._add(self._record("opened", connection, visitor))

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        """Write that *connection* is gone, where it had been in; *reason* is a text of ours."""
        if self._sink is None:
            return
        visitor = self._visitors.pop(connection, _NOBODY)
        if visitor.is_in:
            self._add(replace(self._record("closed", connection, visitor), code=code, reason=reason))

    def denied(
        self,
        where: str,
        code: ErrorCode | HandshakeError,
        reason: str,
        *,
        connection: Connection | None = None,
        visitor: Visitor | None = None,
        principal: Principal | None = None,
        channel: str | None = None,
    ) -> None:
        """Write that somebody was refused at *where* (a key of `_TOLD`), if the code is about rights.

        A *connection* knows its visitor and principal; *reason* is a text of ours.
        """
        if self._sink is None or code not in _TOLD[where]:
            return
        found = visitor or (self._visitors.get(connection) if connection is not None else None) or _NOBODY
        record = replace(
            self._record("denied", connection, found, principal),
            where=where,
            channel=channel,
            code=code.value,
            reason=reason,
        )
        who = record.client_id or counted_address(record.ip or "")
        for each in self._denials.take(who, record, time.monotonic()):
            self._add(each)

    def refused(self, connection: Connection, answers: Iterable[Answer]) -> None:
        """Write those of the *answers* to a `subscribe` of *connection* that say that somebody may not."""
        for answer in answers:
            if answer.type == "error" and answer.channel is not None:
                code, message = ErrorCode(str(answer.payload["code"])), str(answer.payload["message"])
                self.denied("subscribe", code, message, connection=connection, channel=answer.channel)

    def _record(
        self,
        event: str,
        connection: Connection | None,
        visitor: Visitor,
        principal: Principal | None = None,
    ) -> AuditRecord:
        if connection is not None and connection.session.is_authenticated:
            principal = connection.session.principal
        return AuditRecord(
            time.time(),
            event,
            client_id=None if connection is None else connection.session.client_id,
            user=None if principal is None else principal.user,
            tenant=None if principal is None else principal.tenant,
            session=visitor.session,
            ip=visitor.ip,
            origin=visitor.origin,
        )

    # What waits

    def _add(self, record: AuditRecord) -> None:
        if not self._backlog.add(line_of(record)):
            self._tally.audit_lost += 1

    def reopen(self) -> None:
        """Let the sink begin anew under the name that it has."""
        if self._sink is not None:
            self._sink.reopen()

    async def start(self) -> None:
        """Do nothing: lines may come before anything is listened to."""

    async def close(self) -> None:
        """Let go of the sink; `finish` comes before, where the end is one in order."""
        if self._sink is not None:
            await self._sink.close()

    async def run(self) -> None:
        """Carry out lines until `finish` is called; where nothing is to be written, return at once."""
        while self._sink is not None and not (self._ending.is_set() and not self._backlog):
            await self._pause(RETRY_SECONDS if self._is_failing else GATHER_SECONDS)
            for record in self._denials.due(time.monotonic()):
                self._add(record)
            while self._backlog and await self._carry_out(self._sink):
                self._tell_lost()
        self._ended.set()

    async def _pause(self, seconds: float) -> None:
        """Let lines gather for *seconds*, or until the end."""
        if self._ending.is_set():
            # Whatever fails then is tried again for as long as `finish` waits.
            await asyncio.sleep(GATHER_SECONDS if self._is_failing else 0)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._ending.wait()
        except TimeoutError:
            pass

    async def _carry_out(self, sink: AuditSink) -> bool:
        """Carry out the oldest lines; tells whether all of them stand."""
        batch = self._backlog.oldest(BATCH_LINES)
        try:
            await sink.write(batch)
        except AuditFailed as problem:
            self._strike(problem.written)
            if not self._is_failing:
                logger.warning("audit_failed", extra={"reason": str(problem)})
            self._is_failing = True
            return False
        self._strike(len(batch))
        if self._is_failing:
            logger.info("audit_writes_again", extra={"waiting": len(self._backlog)})
        self._is_failing = False
        return True

    def _strike(self, count: int) -> None:
        self._backlog.strike(count)
        self._tally.audit_lines += count

    def _tell_lost(self) -> None:
        lost = self._backlog.take_lost()
        if lost:
            reason = "the audit log could not be written as fast as it grew"
            self._add(AuditRecord(time.time(), "lost", reason=reason, count=lost))

    async def finish(self) -> None:
        """Write all that is left, as far as that is possible within 2 s. Call it once, at the end."""
        # Connections that were aborted last report that in the next turns of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
        for record in self._denials.rest():
            self._add(record)
        self._ending.set()
        if self._sink is None:
            return
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            self._tally.audit_lost += len(self._backlog)
            logger.warning("audit_unfinished", extra={"lines": len(self._backlog)})
