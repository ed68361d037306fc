"""Replay: what a connection is due of the time before it was live, stream by stream (PROTOCOL §6).

Theory of operation. A replay has a cursor and an end for each stream; the connection's place in the log
is the end, so that reading the log goes on exactly where the replay stops. A cursor that memory reaches
back to is served from the log, an older one from pages of history. A page that is not there yet is asked
for and waited for, while other connections go on. Where continuity breaks under way, because the broker
has trimmed what was not read yet, the loss is told and the stream is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from fanwire_edge.core.coverage import Given, is_given
from fanwire_edge.core.fanout import BATCH_BYTES
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.log import Log
from fanwire_edge.core.page import Order, Page, page_start
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.portions import Portions, Shared
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import Position

__all__ = ["Missing", "Replay", "Step"]

NOTHING: Given = {}
_MAX_RECORDS = 256

Wire: TypeAlias = Callable[[Record, Slot], bytes]


@dataclass(frozen=True, slots=True)
class Missing:
    """A page of *stream* from *start* on has to be read before anything can go on."""

    stream: Stream
    start: Order


@dataclass(frozen=True, slots=True)
class Step:
    """What a replay yields next: frames, a loss, or the page that it waits for.

    `skipped` counts frames that a later one stands for.
    """

    data: bytes = b""
    frames: int = 0
    skipped: int = 0
    loss: Loss | None = None
    missing: Missing | None = None


class Replay:
    """What is due on *keys* after *cursors* and up to *ends*, without what was *given* before."""

    def __init__(
        self,
        keys: Set[str],
        cursors: Mapping[Stream, Position],
        ends: Mapping[Stream, Position],
        given: Given = NOTHING,
    ) -> None:
        self._keys = keys
        self._given = given
        self._ends = ends
        self._cursors = {
            stream: cursor for stream, cursor in cursors.items() if cursor.key < ends[stream].key
        }
        self._is_shared = not given
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

    def leap(self, places: Mapping[Stream, Position]) -> None:
        """Go on from *places* where they lie ahead; what lies before is not yielded any more."""
        for stream, cursor in tuple(self._cursors.items()):
            place = places[stream]
            if place.broker == cursor.broker and place.key > cursor.key:
                self._places[stream] = page_start(place.key)
                self._move(stream, place)

    def drop(self, keys: Iterable[str]) -> None:
        """Yield no more of *keys*, to which the subscription has ended."""
        self._keys = self._keys - frozenset(keys)
        if not self._keys:
            self._cursors.clear()

    def step(self, log: Log, pages: Pages, wire: Wire, *, is_conflated: bool = False) -> Step:
        """Return the next portion; not to be called when it is over.

        Where it *is_conflated*, *wire* gives no bytes for frames that a later one stands for.
        """
        self._is_shared = not (self._given or is_conflated)
        stream, cursor = next(iter(self._cursors.items()))
        if log.reaches(stream, cursor):
            return self._step_in_log(stream, cursor, log, pages.portions, wire)
        self._places[stream], page = pages.proving(stream, self._places[stream], cursor.key)
        if page is None:
            return Step(missing=Missing(stream, self._places[stream]))
        if page.broker == cursor.broker and page.ids and page.continues(cursor.id):
            return self._step_in_page(stream, cursor, page, pages.portions, wire)
        del self._cursors[stream]
        return Step(loss=Loss(stream, GapReason.TRIMMED, cursor, self._ends[stream]))

    def _step_in_log(
        self, stream: Stream, cursor: Position, log: Log, portions: Portions, wire: Wire
    ) -> Step:
        end = self._ends[stream]
        found = log.read_stream(stream, self._keys, cursor, end, _MAX_RECORDS)
        step = self._portion(stream, found.records, found.reached or end, portions, wire)
        if stream in self._cursors:
            # Should it be evicted before the next step, pages go on from here.
            self._places[stream] = page_start(self._cursors[stream].key)
        return step

    def _step_in_page(
        self, stream: Stream, cursor: Position, page: Page, portions: Portions, wire: Wire
    ) -> Step:
        end = self._ends[stream]
        records = page.due(self._keys, cursor.key, end.key, _MAX_RECORDS)
        last = Position(page.ids[-1], page.broker)
        behind = min(last, end, key=_key) if len(records) < _MAX_RECORDS else records[-1].position
        step = self._portion(stream, records, behind, portions, wire)
        if self._cursors.get(stream) == last:
            self._places[stream] = page.end
        return step

    def _portion(
        self, stream: Stream, records: Sequence[Record], behind: Position, portions: Portions, wire: Wire
    ) -> Step:
        """Take *records* until 64 KB are full; *behind* is the place after all of them."""
        if not records:
            self._move(stream, behind)
            return Step()
        if not self._is_shared:
            shared = self._joined(records, wire)
        else:
            key = self._keys, stream, records[0].position, records[-1].position, len(records), wire
            found = portions.get(key)
            if found is None:
                found = self._joined(records, wire)
                portions.put(key, found)
            shared = found
        is_whole = shared.records == len(records)
        self._move(stream, behind if is_whole else records[shared.records - 1].position)
        return Step(shared.data, shared.frames, shared.skipped)

    def _joined(self, records: Sequence[Record], wire: Wire) -> Shared:
        frames: list[bytes] = []
        size = taken = skipped = 0
        for record in records:
            if size >= BATCH_BYTES:
                break
            due = [wire(record, slot) for slot in record.slots if self._is_due(record, slot)]
            frames += filter(None, due)
            size += sum(map(len, due))
            skipped += due.count(b"") if record.fault is None else 0
            taken += 1
        return Shared(b"".join(frames), len(frames), taken, skipped)

    def _is_due(self, record: Record, slot: Slot) -> bool:
        return not self._keys.isdisjoint(slot.keys) and not is_given(self._given, record, slot)

    def _move(self, stream: Stream, reached: Position) -> None:
        if reached.key >= self._ends[stream].key:
            del self._cursors[stream]
        else:
            self._cursors[stream] = reached


def _key(position: Position) -> Order:
    return position.key
