"""Refresh: a connection that is authenticated shows another credential of the same user (PROTOCOL §2).

Theory of operation. The command waits in the connection's inbox for two errands, one after the other, while
events go on. First it is found out whose the token is; where it is no good, an error is all that happens.
Else the connection goes by the new one from that moment: its expiry moves, it leaves the channels of roles
that it has no more. Then whoever permits is asked anew for each subscription. Last it joins the channels of
new roles, from where it stands, like by `subscribe`, and is told so.
"""

from __future__ import annotations

import asyncio

from fanwire_edge.authenticator import Authenticator
from fanwire_edge.connection import Connection
from fanwire_edge.core import answers
from fanwire_edge.core.principal import Principal, server_joined
from fanwire_edge.core.record import is_gap_key
from fanwire_edge.edge import Edge
from fanwire_edge.identification import Finding, Identification, Unknown, unless_revoked
from fanwire_edge.joining import expires_tick, greeting
from fanwire_protocol.channels import parse_channel
from fanwire_protocol.codes import ErrorCode
from fanwire_protocol.commands import Authenticate, ReplyTo

__all__ = ["Refresher"]

# Whoever decides has a deadline, which is shorter, but may be asked anew under way.
REVIEW_SECONDS = 15.0


class _Review:
    """Asks anew for every subscription of *connection*."""

    __slots__ = ("_connection", "_edge")

    def __init__(self, edge: Edge, connection: Connection) -> None:
        self._edge = edge
        self._connection = connection

    async def run(self) -> None:
        """Ask, and end what is permitted no more; cancelling is safe."""
        try:
            async with asyncio.timeout(REVIEW_SECONDS):
                await self._edge.permissions.recheck(self._connection)
        except TimeoutError:
            # What was permitted before holds as long as it would have without a refresh.
            pass


class Refresher:
    """Carries out `authenticate` on connections that are open."""

    def __init__(self, edge: Edge, authenticator: Authenticator, tick_seconds: float) -> None:
        self._edge = edge
        self._authenticator = authenticator
        self._tick_seconds = tick_seconds

    def attempt(self, connection: Connection, command: Authenticate) -> bool:
        """Carry out *command* as far as possible; False where it has to wait for others."""
        errands = self._edge.errands
        errand = errands.of(connection)
        if errand is None:
            errands.begin(connection, Identification(self._authenticator, command.token))
            return False
        if errands.is_out(connection):
            return False
        errands.end(connection)
        if isinstance(errand, Identification) and errand.finding is not None:
            return self._refresh(connection, errand.finding, command.reply_to)
        self._confirm(connection, command.reply_to)
        return True

    def _refresh(self, connection: Connection, finding: Finding, reply_to: ReplyTo) -> bool:
        connection.session.mistakes = 0
        verdict = self._judged(connection, finding)
        if isinstance(verdict, Unknown):
            self._edge.audit.denied("authenticate", verdict.code, verdict.reason, connection=connection)
            connection.send(answers.error(verdict.code, verdict.reason, reply_to=reply_to))
            return True
        principal = verdict.principal
        connection.session.authenticate(principal, self._authenticator.kept(verdict.credential))
        self._edge.wheel.renew(connection, expires_tick(principal, self._tick_seconds))
        self._leave(connection, principal)
        self._edge.errands.begin(connection, _Review(self._edge, connection))
        return False

    def _judged(self, connection: Connection, finding: Finding) -> Finding:
        """Return by what *connection* may go on, or why it may not go by what was found."""
        session = connection.session
        verdict = unless_revoked(self._edge, session.client_id, finding)
        if isinstance(verdict, Unknown):
            return verdict
        principal, before = verdict.principal, session.principal
        if (principal.user, principal.tenant) != (before.user, before.tenant):
            return Unknown(ErrorCode.UNAUTHENTICATED, "a refresh is for the same user and tenant")
        return verdict

    def _leave(self, connection: Connection, principal: Principal) -> None:
        """Take *connection* off the channels of roles that it has no more."""
        joined = server_joined(principal, connection.session.client_id)
        left = [key for key in connection.keys if _is_joined(key) and key not in joined]
        for channel in left:
            self._edge.hub.unsubscribe(connection, channel)
        connection.coverage.end(left)

    def _confirm(self, connection: Connection, reply_to: ReplyTo) -> None:
        """Put *connection* on the channels of new roles, and tell on which it is and where it stands."""
        edge, session = self._edge, connection.session
        joined = server_joined(session.principal, session.client_id)
        new = [channel for channel in joined if channel not in connection.keys]
        for channel in new:
            edge.hub.subscribe(connection, channel)
        if new:
            connection.coverage.begin(new, edge.places_to_keep(connection))
        # It may not be permitted any more, or left.
        entered = [channel for channel in session.room.channels if channel in connection.keys]
        said = greeting(edge, connection, (*joined, *entered))
        connection.send(answers.authenticated(said, reply_to))


def _is_joined(key: str) -> bool:
    return not is_gap_key(key) and parse_channel(key).is_server_joined
