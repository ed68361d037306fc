"""The public port: opens connections (PROTOCOL §2)."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from aiohttp import web

from fanwire_edge.catchup import begin_replay
from fanwire_edge.connection import Connection, State
from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.bucket import TokenBucket
from fanwire_edge.core.desk import Session
from fanwire_edge.core.dialect import SUBPROTOCOLS, Dialects
from fanwire_edge.core.principal import InvalidToken, Principal, count_unjoined_roles, server_joined
from fanwire_edge.core.record import gap_key
from fanwire_edge.core.resume import Resumption
from fanwire_edge.drain import say_goodbye
from fanwire_edge.edge import Edge
from fanwire_edge.ports import Verifier
from fanwire_edge.reception import resumption_of
from fanwire_edge.takeover import accept_key, is_upgrade, take_over
from fanwire_protocol.codes import HandshakeError
from fanwire_protocol.commands import Since
from fanwire_protocol.handshake import Offer, bearer_of, parse_offer
from fanwire_protocol.keys import DIRECT_TOPIC, partition_of
from fanwire_protocol.position import InvalidPosition, parse_offset

__all__ = ["Door", "DoorSettings"]

# Those who are refused together are asked to come back at different times.
MAX_RETRY_AFTER_SECONDS = 5

logger = logging.getLogger("fanwire.door")


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """How the door opens.

    `tick_seconds` is the length of a tick of the edge's wheel, `dialects` what those who come in may speak.
    """

    sources: tuple[str, ...]
    header: str
    header_prefix: str
    plain_get_status: int
    max_connections: int
    high_water_bytes: int
    tick_seconds: float
    dialects: Dialects


class Refused(Exception):
    """The upgrade is refused; the text goes to the client, who need not come back within `wait_seconds`."""

    def __init__(self, code: HandshakeError, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.wait_seconds = wait_seconds


class Door:
    """Checks an upgrade and turns it into a Connection of *edge*."""

    def __init__(
        self,
        edge: Edge,
        verifier: Verifier,
        settings: DoorSettings,
        admission: TokenBucket,
        random: Random,
    ) -> None:
        self._edge = edge
        self._verifier = verifier
        self._settings = settings
        self._admission = admission
        self._random = random

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a WebSocket."""
        tally = self._edge.tally
        try:
            response = await self._open(request)
        except Refused as refusal:
            tally.handshakes[refusal.code.value] += 1
            return self._refuse(request, refusal)
        except ConnectionError:
            # The peer left meanwhile; that is no fault of ours, and nobody reads the answer.
            tally.handshakes["abandoned"] += 1
            return web.Response(status=HandshakeError.BAD_REQUEST.status)
        tally.handshakes["accepted"] += 1
        return response

    async def _open(self, request: web.Request) -> web.StreamResponse:
        if not is_upgrade(request):
            raise Refused(HandshakeError.UPGRADE_REQUIRED, "WebSocket upgrade required")
        accept = accept_key(request)
        if accept is None:
            raise Refused(HandshakeError.BAD_REQUEST, "the upgrade breaks RFC 6455 section 4.2.1")
        self._refuse_when_unable()
        self._admit()
        offer = parse_offer(request.headers.getall("Sec-WebSocket-Protocol", []))
        if offer.versions and not set(SUBPROTOCOLS).intersection(offer.versions):
            raise Refused(HandshakeError.BAD_REQUEST, f"this edge speaks {' and '.join(SUBPROTOCOLS)} only")
        principal = await self._authenticate(request, offer)
        since = _since(request)
        self._refuse_when_draining()
        subprotocol, dialects = offer.choose(SUBPROTOCOLS), self._settings.dialects
        extension = dialects.extension(request.headers.getall("Sec-WebSocket-Extensions", []))
        response, transport, rest = await take_over(request, accept, subprotocol, extension)
        transport.set_write_buffer_limits(
            high=self._settings.high_water_bytes, low=self._settings.high_water_bytes // 4
        )
        session = Session(str(uuid.uuid4()), principal)
        dialect = dialects.of(subprotocol, extension)
        connection = Connection(self._edge, session, transport, self._expires_tick(principal), dialect)
        transport.set_protocol(connection)
        if rest:
            connection.data_received(rest)
        # A connection joins between two deliveries; commands that came before that wait for it.
        await self._edge.settled()
        if self._edge.is_draining:
            # It came too late for the goodbyes that are under way.
            say_goodbye(self._edge, connection, self._random)
        elif connection.state is State.OPENING:
            connection.opening = partial(self._join, connection, since)
            connection.opening()
        return response

    def _refuse_when_draining(self) -> None:
        if self._edge.is_draining:
            raise Refused(HandshakeError.DRAINING, "the edge is shutting down; another one will answer")

    def _admit(self) -> None:
        """Refuse what a storm brings beyond the pace of admission, before a signature is looked at."""
        wait_seconds = self._admission.take(time.monotonic())
        if wait_seconds is not None:
            raise Refused(HandshakeError.OVERLOADED, "too many clients come at once; try later", wait_seconds)

    def _refuse_when_unable(self) -> None:
        edge = self._edge
        self._refuse_when_draining()
        if not edge.positions:
            raise Refused(HandshakeError.UNAVAILABLE, "the edge has not reached its broker yet")
        if len(edge.connections) >= self._settings.max_connections:
            raise Refused(HandshakeError.OVERLOADED, "the edge has all the connections it may hold")
        if edge.is_overdrawn:
            raise Refused(HandshakeError.OVERLOADED, "too much waits here for clients that do not read")

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

    def _join(self, connection: Connection, since: Since) -> None:
        """Put *connection* on the server's channels and greet it, all at one place in the log.

        Where *since* has to be looked up, nothing happens; the connection's next turn tries again.
        """
        edge, session = self._edge, connection.session
        resumption = resumption_of(edge, connection, since) if since else None
        if since and resumption is None:
            return
        principal = session.principal
        channels = server_joined(principal, session.client_id)
        for channel in channels:
            edge.hub.subscribe(connection, channel)
        edge.hub.subscribe(connection, gap_key(partition_of(DIRECT_TOPIC, principal.tenant, edge.partitions)))
        edge.wheel.add(connection)
        edge.tally.roles_unjoined += count_unjoined_roles(principal)
        fields = {"client_id": session.client_id, "user": principal.user, "tenant": principal.tenant}
        logger.info("connection_opened", extra=fields)
        connection.open(self._greeting(connection, channels, resumption))
        if resumption is not None:
            for gap in edge.desk.gaps(resumption):
                connection.send(gap)
            begin_replay(edge, connection, resumption, frozenset(channels), frozenset(channels))

    def _greeting(
        self, connection: Connection, channels: Sequence[str], resumption: Resumption | None
    ) -> Answer:
        edge, session = self._edge, connection.session
        place = edge.place_of(connection, resumption)
        return answers.connected(
            edge.greeting,
            answers.Identity(session.client_id, session.principal.user, session.principal.tenant),
            channels,
            place.starts,
            place.recovered,
        )

    def _expires_tick(self, principal: Principal) -> int | None:
        if principal.expires_at is None:
            return None
        ends_at = time.monotonic() + principal.expires_at - time.time()
        return math.ceil(ends_at / self._settings.tick_seconds)

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
            seconds = max(refusal.wait_seconds, self._random.uniform(0, MAX_RETRY_AFTER_SECONDS))
            headers["Retry-After"] = str(max(1, math.ceil(seconds)))
        elif request.headers.get("Sec-WebSocket-Version", "13").strip() != "13":
            headers["Sec-WebSocket-Version"] = "13"
        body = {"error": {"code": code.value, "message": refusal.message}}
        response = web.json_response(body, status=status, headers=headers)
        # The header alone does not make aiohttp close.
        response.force_close()
        return response


def _since(request: web.Request) -> Since:
    """Return the positions that the query gives for the channels that the server joins."""
    try:
        offsets = [parse_offset(text) for text in request.query.getall("since", [])]
    except InvalidPosition as problem:
        raise Refused(HandshakeError.BAD_REQUEST, f"since: {problem}") from problem
    return {offset.topic: offset.position for offset in offsets}
