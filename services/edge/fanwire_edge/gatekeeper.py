"""The gatekeeper: finds out who asks to come in, and whether that one may (PROTOCOL §2)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from fanwire_edge.arrival import Arrival, admit
from fanwire_edge.authenticator import Authenticator
from fanwire_edge.core.address import Network, client_address, counted_address
from fanwire_edge.core.bucket import TokenBucket
from fanwire_edge.core.credential import Credential
from fanwire_edge.core.origin import is_allowed
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.core.room import Room
from fanwire_edge.core.session import Session
from fanwire_edge.edge import Edge
from fanwire_edge.ports import VerifierUnavailable
from fanwire_edge.refusal import Refused
from fanwire_edge.upgrade import Upgrade
from fanwire_protocol.codes import HandshakeError

__all__ = ["GateSettings", "Gatekeeper", "Guest"]


@dataclass(frozen=True, slots=True)
class GateSettings:
    """How many may come in, from which pages (without a list, from any), and which proxies are believed."""

    max_connections: int
    origins: frozenset[str] = frozenset()
    is_origin_required: bool = False
    trusted: Sequence[Network] = ()


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who may come in; without a *room* it has not said yet who it is."""

    session: Session
    arrival: Arrival
    room: Room | None


class Gatekeeper:
    """Checks who asks to come in to *edge*."""

    def __init__(
        self, edge: Edge, authenticator: Authenticator, settings: GateSettings, admission: TokenBucket
    ) -> None:
        self._edge = edge
        self._authenticator = authenticator
        self._settings = settings
        self._admission = admission

    @property
    def is_full(self) -> bool:
        """Whether the edge has all the connections that it may hold."""
        return len(self._edge.connections) >= self._settings.max_connections

    def address_of(self, request: web.Request) -> str:
        """Return the address of the client, behind proxies that are trusted."""
        lines = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote or "", lines, self._settings.trusted)

    async def receive(self, upgrade: Upgrade) -> Guest:
        """Find out whether somebody may come in, in PROTOCOL's order; raises Refused."""
        edge, request = self._edge, upgrade.request
        self._refuse_when_unable()
        address = counted_address(self.address_of(request))
        await self._count_attempt(address)
        self._admit()
        credential = self._authenticator.credential_of(request, upgrade.offer)
        self._check_origin(request, credential)
        principal = await self._identify(credential)
        arrival = upgrade.arrival(address)
        session = Session(str(uuid.uuid4()), principal, self._authenticator.kept(credential))
        try:
            room = None if principal is None else await admit(edge, session, arrival)
            # Others may have come while this one was looked at.
            self._refuse_when_unable()
        except BaseException as problem:
            edge.guard.leave(session.client_id)
            if isinstance(problem, Refused):
                problem.principal = principal
            raise
        return Guest(session, arrival, room)

    def _refuse_when_unable(self) -> None:
        edge = self._edge
        if edge.is_draining:
            raise Refused(HandshakeError.DRAINING, "the edge is shutting down; another one will answer")
        if not edge.positions:
            raise Refused(HandshakeError.UNAVAILABLE, "the edge has not reached its broker yet")
        if not edge.revocations.is_known or edge.permissions.is_blind:
            raise Refused(HandshakeError.UNAVAILABLE, "nobody can tell now what was revoked")
        if self.is_full:
            raise Refused(HandshakeError.OVERLOADED, "the edge has all the connections it may hold")
        if edge.is_overdrawn:
            raise Refused(HandshakeError.OVERLOADED, "too much waits here for clients that do not read")

    async def _count_attempt(self, address: str) -> None:
        wait_seconds = await self._edge.guard.attempt(address)
        if wait_seconds is not None:
            raise Refused(HandshakeError.RATE_LIMITED, "too many attempts from this address", wait_seconds)

    def _admit(self) -> None:
        """Refuse what a storm brings beyond the pace of admission, before a signature is looked at."""
        wait_seconds = self._admission.take(time.monotonic())
        if wait_seconds is not None:
            raise Refused(HandshakeError.OVERLOADED, "too many clients come at once; try later", wait_seconds)

    def _check_origin(self, request: web.Request, credential: Credential | None) -> None:
        """Refuse other people's pages; a browser shows a cookie whatever page asks it to connect."""
        settings = self._settings
        is_cookie = credential is not None and credential.source == "cookie"
        lines = request.headers.getall("Origin", [])
        if not is_allowed(lines, settings.origins, is_required=settings.is_origin_required or is_cookie):
            raise Refused(HandshakeError.ORIGIN_NOT_ALLOWED, "the Origin is missing, or not on the list")

    async def _identify(self, credential: Credential | None) -> Principal | None:
        """Return whose *credential* it is; without one None, where it may be shown later."""
        if credential is None:
            if self._authenticator.sources.is_in_band:
                return None
            message = "no credential; see PROTOCOL §2 for where to put one"
            raise Refused(HandshakeError.UNAUTHENTICATED, message)
        try:
            principal = await self._authenticator.principal_of(credential)
        except InvalidToken as problem:
            raise Refused(HandshakeError.UNAUTHENTICATED, problem.reason) from problem
        except VerifierUnavailable as problem:
            raise Refused(
                HandshakeError.UNAVAILABLE, "nobody can tell now whose credential it is"
            ) from problem
        if self._edge.revocations.is_revoked(principal, None, time.time()):
            refusal = Refused(HandshakeError.UNAUTHENTICATED, "the credential was revoked")
            refusal.principal = principal
            raise refusal
        return principal
