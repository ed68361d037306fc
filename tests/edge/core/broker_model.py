"""A broker in memory, as simple as can be, for the proof of continuity: streams, their trimming and its end.

It remembers every entry that was ever added (`Life.ever`), which the real one does not; that is what the
promises are checked against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fanwire_edge.core.continuity import order_of
from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.stream import Entry, Stream, StreamInfo
from fanwire_protocol.position import BEGINNING

Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Added:
    """An entry that was once added, and in which life of its stream."""

    entry: Entry
    life: int


@dataclass(slots=True)
class Life:
    """One stream over all that happens to it; `life` counts deletions and changes of the broker."""

    ever: list[Added] = field(default_factory=list)
    left: list[Entry] = field(default_factory=list)
    life: int = 0
    added: int = 0
    last_id: str = BEGINNING

    @property
    def info(self) -> StreamInfo:
        """What `XINFO STREAM` says."""
        first = self.left[0].id if self.left else None
        return StreamInfo(len(self.left), self.added, first, self.last_id)

    def covered_by(self, end_id: str) -> int:
        """Return how many of all entries lie at or before *end_id* of the present life."""
        end = order_of(end_id)
        return sum(1 for each in self.ever if each.life < self.life or order_of(each.entry.id) <= end)


class Broker:
    """Streams of one broker. A failover makes another one of it, with another identity."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self.now_ms = 1_000_000
        self.generation = 0
        self.streams = {stream: Life() for stream in streams}

    @property
    def identity(self) -> str:
        """The `master_replid`."""
        return f"{self.generation:08x}" + "0" * 32

    def add(self, stream: Stream, max_length: int | None = None) -> None:
        """`XADD *`, with `MAXLEN` where asked for."""
        life = self.streams[stream]
        time_ms, sequence = order_of(life.last_id)
        new_id = f"{self.now_ms}-0" if self.now_ms > time_ms else f"{time_ms}-{sequence + 1}"
        entry = Entry(new_id, str(len(life.ever)).encode())
        life.last_id = new_id
        life.added += 1
        life.left.append(entry)
        life.ever.append(Added(entry, life.life))
        if max_length is not None:
            self.trim(stream, max_length)

    def trim(self, stream: Stream, keep: int, min_age_ms: int = 0) -> None:
        """`XTRIM MAXLEN`, sparing what is younger than *min_age_ms*."""
        life = self.streams[stream]
        while len(life.left) > keep:
            at_ms = order_of(life.left[0].id)[0]
            if self.now_ms - at_ms < min_age_ms:
                break
            del life.left[0]

    def delete(self, stream: Stream) -> None:
        """`DEL`: what is added later is another stream, with younger ids."""
        life = self.streams[stream]
        self.now_ms += 1
        life.left, life.added, life.last_id, life.life = [], 0, BEGINNING, life.life + 1

    def fail_over(self, lost: int) -> None:
        """Go on as a replica that lacks the last *lost* entries of each stream, and may reissue their ids."""
        self.generation += 1
        for life in self.streams.values():
            missing = min(lost, len(life.left))
            del life.left[len(life.left) - missing :]
            life.added -= missing
            life.last_id = life.left[-1].id if life.left else BEGINNING
            life.life += 1
        self.now_ms -= lost

    def proofs(self, request: ReadRequest) -> frozenset[Stream]:
        """Return the streams of which `XRANGE cursor cursor` finds nothing."""
        return frozenset(
            stream
            for stream in request.prove
            if request.cursors[stream] not in [entry.id for entry in self.streams[stream].left]
        )

    def entries(self, cursors: Mapping[Stream, str], count: int) -> dict[Stream, list[Entry]]:
        """`XREAD COUNT`."""
        found = {}
        for stream, cursor in cursors.items():
            left = self.streams[stream].left
            later = [entry for entry in left if order_of(entry.id) > order_of(cursor)][:count]
            if later:
                found[stream] = later
        return found

    def read(self, request: ReadRequest, between: Act, while_blocked: Iterable[Act]) -> ReadReply:
        """One pipeline as the edge sends it: the proofs, then the read.

        *between* happens between the two; each of *while_blocked* while the read waits, and the first one
        that brings an entry ends it.
        """
        unproven = self.proofs(request)
        between()
        entries = self._read(request, while_blocked)
        return ReadReply(self.identity if request.identify else None, unproven, entries)

    def read_first(self, request: ReadRequest, between: Act, while_blocked: Iterable[Act]) -> ReadReply:
        """The same pipeline the other way round: the read, then the proofs of the cursors it began at."""
        entries = self._read(request, while_blocked)
        between()
        return ReadReply(self.identity if request.identify else None, self.proofs(request), entries)

    def _read(self, request: ReadRequest, while_blocked: Iterable[Act]) -> dict[Stream, list[Entry]]:
        found = self.entries(request.cursors, request.count)
        if request.block_ms is not None:
            for act in while_blocked:
                if found:
                    break
                act()
                found = self.entries(request.cursors, request.count)
        return found
