"""The follower: which streams are read from where, and what a reply means.

Pure: the broadcaster carries its requests to the broker and the replies back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fanwire_edge.core.continuity import Cursor, is_continuous
from fanwire_edge.core.stream import CONTROL, Entry, Stream, StreamInfo
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import BEGINNING, Position

__all__ = ["Follower", "Loss", "ReadReply", "ReadRequest"]

# A proof holds for reads sent within this time; an edge that stood still for longer proves all anew before
# it reads on. It is short because entries may be trimmed soon after they were added, and not zero because
# a fast log would pay for the proofs of all streams with every read.
PROOF_SECONDS = 0.005
IDENTITY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One round trip: proofs first, then the read, in one pipeline.

    `block_ms` None means: answer at once. `identify` asks for the broker's identity as well.
    """

    cursors: Mapping[Stream, str]
    prove: frozenset[Stream]
    identify: bool
    count: int
    block_ms: int | None


@dataclass(frozen=True, slots=True)
class ReadReply:
    """The answer: the identity where asked for, which proofs failed, and the entries of each stream."""

    identity: str | None = None
    unproven: frozenset[Stream] = frozenset()
    entries: Mapping[Stream, Sequence[Entry]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loss:
    """Events of a stream with `start` < position ≤ `end` may be missing."""

    stream: Stream
    reason: GapReason
    start: Position
    end: Position


class Follower:
    """Cursors of one broker, valid for one broker identity (`master_replid`)."""

    def __init__(self, count: int, block_ms: int) -> None:
        self.identity: str | None = None
        self._cursors: dict[Stream, Cursor] = {}
        self._positions: dict[Stream, Position] = {}
        self._max_count = count
        self._count = count
        self._block_ms = block_ms
        self._identified_at = float("-inf")
        self._read_at = float("-inf")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams that are read."""
        return tuple(self._cursors)

    def position(self, stream: Stream) -> Position:
        """Return how far *stream* was read."""
        return self._position(self._cursors[stream].id)

    @property
    def positions(self) -> Mapping[Stream, Position]:
        """Return how far every stream was read, as a mapping that does not change."""
        before, broker = self._positions, (self.identity or "")[:8]
        self._positions = {
            stream: place
            if (place := before.get(stream)) is not None and place.id == cursor.id and place.broker == broker
            else self._position(cursor.id)
            for stream, cursor in self._cursors.items()
        }
        return self._positions

    def _position(self, entry_id: str) -> Position:
        assert self.identity is not None, "cursors exist only for a known identity"
        return Position(entry_id, self.identity[:8])

    def follow(self, stream: Stream, info: StreamInfo, *, from_start: bool) -> None:
        """Begin to read *stream*, from its very first entry or from its end."""
        # From the start means from the first entry ever added: what was trimmed before is told as a loss.
        self._cursors[stream] = Cursor() if from_start else Cursor.at_end(info)

    def adopt(self, identity: str, infos: Mapping[Stream, StreamInfo]) -> list[Loss]:
        """Accept the identity of a broker that was (re)connected to; *infos* are of `streams`.

        Another identity than before makes every position unproven: ids may have been lost and given out
        again, so all streams lose everything up to their present end.
        """
        before, self.identity = self.identity, identity
        self._identified_at = self._read_at = float("-inf")
        if before is None or before == identity:
            return []
        losses = []
        for stream, cursor in self._cursors.items():
            self._cursors[stream] = behind = Cursor.at_end(infos[stream])
            start = Position(cursor.id, before[:8])
            losses.append(Loss(stream, GapReason.FAILOVER, start, self._position(behind.id)))
        return losses

    def request(self, now: float, *, block: bool) -> ReadRequest:
        """Return what to ask next. *now* is a monotonic time in seconds."""
        is_due = now - self._read_at > PROOF_SECONDS
        identify = now - self._identified_at > IDENTITY_SECONDS
        if identify:
            self._identified_at = now
        self._read_at = now
        prove = [stream for stream, cursor in self._cursors.items() if is_due or not cursor.is_proven]
        return ReadRequest(
            cursors={stream: cursor.id for stream, cursor in self._cursors.items()},
            prove=frozenset(prove),
            identify=identify,
            count=self._count,
            block_ms=self._block_ms if block else None,
        )

    def on_time(self, reply: ReadReply, request: ReadRequest, now: float) -> ReadReply:
        """Return *reply* without entries that came too late for a proof from before the read.

        They are read once more, with a proof of their own: the process may have stood still, or the
        network, between the last proof and the read. *now* is when the reply came.
        """
        in_time = now - self._read_at <= PROOF_SECONDS
        unasked = reply.entries.keys() - request.prove
        # Where the cursor's own entry is gone already, what comes next can be proven by counting only.
        late = {stream for stream in unasked if self._cursors[stream].is_gone or not in_time}
        if not late:
            return reply
        if CONTROL in late:
            # Orders hold for the data of the same read, so that data waits for them.
            late = set(reply.entries)
        for stream in late:
            self._cursors[stream].is_proven = False
        return replace(reply, entries={s: found for s, found in reply.entries.items() if s not in late})

    def doubtful(self, request: ReadRequest, reply: ReadReply) -> frozenset[Stream]:
        """Return the streams whose continuity only `XINFO` can tell, and note the proofs that held.

        A stream that was never read needs no question while it stays empty; one whose entries were all
        removed needs one only now and then while nothing is added.
        """
        doubtful = frozenset(
            stream
            for stream in reply.unproven
            if reply.entries.get(stream) or self._is_worth_asking(stream, request)
        )
        for stream in request.prove:
            self._cursors[stream].is_gone = stream in reply.unproven
            self._cursors[stream].is_proven |= stream not in doubtful
        return doubtful

    def _is_worth_asking(self, stream: Stream, request: ReadRequest) -> bool:
        cursor = self._cursors[stream]
        return cursor.id != BEGINNING and (request.identify or not cursor.is_proven)

    def receive(
        self, stream: Stream, entries: Sequence[Entry], info: StreamInfo | None
    ) -> Loss | Sequence[Entry]:
        """Take the entries of one stream, with the info that was asked for where it was doubtful.

        Returns the entries, or the loss after which reading goes on (the entries will be read again).
        """
        cursor = self._cursors[stream]
        if info is not None and not is_continuous(cursor, entries, info):
            self._cursors[stream] = after = Cursor.after_loss(cursor, info)
            return Loss(stream, GapReason.TRIMMED, self._position(cursor.id), self._position(after.id))
        cursor.is_proven = True
        if entries:
            cursor.advance(entries)
        return entries

    def shrink(self) -> None:
        """Ask for fewer entries at a time: the last reply may have been larger than the broker sends."""
        self._count = max(1, self._count // 2)

    def grow(self) -> None:
        """Ask for more entries at a time again, up to the configured number."""
        self._count = min(self._max_count, self._count * 2)
