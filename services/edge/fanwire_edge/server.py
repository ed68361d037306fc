"""The public port: opens connections (PROTOCOL §2)."""

from __future__ import annotations

import logging
import math
import time
import uuid
from dataclasses import dataclass

from aiohttp import web

from fanwire_edge.connection import Connection, State
from fanwire_edge.core import answers
from fanwire_edge.core.desk import Session
from fanwire_edge.core.principal import InvalidToken, Principal, count_unjoined_roles, server_joined
from fanwire_edge.core.record import gap_key
from fanwire_edge.edge import Edge
from fanwire_edge.ports import Verifier
from fanwire_edge.takeover import accept_key, is_upgrade, take_over
from fanwire_protocol.codes import HandshakeError
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, Offer, bearer_of, parse_offer
from fanwire_protocol.keys import DIRECT_TOPIC, partition_of

__all__ = ["Door", "DoorSettings"]

RETRY_AFTER_SECONDS = 2

logger = logging.getLogger("fanwire.door")


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """How the door opens; `tick_seconds` is the length of a tick of the edge's wheel."""

    sources: tuple[str, ...]
    header: str
    header_prefix: str
    plain_get_status: int
    max_connections: int
    high_water_bytes: int
    tick_seconds: float


class Refused(Exception):
    """The upgrade is refused; the text goes to the client."""

    def __init__(self, code: HandshakeError, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Door:
    """Checks an upgrade and turns it into a Connection of *edge*."""

    def __init__(self, edge: Edge, verifier: Verifier, settings: DoorSettings) -> None:
        self._edge = edge
        self._verifier = verifier
        self._settings = settings

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a WebSocket."""
        tally = self._edge.tally
        try:
            response = await self._open(request)
        except Refused as refusal:
            tally.handshakes[refusal.code.value] += 1
            return self._refuse(request, refusal)
        tally.handshakes["accepted"] += 1
        return response

    async def _open(self, request: web.Request) -> web.StreamResponse:
        if not is_upgrade(request):
            raise Refused(HandshakeError.UPGRADE_REQUIRED, "WebSocket upgrade required")
        accept = accept_key(request)
        if accept is None:
            raise Refused(HandshakeError.BAD_REQUEST, "the upgrade breaks RFC 6455 section 4.2.1")
        self._refuse_when_unable()
        offer = parse_offer(request.headers.getall("Sec-WebSocket-Protocol", []))
        if offer.versions and JSON_SUBPROTOCOL not in offer.versions:
            raise Refused(HandshakeError.BAD_REQUEST, f"this edge speaks {JSON_SUBPROTOCOL} only")
        principal = await self._authenticate(request, offer)
        response, transport, rest = await take_over(request, accept, offer.choose((JSON_SUBPROTOCOL,)))
        transport.set_write_buffer_limits(
            high=self._settings.high_water_bytes, low=self._settings.high_water_bytes // 4
        )
        session = Session(str(uuid.uuid4()), principal)
        connection = Connection(self._edge, session, transport, self._expires_tick(principal))
        transport.set_protocol(connection)
        if rest:
            connection.data_received(rest)
        # A connection joins between two deliveries; commands that came before that wait for it.
        await self._edge.settled()
        if connection.state is State.OPENING:
            self._join(connection)
        return response

    def _refuse_when_unable(self) -> None:
        edge = self._edge
        if edge.is_draining:
            raise Refused(HandshakeError.DRAINING, "the edge is shutting down; another one will answer")
        if not edge.positions:
            raise Refused(HandshakeError.UNAVAILABLE, "the edge has not reached its broker yet")
        if len(edge.connections) >= self._settings.max_connections:
            raise Refused(HandshakeError.OVERLOADED, "the edge has all the connections it may hold")

    async def _authenticate(self, request: web.Request, offer: Offer) -> Principal:
        """Verify the credential of the first source that carries one."""
        settings = self._settings
        for source in settings.sources:
            match source:
                case "subprotocol":
                    token = offer.token
                case _:
                    token = bearer_of(request.headers.get(settings.header), settings.header_prefix)
            if token is not None:
                try:
                    return await self._verifier.verify(token)
                except InvalidToken as problem:
                    raise Refused(HandshakeError.UNAUTHENTICATED, problem.reason) from problem
        raise Refused(HandshakeError.UNAUTHENTICATED, "no credential; see PROTOCOL §2 for where to put one")

    def _join(self, connection: Connection) -> None:
        """Put *connection* on the server's channels and greet it, all at one place in the log."""
        edge, session = self._edge, connection.session
        principal = session.principal
        channels = server_joined(principal, session.client_id)
        for channel in channels:
            edge.hub.subscribe(connection, channel)
        edge.hub.subscribe(connection, gap_key(partition_of(DIRECT_TOPIC, principal.tenant, edge.partitions)))
        edge.wheel.add(connection)
        edge.tally.roles_unjoined += count_unjoined_roles(principal)
        greeting = answers.connected(
            edge.greeting,
            session.client_id,
            principal.user,
            principal.tenant,
            channels,
            edge.positions_of(connection),
        )
        fields = {"client_id": session.client_id, "user": principal.user, "tenant": principal.tenant}
        logger.info("connection_opened", extra=fields)
        connection.open(greeting)

    def _expires_tick(self, principal: Principal) -> int | None:
        if principal.expires_at is None:
            return None
        ticks = math.ceil((principal.expires_at - time.time()) / self._settings.tick_seconds)
        return self._edge.wheel.tick + max(1, ticks)

    def _refuse(self, request: web.Request, refusal: Refused) -> web.Response:
        code = refusal.code
        headers = {"Connection": "close"}
        status = code.status
        if code is HandshakeError.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
            logger.info("connection_denied", extra={"code": code.value, "reason": refusal.message})
        elif code is HandshakeError.UPGRADE_REQUIRED:
            status = self._settings.plain_get_status
            headers |= {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        elif status == 503:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        elif request.headers.get("Sec-WebSocket-Version", "13").strip() != "13":
            headers["Sec-WebSocket-Version"] = "13"
        body = {"error": {"code": code.value, "message": refusal.message}}
        response = web.json_response(body, status=status, headers=headers)
        # The header alone does not make aiohttp close.
        response.force_close()
        return response
