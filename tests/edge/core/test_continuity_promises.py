"""Promises of the follower against a broker that trims, deletes and fails over whenever it likes.

What is promised: an entry that the reader did not get is covered by a loss before any later entry of its
stream is given; no entry is given twice; and no loss is told where nothing but what was read is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core.follower import PROOF_SECONDS, Follower, Loss, ReadReply, ReadRequest
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from tests.edge.core.broker_model import Act, Broker

STREAMS = (Stream("a", 0), Stream("b", 0))
COUNT = 3


class Pipeline(Protocol):
    """How proofs and read travel together."""

    def __call__(
        self, broker: Broker, request: ReadRequest, between: Act, while_blocked: Iterable[Act], /
    ) -> ReadReply:
        """Carry them out."""


@dataclass(frozen=True, slots=True)
class Do:
    """Something that happens to the broker: `what`, to which stream, how much of it."""

    what: str
    stream: int
    amount: int


@dataclass(frozen=True, slots=True)
class Read:
    """One turn of the reader, and what happens during it.

    `pause_ms` go by before it, `stall_ms` between what it decides and what the broker does. A reader whose
    connection breaks in the end never sees the reply.
    """

    pause_ms: int
    stall_ms: int
    before: tuple[Do, ...]
    between: tuple[Do, ...]
    blocked: tuple[tuple[Do, ...], ...]
    after: tuple[Do, ...]
    block: bool
    breaks: bool


class Lost(Exception):
    """The connection broke."""


class Reader:
    """The follower driven as the broadcaster drives it, and what it must have given by now."""

    def __init__(self, pipeline: Pipeline, min_age_ms: int, first: Sequence[Do]) -> None:
        self.pipeline = pipeline
        self.min_age_ms = min_age_ms
        self.broker = Broker(STREAMS)
        self.disturbed = False
        self.unnoticed: set[Stream] = set()
        for each in first:
            self.do(each)
        self.follower = Follower(COUNT, 2000)
        self.given = dict.fromkeys(STREAMS, 0)
        self.follower.adopt(self.broker.identity, {})
        self.seen_generation = self.broker.generation
        for stream, from_start in zip(STREAMS, (True, False), strict=True):
            life = self.broker.streams[stream]
            self.follower.follow(stream, life.info, from_start=from_start)
            self.given[stream] = 0 if from_start else len(life.ever)

    # What happens

    def do(self, do: Do) -> None:
        broker, stream = self.broker, STREAMS[do.stream]
        # A stream made anew that had lost as many entries as were read of the old one would look like it.
        keep = 1000 if stream in self.unnoticed else do.amount
        match do.what:
            case "add":
                for _ in range(do.amount):
                    broker.add(stream)
            case "add and trim":
                broker.add(stream)
                broker.trim(stream, keep + 1, self.min_age_ms)
            case "trim":
                broker.trim(stream, keep, self.min_age_ms)
            case "wait":
                broker.now_ms += do.amount * 400
            case "delete" if self._may_delete(stream):
                self.disturbed = True
                self.unnoticed.add(stream)
                broker.delete(stream)
            case "fail over":
                self.disturbed = True
                broker.fail_over(do.amount)

    def _may_delete(self, stream: Stream) -> bool:
        """Tell whether a deletion can be noticed at all.

        Where no entry was ever read, a stream that was deleted and made again is the same as one that was
        never there. And young entries do not vanish where the broker is one that keeps them.
        """
        cursor = self.follower._cursors[stream]
        return bool(cursor.count) and self.min_age_ms == 0

    def during(self, dos: Sequence[Do]) -> Act:
        def act() -> None:
            for each in dos:
                self.do(each)

        return act

    # The reader

    def turn(self, read: Read) -> None:
        try:
            self._turn(read)
        except Lost:
            self._reconnect()

    def _turn(self, read: Read) -> None:
        follower, broker = self.follower, self.broker
        broker.now_ms += read.pause_ms
        request = follower.request(broker.now_ms / 1000, block=read.block)
        broker.now_ms += read.stall_ms
        self.during(read.before)()
        self._check_connection()
        blocked = [self.during(dos) for dos in read.blocked]
        reply = self.pipeline(broker, request, self.during(read.between), blocked)
        self.during(read.after)()
        self._check_connection()
        if read.breaks:
            raise Lost
        reply = follower.on_time(reply, request, broker.now_ms / 1000)
        doubtful = follower.doubtful(request, reply)
        for stream in {*reply.entries, *doubtful}:
            info = broker.streams[stream].info if stream in doubtful else None
            before = follower.position(stream)
            found = follower.receive(stream, reply.entries.get(stream, ()), info)
            if isinstance(found, Loss):
                assert (found.stream, found.start, found.reason) == (stream, before, GapReason.TRIMMED)
                self._lose(found)
            else:
                for entry in found:
                    life = self.broker.streams[stream]
                    number = self.given[stream]
                    assert life.ever[number].entry.data == entry.data, "an entry was hidden or came twice"
                    self.given[stream] += 1
            self._check_place(stream)

    def _check_connection(self) -> None:
        if self.broker.generation != self.seen_generation:
            raise Lost

    def _reconnect(self) -> None:
        broker = self.broker
        before = {stream: self.follower.position(stream) for stream in STREAMS}
        losses = self.follower.adopt(
            broker.identity, {stream: life.info for stream, life in broker.streams.items()}
        )
        assert bool(losses) is (broker.generation != self.seen_generation)
        self.seen_generation = broker.generation
        for loss in losses:
            assert (loss.reason, loss.start) == (GapReason.FAILOVER, before[loss.stream])
            self._lose(loss)
            self._check_place(loss.stream)

    def _lose(self, loss: Loss) -> None:
        life = self.broker.streams[loss.stream]
        if loss.reason is GapReason.TRIMMED and not self.disturbed:
            successor = life.ever[self.given[loss.stream]].entry
            assert successor not in life.left, "nothing was lost that was not read"
        self.unnoticed.discard(loss.stream)
        covered = life.covered_by(loss.end.id)
        assert covered >= self.given[loss.stream]
        self.given[loss.stream] = covered

    def _check_place(self, stream: Stream) -> None:
        """The position is that of the last entry given or covered."""
        position, number = self.follower.position(stream), self.given[stream]
        assert position.broker == self.broker.identity[:8]
        life = self.broker.streams[stream]
        if number and life.ever[number - 1].life == life.life:
            assert position.id == life.ever[number - 1].entry.id

    def finish(self) -> None:
        """Add one more entry to each stream and read on undisturbed: all is given or covered then."""
        for stream in STREAMS:
            self.broker.add(stream)
        quiet = Read(2000, 0, (), (), (), (), False, False)
        turns = 0
        while any(self.given[stream] < len(life.ever) for stream, life in self.broker.streams.items()):
            self.turn(quiet)
            turns += 1
            assert turns <= 60, "the reader does not get on"


KINDS = ["add", "add", "add", "trim", "trim", "add and trim", "wait"]
STEADY = st.builds(Do, st.sampled_from(KINDS), st.integers(0, 1), st.integers(0, 5))
WILD = st.builds(Do, st.sampled_from([*KINDS, "delete", "fail over"]), st.integers(0, 1), st.integers(0, 5))
# While a read waits an entry ends it at once: it cannot be trimmed unseen, unless in one transaction.
SINGLE = st.builds(
    Do, st.sampled_from(["add and trim", "trim", "wait"]), st.integers(0, 1), st.integers(0, 5)
).map(lambda do: (do,))


def reads(
    happening: st.SearchStrategy[Do],
    between: st.SearchStrategy[tuple[Do, ...]],
    blocked: st.SearchStrategy[tuple[Do, ...]],
    pauses_ms: Sequence[int],
) -> st.SearchStrategy[list[Read]]:
    some = st.lists(happening, max_size=4).map(tuple)
    one = st.builds(
        Read,
        pause_ms=st.sampled_from(pauses_ms),
        stall_ms=st.sampled_from([0, 0, 0, 3, 700, 3000]),
        before=some,
        between=between,
        blocked=st.lists(blocked, max_size=3).map(tuple),
        after=some,
        block=st.booleans(),
        breaks=st.sampled_from([False] * 9 + [True]),
    )
    return st.lists(one, max_size=10)


NOTHING: st.SearchStrategy[tuple[Do, ...]] = st.just(())
ALWAYS_DUE = [int(PROOF_SECONDS * 1000) + 1, 500, 2500]
FIRST = st.lists(STEADY, max_size=6)


def run(pipeline: Pipeline, min_age_ms: int, first: Sequence[Do], turns: Sequence[Read]) -> Reader:
    reader = Reader(pipeline, min_age_ms, first)
    for turn in turns:
        reader.turn(turn)
    reader.finish()
    return reader


@settings(deadline=None)
@given(FIRST, reads(WILD, NOTHING, SINGLE, ALWAYS_DUE))
def test_nothing_is_hidden_whatever_happens_between_two_reads(first: list[Do], turns: list[Read]) -> None:
    """Trims of any age, deletions and failovers, before the pipeline arrives, while the read waits, and
    between the reply and the question that follows it."""
    run(Broker.read, 0, first, turns)


@settings(deadline=None)
@given(FIRST, reads(STEADY, NOTHING, SINGLE, [0, 1, 4, 5, 6, 500, 2500]))
def test_a_fast_reader_need_not_prove_every_time(first: list[Do], turns: list[Read]) -> None:
    """Within its few milliseconds a proof holds, on a broker that keeps entries for at least a second."""
    run(Broker.read, 1000, first, turns)


WHOLE = st.lists(WILD, max_size=4).map(tuple)


@settings(deadline=None)
@given(FIRST, reads(WILD, WHOLE, WHOLE, ALWAYS_DUE))
def test_a_proof_behind_the_read_holds_against_everything(first: list[Do], turns: list[Read]) -> None:
    """Also against what comes between the commands of a pipeline, and against transactions that add and
    trim while a read waits."""
    run(Broker.read_first, 0, first, turns)
