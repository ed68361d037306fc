"""Throttling: what a client is told who asks for more than its share (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from fanwire_edge.core import answers
from fanwire_edge.core.throttle import Limit, Refusal
from fanwire_edge.edge import Edge
from fanwire_protocol.codes import CloseCode, ErrorCode
from fanwire_protocol.commands import Command, InvalidCommand, Ping, Pong, Subscribe, Unsubscribe

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection

__all__ = ["AWAY_MS", "admits", "admits_probe"]

# Who was sent away comes back after a while.
AWAY_MS = 10_000
_WHAT = {
    Limit.COMMANDS: "commands come too fast on this connection",
    Limit.PINGS: "pings come too fast on this connection",
    Limit.CHURN: "channels are joined and left too fast on this connection",
    Limit.TENANT: "commands come too fast from all connections of the tenant together",
}


def admits(edge: Edge, connection: Connection, command: Command | InvalidCommand) -> bool:
    """Tell whether *command* may be looked at; where it may not, the client has been told."""
    now = asyncio.get_running_loop().time()
    if isinstance(command, Ping | Pong):
        refusal = edge.throttle.ping(connection, now)
    else:
        named = len(command.channels) if isinstance(command, Subscribe | Unsubscribe) else 0
        refusal = edge.throttle.command(connection, _tenant(connection, command), named, now)
    if refusal is None:
        return True
    edge.tally.commands += 1
    connection.session.mistakes = 0
    # A `pong` is never answered.
    if not isinstance(command, Pong):
        message = f"{_WHAT[refusal.limit]}; wait for `retryAfterMs`"
        wait_ms = math.ceil(refusal.wait_seconds * 1000)
        connection.send(
            answers.error(ErrorCode.RATE_LIMITED, message, retry_after_ms=wait_ms, reply_to=command.reply_to)
        )
    _take_note(edge, connection, refusal)
    return False


def admits_probe(edge: Edge, connection: Connection) -> bool:
    """Tell whether a PING of RFC 6455 is answered; where it is not, the client hears nothing."""
    refusal = edge.throttle.ping(connection, asyncio.get_running_loop().time())
    if refusal is None:
        return True
    _take_note(edge, connection, refusal)
    return False


def _take_note(edge: Edge, connection: Connection, refusal: Refusal) -> None:
    edge.tally.rate_limited[refusal.limit.value] += 1
    if refusal.is_final:
        reason = "it went on although it was refused"
        connection.close(CloseCode.RATE_LIMITED, reason, retry_after_ms=AWAY_MS)


def _tenant(connection: Connection, command: Command | InvalidCommand) -> str | None:
    """Return whose budget *command* counts for; a connection's first `subscribe` counts for nobody's.

    Else all who come back after a cut would be refused for each other.
    """
    session = connection.session
    if isinstance(command, Subscribe) and not session.has_subscribed:
        session.has_subscribed = True
        return None
    return session.principal.tenant if session.is_authenticated else None
