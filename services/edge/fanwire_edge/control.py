"""Control: carries out what the edges are told to do (PROTOCOL §7 "Control").

Orders of a read are carried out before its data is delivered, and nothing else is written in between:
whoever an order concerns is taken off all channels first, however many they are, and then told one after
the other, with turns for the loop. What was given before this edge began to read, or in a hole of the
control stream, stands in the broker's hash, and is carried out like what comes now.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from fanwire_edge.connection import Connection, State
from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.orders import concerns, covered, is_older, reached_by
from fanwire_edge.core.stream import Entry
from fanwire_edge.core.topics import Topics
from fanwire_edge.edge import Edge
from fanwire_edge.ending import end_subscriptions
from fanwire_edge.ports import RevocationSource
from fanwire_protocol.codec import InvalidData
from fanwire_protocol.codes import CloseCode
from fanwire_protocol.orders import Announcement, Operation, Order, decode_order

__all__ = ["Control", "tell_refused"]

YIELD_SECONDS = 0.002
# Ids that are remembered: as many as the control stream holds.
MAX_REMEMBERED = 10_000
# A `disconnect` that was given so long before its entry was added is an old one, added again.
STALE_MS = 300_000

logger = logging.getLogger("fanwire.control")


@dataclass(slots=True)
class _Due:
    """What an order leads to on this edge; `given_ms` is the broker's time of its entry."""

    order: Order
    given_ms: int | None = None
    closed: list[Connection] = field(default_factory=list)
    is_felt: bool = False

    @property
    def farewell(self) -> tuple[CloseCode, str]:
        if self.order.operation is Operation.DISCONNECT:
            return CloseCode.DISCONNECTED, "disconnected by an operator or a service"
        if self.order.channels is None:
            return CloseCode.PERMISSION_REVOKED, "the credential was revoked"
        return CloseCode.PERMISSION_CHANGED, "a permission was withdrawn"


