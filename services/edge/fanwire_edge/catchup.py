"""Catching up: one turn of a connection that is behind (ADR 0004).

A connection is due first its replay, if it has one, then the log from its place on. Each turn writes at
most one portion of 64 KB, so that thousands can take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import TYPE_CHECKING

from fanwire_edge.core import answers
from fanwire_edge.core.hub import Lag
from fanwire_edge.core.policy import Policy
from fanwire_edge.core.reading import next_portion
from fanwire_edge.core.replay import Replay
from fanwire_edge.core.resume import Resumption
from fanwire_edge.edge import Edge, wire_of
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
    if lag.replay is not None:
        _replay_on(edge, connection, lag, lag.replay)
    elif lag.seq >= edge.write_seq:
        edge.hub.release(connection)
        edge.behind.discard(connection)
        return True
    elif lag.seq < edge.log.first:
        _leave_memory(edge, connection, lag)
    else:
        _read_log(edge, connection, lag)
        edge.pump.schedule(connection)
    return False


def _read_log(edge: Edge, connection: Connection, lag: Lag) -> None:
    portion = next_portion(edge.log, connection.keys, lag.seq, edge.write_seq, wire_of)
    # Before the write, which may pause the connection, for it to stand where it does.
    lag.seq = portion.next
    lag.positions = edge.log.positions_at(portion.next)
    lag.size_bytes = max(0, lag.size_bytes - len(portion.data))
    _write(edge, connection, portion.data, portion.frames)


def _replay_on(edge: Edge, connection: Connection, lag: Lag, replay: Replay) -> None:
    if replay.is_over:
        lag.replay = None
        edge.pump.schedule(connection)
        return
    step = replay.step(edge.log, edge.history.pages, wire_of)
    if step.missing is not None:
        edge.history.want([step.missing], connection)
        return
    if step.loss is not None and not lag.is_resuming:
        connection.cut("the log no longer reaches back to its place")
        return
    if step.loss is not None:
        edge.tally.gaps[step.loss.reason.value] += 1
        connection.coverage.lose(step.loss.stream, step.loss.end)
        connection.send(answers.lost(step.loss, edge.greeting.reconnect_jitter_ms))
    _write(edge, connection, step.data, step.frames)
    edge.pump.schedule(connection)


def _leave_memory(edge: Edge, connection: Connection, lag: Lag) -> None:
    """Go on from the broker's log where the memory no longer reaches back to the connection's place."""
    if not lag.is_resuming and edge.policies.of(connection.keys) is Policy.DISCONNECT:
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


def _write(edge: Edge, connection: Connection, data: bytes, frames: int) -> None:
    if data:
        edge.tally.frames_out += frames
        edge.tally.bytes_out += len(data)
        connection.write(data)
