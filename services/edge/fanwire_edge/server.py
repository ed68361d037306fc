"""The public port: opens connections (PROTOCOL §2)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from aiohttp import web

from fanwire_edge.arrival import Arrival, Entrance
from fanwire_edge.audit import Visitor
from fanwire_edge.authenticator import Authenticator
from fanwire_edge.connection import Connection
from fanwire_edge.core.address import parse_network
from fanwire_edge.core.bucket import TokenBucket
from fanwire_edge.core.dialect import Dialects
from fanwire_edge.core.session import Session
from fanwire_edge.core.state import State
from fanwire_edge.drain import say_goodbye
from fanwire_edge.edge import Edge
from fanwire_edge.entrypoints import Entrypoints, load_entrypoints
from fanwire_edge.gatekeeper import Gatekeeper, GateSettings, Guest
from fanwire_edge.joining import expires_tick, join
from fanwire_edge.refusal import Refused, close_code_of, is_closable, refuse, report
from fanwire_edge.settings import Settings
from fanwire_edge.upgrade import Upgrade, upgrade_of
from fanwire_protocol.codes import HandshakeError

__all__ = ["Door", "DoorSettings", "build_door"]


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """How the door opens.

    `tick_seconds` is the length of a tick of the edge's wheel, `dialects` what those who come in may speak,
    `reject` how refusals are told (`http`, `close`).
    """

    plain_get_status: int
    high_water_bytes: int
    tick_seconds: float
    dialects: Dialects
    reject: str = "http"


class Door:
    """Turns an upgrade into a Connection of *edge*, where *gatekeeper* lets it."""

    def __init__(
        self,
        edge: Edge,
        gatekeeper: Gatekeeper,
        entrypoints: Entrypoints,
        settings: DoorSettings,
        random: Random,
    ) -> None:
        self._edge = edge
        self._gatekeeper = gatekeeper
        self._entrypoints = entrypoints
        self._settings = settings
        self._random = random

    @property
    def paths(self) -> Sequence[str]:
        """Where it is to be reached."""
        return self._entrypoints.paths

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a WebSocket."""
        tally = self._edge.tally
        try:
            upgrade = upgrade_of(request, self._entrypoints)
            try:
                guest = await self._gatekeeper.receive(upgrade)
            except Refused as refusal:
                self._note(request, refusal)
                if not self._is_told_by_close(upgrade, refusal):
                    raise
                return await self._turn_away(upgrade, refusal)
            response = await self._let_in(upgrade, guest)
        except Refused as refusal:
            tally.handshakes[refusal.code.value] += 1
            refusal.spread(self._random)
            return refuse(request, refusal, self._settings.plain_get_status)
        except ConnectionError:
            # The peer left meanwhile; that is no fault of ours, and nobody reads the answer.
            tally.handshakes["abandoned"] += 1
            return web.Response(status=HandshakeError.BAD_REQUEST.status)
        tally.handshakes["accepted"] += 1
        return response

    # Refusals

    def _note(self, request: web.Request, refusal: Refused) -> None:
        report(refusal)
        audit = self._edge.audit
        if audit.is_on:
            visitor, who = self._visitor(request), refusal.principal
            audit.denied("handshake", refusal.code, refusal.message, visitor=visitor, principal=who)

    def _visitor(self, request: web.Request, arrival: Arrival | None = None) -> Visitor:
        values = arrival.entry.values if arrival and arrival.entry else request.match_info
        session = next(iter(values.values()), None)
        return Visitor(self._gatekeeper.address_of(request), request.headers.get("Origin"), session)

    def _is_told_by_close(self, upgrade: Upgrade, refusal: Refused) -> bool:
        """Tell whether *refusal* is told after the upgrade; not where there is no place even for that."""
        is_wanted = is_closable(refusal) and upgrade.is_refused_by_close(self._settings.reject)
        return is_wanted and not self._gatekeeper.is_full

    async def _turn_away(self, upgrade: Upgrade, refusal: Refused) -> web.StreamResponse:
        """Accept the upgrade for the client to see a close code, and join nothing."""
        refusal.spread(self._random)
        response, connection = await self._connect(upgrade, Session(str(uuid.uuid4()), None))
        connection.close(close_code_of(refusal), refusal.message, retry_after_ms=refusal.wait_ms)
        self._edge.tally.handshakes[refusal.code.value] += 1
        return response

    # Welcome

    async def _let_in(self, upgrade: Upgrade, guest: Guest) -> web.StreamResponse:
        edge, session = self._edge, guest.session
        try:
            response, connection = await self._connect(upgrade, session)
        except BaseException:
            edge.guard.leave(session.client_id)
            raise
        if edge.audit.is_on:
            edge.audit.arrived(connection, self._visitor(upgrade.request, guest.arrival))
        # A connection joins between two deliveries; commands that came before that wait for it.
        await edge.settled()
        if edge.is_draining:
            # It came too late for the goodbyes that are under way.
            say_goodbye(edge, connection, self._random)
        elif connection.state is State.OPENING:
            self._lead_on(connection, guest)
        return response

    def _lead_on(self, connection: Connection, guest: Guest) -> None:
        edge, arrival = self._edge, guest.arrival
        if guest.room is None:
            assert edge.anteroom is not None
            edge.anteroom.receive(connection, Entrance(edge, connection, arrival))
            return
        connection.opening = partial(join, edge, connection, arrival.since, room=guest.room)
        connection.opening()

    async def _connect(self, upgrade: Upgrade, session: Session) -> tuple[web.StreamResponse, Connection]:
        settings = self._settings
        response, transport, rest, dialect = await upgrade.take(settings.dialects)
        transport.set_write_buffer_limits(high=settings.high_water_bytes, low=settings.high_water_bytes // 4)
        expires = expires_tick(session.principal, settings.tick_seconds) if session.is_authenticated else None
        connection = Connection(self._edge, session, transport, expires, dialect)
        transport.set_protocol(connection)
        if rest:
            connection.data_received(rest)
        return response, connection


def build_door(settings: Settings, edge: Edge, authenticator: Authenticator, tick_seconds: float) -> Door:
    """Build the door of *edge*; raises SettingError for a file of entrypoints that is none."""
    origins, trusted = settings.origins, settings.edge.trusted_proxies
    gate = GateSettings(
        settings.edge.connection_limit(),
        frozenset(origins.allowed),
        origins.required,
        tuple(map(parse_network, trusted)),
    )
    how = DoorSettings(
        settings.edge.plain_get_status,
        settings.delivery.high_water_bytes,
        tick_seconds,
        Dialects(settings.delivery.deflate_from_bytes(), edge.faulty),
        settings.auth.reject,
    )
    entrypoints = load_entrypoints(settings.edge.entrypoints, settings.edge.path)
    gatekeeper = Gatekeeper(edge, authenticator, gate, TokenBucket(*settings.edge.admission()))
    return Door(edge, gatekeeper, entrypoints, how, Random())
