"""Replay: what a connection is due of the time before it was live, stream by stream (PROTOCOL §6).

Theory of operation. A replay has a cursor and an end for each stream; the connection's place in the log
is the end, so that reading the log goes on exactly where the replay stops. A cursor that memory reaches
back to is served from the log, an older one from pages of history. A page that is not there yet is asked
for and waited for, while other connections go on. Where continuity breaks under way, because the broker
has trimmed what was not read yet, the loss is told and the stream is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from fanwire_edge.core.fanout import BATCH_BYTES
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.log import Log
from fanwire_edge.core.page import Order, Page, Pages, page_start
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import Position

__all__ = ["Missing", "Replay", "Step"]

_MAX_RECORDS = 256

Wire: TypeAlias = Callable[[Record, Slot], bytes]


@dataclass(frozen=True, slots=True)
class Missing:
    """A page of *stream* from *start* on has to be read before anything can go on."""

    stream: Stream
    start: Order


@dataclass(frozen=True, slots=True)
class Step:
    """What a replay yields next: frames, a loss, or the page that it waits for."""

    data: bytes = b""
    frames: int = 0
    loss: Loss | None = None
    missing: Missing | None = None


class Replay:
    """What is due on *keys* after *cursors* and up to *ends*.

    *joined* are keys that the connection was on already, from the positions *joined_at* on.
    """

    def __init__(
        self,
        keys: Set[str],
        cursors: Mapping[Stream, Position],
        ends: Mapping[Stream, Position],
        joined: Set[str] = frozenset(),
        joined_at: Mapping[Stream, Position] | None = None,
    ) -> None:
        self._keys = keys
        self._joined = joined
        self._joined_at = joined_at or {}
        self._ends = ends
        self._cursors = {
            stream: cursor for stream, cursor in cursors.items() if cursor.key < ends[stream].key
        }
        # Where the next page is looked for: at first the page that proves the cursor, then what follows.
        self._places = {stream: page_start(cursor.key) for stream, cursor in self._cursors.items()}

    @property
    def is_over(self) -> bool:
        """Whether everything was yielded."""
        return not self._cursors

    @property
    def cursors(self) -> Mapping[Stream, Position]:
        """How far those streams were replayed that are not done yet."""
        return self._cursors

    def step(self, log: Log, pages: Pages, wire: Wire) -> Step:
        """Return the next portion; not to be called when it is over."""
        stream, cursor = next(iter(self._cursors.items()))
        if log.reaches(stream, cursor):
            return self._step_in_log(stream, cursor, log, wire)
        self._places[stream], page = pages.proving(stream, self._places[stream], cursor.key)
        if page is None:
            return Step(missing=Missing(stream, self._places[stream]))
        if page.broker == cursor.broker and page.ids and page.continues(cursor.id):
            return self._step_in_page(stream, cursor, page, wire)
        if not page.ids:
            pages.discard(page)
        return self.give_up(stream)

    def give_up(self, stream: Stream) -> Step:
        """Return the loss of the rest of *stream*: it cannot be proven or read any more."""
        cursor = self._cursors.pop(stream)
        return Step(loss=Loss(stream, GapReason.TRIMMED, cursor, self._ends[stream]))

    def _step_in_log(self, stream: Stream, cursor: Position, log: Log, wire: Wire) -> Step:
        end = self._ends[stream]
        start, stop = log.number_after(stream, cursor), log.number_after(stream, end)
        found = log.read(self._keys | self._joined, start, stop, _MAX_RECORDS, stream)
        return self._portion(stream, found.records, end if found.next == stop else None, wire)

    def _step_in_page(self, stream: Stream, cursor: Position, page: Page, wire: Wire) -> Step:
        end = self._ends[stream]
        records = page.due(self._keys | self._joined, cursor.key, end.key, _MAX_RECORDS)
        last = Position(page.ids[-1], page.broker)
        is_whole = len(records) < _MAX_RECORDS
        step = self._portion(stream, records, min(last, end, key=_key) if is_whole else None, wire)
        if self._cursors.get(stream) == last:
            self._places[stream] = page.end
        return step

    def _portion(
        self, stream: Stream, records: Sequence[Record], reached: Position | None, wire: Wire
    ) -> Step:
        """Take *records* until 64 KB are full; *reached* is the place behind them where they are all."""
        frames: list[bytes] = []
        size = 0
        for count, record in enumerate(records, 1):
            due = [wire(record, slot) for slot in record.slots if self._is_due(stream, record, slot)]
            frames += due
            size += sum(map(len, due))
            if size >= BATCH_BYTES and count < len(records):
                self._move(stream, record.position)
                break
        else:
            self._move(stream, reached or records[-1].position)
        return Step(b"".join(frames), len(frames))

    def _is_due(self, stream: Stream, record: Record, slot: Slot) -> bool:
        if not self._keys.isdisjoint(slot.keys):
            return True
        until = self._joined_at.get(stream)
        if until is None or record.position.key > until.key:
            return False
        return not self._joined.isdisjoint(slot.keys)

    def _move(self, stream: Stream, reached: Position) -> None:
        if reached.key >= self._ends[stream].key:
            del self._cursors[stream]
        else:
            self._cursors[stream] = reached


def _key(position: Position) -> Order:
    return position.key
