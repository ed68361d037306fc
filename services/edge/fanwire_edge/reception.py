"""Reception: a connection's commands, carried out in the order in which they came (PROTOCOL §4).

In the middle of a delivery nothing else is written: the place in the log that belongs to a connection is
certain again only when the delivery has ended. So commands wait for it, and for a replay that is under
way, for positions that are looked up, and for a peer that does not read the answers. At most 32 wait;
then the socket is not read.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from fanwire_edge.catchup import begin_replay
from fanwire_edge.core.authorization import Decide
from fanwire_edge.core.decision import Decision
from fanwire_edge.core.inbox import Inbox
from fanwire_edge.core.resume import Resumption
from fanwire_edge.core.state import State
from fanwire_edge.core.websocket import pong_frame
from fanwire_edge.edge import Edge
from fanwire_edge.throttling import AWAY_MS, admits, admits_probe
from fanwire_protocol.channels import Channel
from fanwire_protocol.codec import Encoding
from fanwire_protocol.codes import CloseCode
from fanwire_protocol.commands import (
    Authenticate,
    Command,
    InvalidCommand,
    Ping,
    Since,
    Subscribe,
    decode_command,
)

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection

__all__ = ["Probe", "resumption_of", "serve_waiting", "take_message"]

MAX_WAITING = 32


@dataclass(frozen=True, slots=True)
class Probe:
    """A PING of RFC 6455, which is answered with its payload."""

    payload: bytes


# A command is a string or bytes, by the encoding of its connection.
_Message: TypeAlias = str | bytes | Probe


def take_message(edge: Edge, connection: Connection, message: _Message) -> None:
    """Carry out a command, or answer a PING, now or when it is its turn.

    A `ping` does not wait for the commands before it.
    """
    is_first = not connection.inbox and not connection.is_replaying
    is_free = connection.may_answer and not edge.is_delivering and (is_first or _is_ping(message))
    if not (is_free and _carry_out(edge, connection, message)):
        _wait(edge, connection, message)


def serve_waiting(edge: Edge, connection: Connection) -> None:
    """Carry out what waits, as far as nothing holds it up; a replay holds up all but a `ping`."""
    inbox = connection.inbox
    while inbox and connection.may_answer:
        if connection.is_replaying and not inbox.is_first_sign:
            return
        if not _carry_out(edge, connection, inbox.first):
            return
        inbox.drop_first()
    if not inbox:
        connection.inbox = None
        connection.read_on()


def resumption_of(edge: Edge, connection: Connection, since: Since) -> Resumption | None:
    """Return what *since* proves, or None while that is looked up; then the connection gets a turn."""
    now = asyncio.get_running_loop().time()
    until, before = connection.asking or (now + edge.limits.resume_seconds, None)
    found = edge.resumption(connection, since, before)
    connection.asking = until, found
    if found.is_decided or now >= until:
        connection.asking = None
        edge.undecided.discard(connection)
        edge.history.forget(connection)
        return found.given_up()
    edge.undecided.add(connection)
    edge.history.want(found.missing, connection)
    if found.is_ahead:
        edge.ahead.add(connection)
    return None


def _wait(edge: Edge, connection: Connection, message: _Message) -> None:
    if connection.inbox is None:
        connection.inbox = Inbox()
    is_probe = isinstance(message, Probe)
    if not connection.inbox.add(message, is_sign=is_probe or _is_ping(message), is_probe=is_probe):
        edge.tally.rate_limited["commands"] += 1
        reason = "it sent far more than it may before the answers"
        connection.close(CloseCode.RATE_LIMITED, reason, retry_after_ms=AWAY_MS)
        return
    if len(connection.inbox) >= MAX_WAITING:
        connection.read_no_more()
    if connection.may_answer:
        edge.pump.schedule(connection)


def _carry_out(edge: Edge, connection: Connection, message: _Message) -> bool:
    """Carry out one message; False where it has to wait for what it asks for. It counts once, however often
    it is tried."""
    if isinstance(message, Probe):
        if admits_probe(edge, connection):
            connection.write(pong_frame(message.payload))
        return True
    try:
        command = decode_command(message, connection.dialect.encoding)
    except InvalidCommand as mistake:
        if admits(edge, connection, mistake):
            edge.tally.commands += 1
            connection.send(edge.desk.refuse(connection.session, mistake))
            _end_the_exhausted(edge, connection)
        return True
    if connection.tried is not message and not admits(edge, connection, command):
        return True
    is_done = _attempt(edge, connection, command)
    if not is_done:
        connection.tried = message
    elif connection.tried is message:
        connection.tried = None
    return is_done


def _attempt(edge: Edge, connection: Connection, command: Command) -> bool:
    if edge.anteroom is not None and connection.state is State.ANTEROOM:
        is_done = edge.anteroom.attempt(connection, command)
    elif edge.refresher is not None and isinstance(command, Authenticate):
        is_done = edge.refresher.attempt(connection, command)
    elif isinstance(command, Subscribe):
        return _subscribe(edge, connection, command)
    else:
        _answer(edge, connection, command, None, _nothing_is)
        return True
    edge.tally.commands += is_done
    return is_done


def _subscribe(edge: Edge, connection: Connection, command: Subscribe) -> bool:
    """Subscribe where it is known what is permitted, and what the positions prove; else tell to wait."""
    decide = edge.permissions.verdict(connection, command.channels)
    if decide is None:
        return False
    resumption = None
    if command.since is not None:
        resumption = resumption_of(edge, connection, command.since)
        if resumption is None:
            return False
    _answer(edge, connection, command, resumption, decide)
    edge.permissions.settle(connection)
    return True


def _nothing_is(_: Channel) -> Decision:
    return Decision.FORBIDDEN


def _end_the_exhausted(edge: Edge, connection: Connection) -> None:
    if edge.desk.is_exhausted(connection.session):
        connection.close(CloseCode.PROTOCOL_ERROR, "too many mistakes in a row")


def _answer(
    edge: Edge, connection: Connection, command: Command, resumption: Resumption | None, decide: Decide
) -> None:
    edge.tally.commands += 1
    outcome = edge.desk.carry_out(
        connection,
        connection.session,
        command,
        lambda: edge.place_of(connection, resumption),
        decide,
    )
    if outcome.begun:
        connection.coverage.begin(outcome.begun, edge.places_to_keep(connection))
    connection.coverage.end(outcome.ended)
    for answer in outcome.answers:
        connection.send(answer)
    if edge.audit.is_on and isinstance(command, Subscribe):
        edge.audit.refused(connection, outcome.answers)
    if resumption is not None and outcome.accepted:
        begin_replay(edge, connection, resumption, outcome.accepted, outcome.begun)
    _end_the_exhausted(edge, connection)


def _is_ping(message: _Message) -> bool:
    """Tell whether *message* asks for a sign of life, by the protocol's command or by RFC 6455's frame."""
    if isinstance(message, Probe):
        return True
    # Asked at every turn of a replay of what waits behind it, so a look at the text comes first.
    if isinstance(message, str):
        return "ping" in message and _decodes_to_ping(message, "json")
    return b"ping" in message and _decodes_to_ping(message, "msgpack")


def _decodes_to_ping(message: str | bytes, encoding: Encoding) -> bool:
    try:
        return isinstance(decode_command(message, encoding), Ping)
    except InvalidCommand:
        return False
