"""The anteroom: where clients are that have not said yet who they are (PROTOCOL §2 `in_band`).

They are on no channel, and stand nowhere in the log. What they have is a place on the wheel, which pings them
and ends their time, and the right to say `authenticate`. Who is known then joins like anybody who was known
at the door, and is greeted once more, by the answer to its command.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fanwire_edge.authenticator import Authenticator
from fanwire_edge.connection import Connection
from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.state import State
from fanwire_edge.edge import Edge
from fanwire_edge.identification import Identification, Known, Unknown, unless_revoked
from fanwire_edge.joining import expires_tick
from fanwire_protocol.codes import CloseCode, ErrorCode
from fanwire_protocol.commands import Authenticate, Command, Ping, Pong, ReplyTo

__all__ = ["Anteroom", "Join"]

# Puts a connection on its channels, and greets it with what is made of the greeting.
Join = Callable[[Callable[[Answer], Answer]], None]


@dataclass(slots=True)
class _Entry:
    """What the turns of a connection do once it is known: it joins, as the answer to its command."""

    join: Join
    reply_to: ReplyTo = None

    def __call__(self) -> None:
        self.join(partial(answers.authenticated, reply_to=self.reply_to))


class Anteroom:
    """Keeps clients for *seconds* at most, until *authenticator* knows who they are."""

    def __init__(self, edge: Edge, authenticator: Authenticator, seconds: float, tick_seconds: float) -> None:
        self._edge = edge
        self._authenticator = authenticator
        self._seconds = seconds
        self._tick_seconds = tick_seconds

    def receive(self, connection: Connection, join: Join) -> None:
        """Greet *connection*, which will *join* once it is known. No delivery is under way."""
        edge = self._edge
        connection.expires_tick = math.ceil((time.monotonic() + self._seconds) / self._tick_seconds)
        edge.wheel.add(connection, is_told=False)
        connection.opening = _Entry(join)
        connection.state = State.ANTEROOM
        who = answers.Identity(connection.session.client_id)
        connection.send(answers.connected(edge.greeting, who, [], {}, None))
        edge.pump.schedule(connection)

    def attempt(self, connection: Connection, command: Command) -> bool:
        """Carry out *command*; False where it has to wait for a verifier."""
        connection.session.mistakes = 0
        match command:
            case Authenticate():
                return self._authenticate(connection, command)
            case Ping(reply_to):
                connection.send(answers.pong({}, reply_to))
            case Pong():
                pass
            case _:
                message = "say `authenticate` first; until then only that and `ping` are answered"
                connection.send(answers.error(ErrorCode.UNAUTHENTICATED, message, reply_to=command.reply_to))
        return True

    def _authenticate(self, connection: Connection, command: Authenticate) -> bool:
        errands = self._edge.errands
        errand = errands.of(connection)
        if not isinstance(errand, Identification):
            errands.begin(connection, Identification(self._authenticator, command.token))
            return False
        if errand.finding is None:
            return False
        errands.end(connection)
        match unless_revoked(self._edge, connection.session.client_id, errand.finding):
            case Known(principal, credential):
                connection.session.authenticate(principal, self._authenticator.kept(credential))
                self._let_in(connection, command.reply_to)
            case unknown:
                self._edge.audit.denied("authenticate", unknown.code, unknown.reason, connection=connection)
                self._refuse(connection, unknown, command.reply_to)
        return True

    def _refuse(self, connection: Connection, unknown: Unknown, reply_to: ReplyTo) -> None:
        if unknown.code is ErrorCode.UNAVAILABLE:
            connection.send(answers.error(unknown.code, unknown.reason, reply_to=reply_to))
        else:
            connection.close(CloseCode.UNAUTHENTICATED, unknown.reason)

    def _let_in(self, connection: Connection, reply_to: ReplyTo) -> None:
        """Let the connection's next turn join it; what it says meanwhile waits."""
        edge = self._edge
        edge.wheel.remove(connection)
        connection.expires_tick = expires_tick(connection.session.principal, self._tick_seconds)
        entry = connection.opening
        assert isinstance(entry, _Entry)
        entry.reply_to = reply_to
        connection.state = State.OPENING
        edge.pump.schedule(connection)
