"""Overflow: a connection that is too far behind leaps to the newest entries (policy `drop_oldest`).

Theory of operation. What is due in memory is counted exactly. What memory no longer holds is read back
from the broker, as for `catch_up`; where that turns out to be more than a connection may be behind by, it
leaps to what memory holds of the newest. What is left out on the way is a loss of each topic concerned, told
before any later event. Nothing is kept for any of this but a count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from fanwire_edge.core.follower import Loss
from fanwire_edge.core.hub import Lag
from fanwire_edge.core.log import Log
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import BEGINNING, Position

__all__ = ["leap"]

# Records looked at to tell which topics are concerned; in doubt all are that moved on.
_MAX_RECORDS = 2048

Places: TypeAlias = Mapping[Stream, Position]


def leap(
    lag: Lag, log: Log, keys: Collection[str], stop: int, at_most: int, feeds: Callable[[Stream], bool]
) -> Sequence[Loss]:
    """Move *lag* to where the newest *at_most* records due on *keys* begin, if there are more before *stop*.

    Returns what was left out, of the streams that *feeds* tells of; nothing where it is not that far behind.
    """
    seq = _target(lag, log, keys, stop, at_most)
    if seq is None:
        return ()
    before, places = lag.places, log.positions_at(seq)
    concerned = _concerned(lag, log, keys, seq)
    left_out = [
        loss
        for stream, end in places.items()
        if feeds(stream)
        and (concerned is None or stream in concerned)
        and (loss := _loss(stream, before.get(stream), end)) is not None
    ]
    if lag.replay is not None and seq < lag.seq:
        # Some of its streams may be further than that, or have begun behind a failover.
        lag.replay.leap(places)
        left_out = [loss for loss in left_out if loss.reason is GapReason.OVERFLOW]
    else:
        lag.seq, lag.positions = seq, places
        lag.replay, lag.is_resuming = None, False
    lag.recalled = lag.size_bytes = 0
    return left_out


def _target(lag: Lag, log: Log, keys: Collection[str], stop: int, at_most: int) -> int | None:
    seq = log.newest(keys, max(lag.seq, log.first), stop, at_most)
    if seq is None and lag.recalled > at_most:
        newest = log.newest(keys, log.first, stop, at_most)
        return log.first if newest is None else newest
    return seq


def _concerned(lag: Lag, log: Log, keys: Collection[str], seq: int) -> Collection[Stream] | None:
    """Return the streams of which something is left out; None where that is not known."""
    if lag.replay is not None or lag.seq < log.first:
        return None
    found = log.read(keys, lag.seq, seq, _MAX_RECORDS)
    return {record.stream for record in found.records} if found.next == seq else None


def _loss(stream: Stream, start: Position | None, end: Position) -> Loss | None:
    if start is None:
        # A topic that was found meanwhile is due from its first entry on.
        start = Position(BEGINNING, end.broker)
    if start.broker != end.broker:
        return Loss(stream, GapReason.FAILOVER, start, end)
    return Loss(stream, GapReason.OVERFLOW, start, end) if start.key < end.key else None