class Control:
    """Obeys orders for *edge*; with *closes*, who loses a subscription is sent to come back without it."""

    def __init__(self, edge: Edge, source: RevocationSource, topics: Topics, *, closes: bool) -> None:
        self._edge = edge
        self._source = source
        self._topics = topics
        self._closes = closes
        self._done = _Seen()
        self._told = _Seen()
        self._rested_at = 0.0

    async def take(self, entries: Sequence[Entry]) -> None:
        """Carry out the entries of one read of the control stream."""
        due = []
        for entry in entries:
            decoded = self._decoded(entry.id, entry.data or b"")
            if isinstance(decoded, Announcement):
                tell_refused(self._topics.found([decoded.topic]))
            elif decoded is not None and self._is_new(decoded, entry.id):
                due.append(_Due(decoded, order_of(entry.id)[0]))
        if due:
            await self._carry_out(due)

    async def load(self) -> None:
        """Carry out all revocations in force, and forget all decisions; raises TailLost.

        Until it has ended well nobody may come in, and nothing is delivered while it goes on.
        """
        edge = self._edge
        edge.revocations.is_known = False
        edge.begin_delivery()
        try:
            async for page in self._source.pages():
                decoded = [self._decoded(place, data) for place, data in page]
                await self._obey([_Due(each) for each in decoded if self._is_in_force(each)])
            edge.permissions.outdate()
            for connection in tuple(edge.connections):
                await self._rest()
                edge.permissions.void(connection)
        finally:
            edge.end_delivery()
        edge.revocations.is_known = True
        logger.info("revocations_loaded", extra={"revocations": len(edge.revocations)})

    def _decoded(self, place: str, data: bytes) -> Order | Announcement | None:
        """Decode what stands at *place*; what breaks the rules is counted and logged once."""
        try:
            return decode_order(data)
        except InvalidData as problem:
            if self._told.add(place):
                self._edge.tally.orders["invalid"] += 1
                logger.warning("control_invalid", extra={"entry": place, "reason": str(problem)})
        return None

    def _is_new(self, order: Order, entry_id: str) -> bool:
        """Tell whether *order* is to be carried out; a revocation always is, for it does no more twice."""
        self._edge.tally.orders[order.operation.value] += 1
        if order.operation is Operation.REVOKE:
            return True
        is_stale = order_of(entry_id)[0] - order.at > STALE_MS
        if is_stale or not self._done.add(order.id):
            logger.warning("control_repeated", extra={"entry": entry_id, "order": order.id})
            return False
        return True

    def _is_in_force(self, decoded: Order | Announcement | None) -> TypeGuard[Order]:
        if not isinstance(decoded, Order) or decoded.operation is not Operation.REVOKE:
            return False
        # Who came back since then was let in.
        return self._edge.revocations.until(decoded) > time.time()

    async def _carry_out(self, due: Sequence[_Due]) -> None:
        self._edge.begin_delivery()
        try:
            await self._obey(due)
        finally:
            self._edge.end_delivery()

    async def _obey(self, due: Sequence[_Due]) -> None:
        """Take all off their channels whom *due* concern, then tell them."""
        # Who is to stay away is not asked to come back.
        ranked = sorted(due, key=lambda each: each.order.channels is not None)
        for each in ranked:
            if each.order.operation is Operation.REVOKE:
                self._edge.revocations.add(each.order, time.time())
            if each.order.channels is not None:
                # Whoever is just being asked about it may answer what was right before.
                self._edge.permissions.outdate(each.order.channels)
        for each in ranked:
            async for connection in self._concerned(each.order):
                self._mark(each, connection)
        for each in ranked:
            code, reason = each.farewell
            for connection in each.closed:
                await self._rest()
                connection.close(code, reason)
            if each.is_felt:
                self._report(each)

    async def _concerned(self, order: Order) -> AsyncIterator[Connection]:
        key = reached_by(order)
        on_it = [tuple(members.get(key, ())) for members in self._edge.hub.by_dialect.values()]
        # Who is in the middle of a refresh has its new roles already, and is not on their channels yet.
        for member in dict.fromkeys(itertools.chain(self._edge.errands.holders, *on_it)):
            await self._rest()
            if isinstance(member, Connection) and _is_concerned(order, member):
                yield member

    def _mark(self, due: _Due, connection: Connection) -> None:
        edge, channels = self._edge, due.order.channels
        if channels is not None:
            # What others permitted may be older than the credential that is shown now.
            edge.permissions.void(connection, channels)
        if not _is_meant(due.order, connection):
            return
        if channels is None:
            edge.hub.leave(connection)
            due.closed.append(connection)
            due.is_felt = True
            return
        ended = covered(connection.keys, channels)
        if not ended:
            return
        due.is_felt = True
        if self._closes:
            edge.hub.leave(connection)
            due.closed.append(connection)
        else:
            end_subscriptions(edge, connection, ended, "revoked")

    def _report(self, due: _Due) -> None:
        order = due.order
        fields = {"order": order.id, "operation": order.operation.value, "closed": len(due.closed)}
        logger.info("order_carried_out", extra=fields)
        if due.given_ms is not None and order.operation is Operation.REVOKE:
            self._edge.tally.observe_revocation(time.time_ns() // 1_000_000 - due.given_ms)

    async def _rest(self) -> None:
        """Let the loop see to everything else now and then."""
        if time.monotonic() - self._rested_at > YIELD_SECONDS:
            await asyncio.sleep(0)
            self._rested_at = time.monotonic()


class _Seen:
    """The last ids that were seen."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, id_: str) -> bool:
        """Remember *id_*, and tell whether it is new."""
        if id_ in self._ids:
            return False
        self._ids[id_] = None
        if len(self._ids) > MAX_REMEMBERED:
            del self._ids[next(iter(self._ids))]
        return True


def _is_concerned(order: Order, connection: Connection) -> bool:
    session = connection.session
    is_open = connection.state is State.OPEN and session.is_authenticated
    return is_open and concerns(order, session.principal, session.client_id)


def _is_meant(order: Order, connection: Connection) -> bool:
    """Tell whether *order* ends what it concerns: a revocation spares what was issued later."""
    return order.operation is Operation.DISCONNECT or is_older(connection.session.principal, order.at)


def tell_refused(topics: Iterable[str]) -> None:
    """Log that *topics* are not read, because there are more than the edge may read."""
    refused = sorted(topics)
    if refused:
        fields = {"topics": refused[:10], "count": len(refused), "setting": "broker.max_topics"}
        logger.warning("topics_refused", extra=fields)
