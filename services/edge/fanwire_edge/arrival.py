"""The arrival: what a client comes for, and whether it gets it (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fanwire_edge.core.decision import Asker
from fanwire_edge.core.entrypoint import Entry
from fanwire_edge.core.room import PLAIN, Room
from fanwire_edge.core.session import Session
from fanwire_edge.edge import Edge
from fanwire_edge.entrypoints import room_of
from fanwire_edge.joining import join
from fanwire_edge.refusal import Refused, close_code_of
from fanwire_protocol.commands import Since

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.core.answers import Answer

__all__ = ["Arrival", "Entrance", "admit"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Positions to go on from, and the entrypoint that a client came to, if that is one.

    `address` is as what its address is counted, `replaces` the connection in whose place it comes.
    """

    since: Since
    address: str
    replaces: str | None = None
    entry: Entry | None = None


async def admit(edge: Edge, session: Session, arrival: Arrival) -> Room:
    """Return what the client of *session* joins, where limits and its entrypoint let it.

    Raises Refused. The guard counts the client from then on; it `leave`s, whatever came of this.
    """
    await edge.guard.enter(session.principal, session.client_id, arrival.address, arrival.replaces)
    if arrival.entry is None:
        return PLAIN
    return await room_of(edge, arrival.entry, Asker(session.principal, session.credential))


class _Admission:
    """Admits a client that showed in band who it is, as an errand; `outcome` is None until that is done."""

    __slots__ = ("_arrival", "_edge", "_session", "outcome")

    def __init__(self, edge: Edge, session: Session, arrival: Arrival) -> None:
        self._edge = edge
        self._session = session
        self._arrival = arrival
        self.outcome: Room | Refused | None = None

    async def run(self) -> None:
        """Find out; cancelling is safe."""
        try:
            self.outcome = await admit(self._edge, self._session, self._arrival)
        except Refused as refusal:
            self.outcome = refusal


class Entrance:
    """Leads a *connection* from the anteroom onto its channels, turn by turn, once it is known who it is."""

    __slots__ = ("_arrival", "_connection", "_edge", "_room")

    def __init__(self, edge: Edge, connection: Connection, arrival: Arrival) -> None:
        self._edge = edge
        self._connection = connection
        self._arrival = arrival
        self._room: Room | None = None

    def __call__(self, greet: Callable[[Answer], Answer]) -> None:
        """Join, where nothing has to be waited for; *greet* makes the greeting what the client is sent."""
        edge, connection = self._edge, self._connection
        if self._room is None:
            self._room = self._admitted()
        if self._room is not None:
            join(edge, connection, self._arrival.since, greet, self._room)

    def _admitted(self) -> Room | None:
        edge, connection = self._edge, self._connection
        errand = edge.errands.of(connection)
        if not isinstance(errand, _Admission):
            edge.errands.begin(connection, _Admission(edge, connection.session, self._arrival))
            return None
        outcome = errand.outcome
        if outcome is None:
            return None
        edge.errands.end(connection)
        if isinstance(outcome, Room):
            return outcome
        edge.audit.denied("authenticate", outcome.code, outcome.message, connection=connection)
        connection.close(close_code_of(outcome), outcome.message, retry_after_ms=outcome.wait_ms)
        return None
