"""Catching up: one turn of a connection that is behind (ADR 0004).

A connection is due first its replay, if it has one, then the log from its place on. Each turn writes at
most one portion of 64 KB, so that thousands can take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from functools import partial
from typing import TYPE_CHECKING

from fanwire_edge.core import answers
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.hub import Lag
from fanwire_edge.core.overflow import leap
from fanwire_edge.core.policy import Policy
from fanwire_edge.core.reading import Portion, next_portion
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.replay import Replay, Step
from fanwire_edge.core.resume import Resumption
from fanwire_edge.edge import Edge
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import BEGINNING, Position

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection

__all__ = ["begin_replay", "fall_behind", "take_turn"]


def fall_behind(edge: Edge, connection: Connection) -> Lag:
    """Make a live connection behind, at the place up to which everything was written to it."""
    lag = Lag(
        edge.write_seq,
        edge.log.positions_at(edge.write_seq) if edge.is_delivering else edge.positions,
        asyncio.get_running_loop().time(),
        buffered_bytes=connection.buffered_bytes,
    )
    edge.hub.hold(connection, lag)
    edge.behind.add(connection)
    return lag


def begin_replay(
    edge: Edge, connection: Connection, resumption: Resumption, keys: Set[str], new: Set[str]
) -> None:
    """Let *connection* read what *keys* are due from the starts of *resumption* on; *new* came just now."""
    edge.tally.resumes["partial" if resumption.unproven else "recovered"] += 1
    given = connection.coverage.given(connection.keys, keys, new, edge.log.gap_ends)
    connection.coverage.resume(keys, resumption.starts)
    if not resumption.starts:
        return
    lag = connection.lag or fall_behind(edge, connection)
    lag.replay = Replay(keys, resumption.starts, lag.positions, given)
    lag.is_resuming = True
    edge.pump.schedule(connection)


def take_turn(edge: Edge, connection: Connection) -> bool:
    """Write the next portion, and tell whether the connection is level (or over) now."""
    lag = connection.lag
    if lag is None:
        return True
    policy = edge.policies.of(connection.keys)
    if policy is Policy.DROP_OLDEST:
        _drop_oldest(edge, connection, lag)
    if lag.replay is not None:
        _replay_on(edge, connection, lag, lag.replay, policy)
    elif lag.seq >= edge.write_seq:
        edge.hub.release(connection)
        edge.behind.discard(connection)
        return True
    elif lag.seq < edge.log.first:
        _leave_memory(edge, connection, lag, policy)
    else:
        _read_log(edge, connection, lag, policy)
        edge.pump.schedule(connection)
    return False


def _drop_oldest(edge: Edge, connection: Connection, lag: Lag) -> None:
    """Leap to the newest entries where more are due than a connection may be behind by."""
    feeds = partial(edge.feeds, connection=connection)
    most = edge.limits.max_behind_entries
    for loss in leap(lag, edge.log, connection.keys, edge.write_seq, most, feeds):
        _tell(edge, connection, loss)


def _tell(edge: Edge, connection: Connection, loss: Loss) -> None:
    edge.tally.gaps[loss.reason.value] += 1
    connection.coverage.lose(loss.stream, loss.end)
    connection.send(answers.lost(loss, edge.greeting.reconnect_jitter_ms))


def _wire(edge: Edge, connection: Connection, policy: Policy) -> Callable[[Record, Slot], bytes]:
    """Return what gives the bytes of a frame; none where a later one stands for it, if that is the policy."""
    wire = connection.dialect.wire
    return edge.log.latest.conflating(wire) if policy is Policy.CONFLATE else wire


def _read_log(edge: Edge, connection: Connection, lag: Lag, policy: Policy) -> None:
    wire = _wire(edge, connection, policy)
    portion = next_portion(edge.log, connection.keys, lag.seq, edge.write_seq, wire)
    # Before the write, which may pause the connection, for it to stand where it does.
    lag.seq = portion.next
    lag.positions = edge.log.positions_at(portion.next)
    lag.size_bytes = max(0, lag.size_bytes - len(portion.data))
    _write(edge, connection, portion)


def _replay_on(edge: Edge, connection: Connection, lag: Lag, replay: Replay, policy: Policy) -> None:
    if replay.is_over:
        lag.replay, lag.recalled = None, 0
        edge.pump.schedule(connection)
        return
    is_conflated = policy is Policy.CONFLATE
    wire = _wire(edge, connection, policy)
    step = replay.step(edge.log, edge.history.pages, wire, is_conflated=is_conflated)
    if step.missing is not None:
        edge.history.want([step.missing], connection)
        return
    if step.loss is not None:
        if policy >= Policy.CATCH_UP and not lag.is_resuming:
            edge.tally.cuts["history"] += 1
            connection.cut("the log no longer reaches back to its place")
            return
        _tell(edge, connection, step.loss)
    if not lag.is_resuming:
        lag.recalled += step.frames
    _write(edge, connection, step)
    edge.pump.schedule(connection)


def _leave_memory(edge: Edge, connection: Connection, lag: Lag, policy: Policy) -> None:
    """Go on from the broker's log where the memory no longer reaches back to the connection's place."""
    if not lag.is_resuming and policy is Policy.DISCONNECT:
        edge.tally.cuts["memory"] += 1
        connection.cut("the log in memory no longer reaches back to its place")
        return
    now = edge.positions
    # A topic that was found meanwhile is due from its first entry on.
    starts = {
        stream: lag.positions.get(stream, Position(BEGINNING, place.broker))
        for stream, place in now.items()
        if edge.feeds(stream, connection)
    }
    for stream, start in starts.items():
        if start.broker != now[stream].broker:
            gap = answers.gap(
                stream.topic,
                GapReason.FAILOVER,
                str(start),
                str(now[stream]),
                edge.greeting.reconnect_jitter_ms,
            )
            connection.coverage.lose(stream, now[stream])
            connection.send(gap)
    lag.replay = Replay(
        frozenset(connection.keys),
        {stream: start for stream, start in starts.items() if start.broker == now[stream].broker},
        now,
    )
    lag.seq, lag.positions = edge.write_seq, now
    edge.pump.schedule(connection)


def _write(edge: Edge, connection: Connection, portion: Portion | Step) -> None:
    connection.session.skipped += portion.skipped
    edge.tally.frames_skipped += portion.skipped
    if portion.data:
        edge.tally.frames_out += portion.frames
        edge.tally.bytes_out += len(portion.data)
        connection.write(portion.data)
