"""Joining: a connection comes onto its channels and is greeted, all at one place in the log (PROTOCOL §3)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from fanwire_edge.catchup import begin_replay
from fanwire_edge.connection import Connection
from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.principal import Principal, count_unjoined_roles, server_joined
from fanwire_edge.core.record import gap_key
from fanwire_edge.core.resume import Resumption
from fanwire_edge.core.room import PLAIN, Room
from fanwire_edge.core.session import Session
from fanwire_edge.edge import Edge
from fanwire_edge.reception import resumption_of
from fanwire_protocol.channels import parse_channel
from fanwire_protocol.codes import CloseCode
from fanwire_protocol.commands import Since
from fanwire_protocol.keys import DIRECT_TOPIC, partition_of

__all__ = ["expires_tick", "greeting", "join"]

logger = logging.getLogger("fanwire.door")


def _as_it_is(greeting: Answer) -> Answer:
    return greeting


def join(
    edge: Edge,
    connection: Connection,
    since: Since,
    greet: Callable[[Answer], Answer] = _as_it_is,
    room: Room = PLAIN,
) -> None:
    """Put *connection* on the server's channels and those of its *room*, and greet it.

    It is sent what *greet* makes of the greeting. Where *since* has to be looked up, nothing happens; the
    connection's next turn tries again.
    """
    session = connection.session
    resumption = resumption_of(edge, connection, since) if since else None
    if since and resumption is None:
        return
    if _is_barred(edge, connection, room):
        return
    principal, session.room = session.principal, room
    channels = (*server_joined(principal, session.client_id), *room.channels)
    for channel in channels:
        edge.hub.subscribe(connection, channel)
    if room.channels:
        edge.permissions.keep(connection, room.channels)
    edge.hub.subscribe(connection, gap_key(partition_of(DIRECT_TOPIC, principal.tenant, edge.partitions)))
    edge.wheel.add(connection)
    edge.tally.roles_unjoined += count_unjoined_roles(principal)
    fields = {"client_id": session.client_id, "user": principal.user, "tenant": principal.tenant}
    logger.info("connection_opened", extra=fields)
    edge.audit.opened(connection)
    connection.open(greet(greeting(edge, connection, channels, resumption)))
    if resumption is not None:
        for gap in edge.desk.gaps(resumption):
            connection.send(gap)
        begin_replay(edge, connection, resumption, frozenset(channels), frozenset(channels))


def _is_barred(edge: Edge, connection: Connection, room: Room) -> bool:
    """Close a connection of which something was revoked since its handshake began, and tell that it was."""
    session = connection.session
    if not edge.revocations.is_known:
        connection.close(CloseCode.DRAINING, "nobody can tell now what was revoked; come back")
    elif edge.revocations.is_revoked(session.principal, session.client_id, time.time()):
        connection.close(CloseCode.PERMISSION_REVOKED, "the credential was revoked")
    elif _is_withdrawn(edge, session, room):
        connection.close(CloseCode.PERMISSION_CHANGED, "a permission was withdrawn")
    else:
        return False
    return True


def _is_withdrawn(edge: Edge, session: Session, room: Room) -> bool:
    if not room.channels or not edge.permissions.is_outdated(room.decided_at):
        return False
    channels = map(parse_channel, room.channels)
    principal, now, client_id = session.principal, time.time(), session.client_id
    return any(edge.revocations.forbids(principal, channel, now, client_id) for channel in channels)


def greeting(
    edge: Edge, connection: Connection, channels: Sequence[str], resumption: Resumption | None = None
) -> Answer:
    """Return what a connection is greeted with that the server put on *channels*, at this moment."""
    session = connection.session
    place = edge.place_of(connection, resumption)
    said = answers.connected(
        edge.greeting,
        answers.Identity(session.client_id, session.principal.user, session.principal.tenant),
        channels,
        place.starts,
        place.recovered,
    )
    return replace(said, payload={**said.payload, **session.room.fields}) if session.room.fields else said


def expires_tick(principal: Principal, tick_seconds: float) -> int | None:
    """Return the tick of the wheel in which the credential of *principal* ends, None where it does not."""
    if principal.expires_at is None:
        return None
    ends_at = time.monotonic() + principal.expires_at - time.time()
    return math.ceil(ends_at / tick_seconds)
