"""The log against a plain list that forgets nothing."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fanwire_edge.core.follower import Loss
from fanwire_edge.core.log import Log
from fanwire_edge.core.record import Record, gap_record
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import Position
from tests.edge.core.pieces import ALL, BROKER, JOBS, ORDERS, A, B, gap_frame, place, record

STREAMS = (ORDERS, JOBS)
KEYS = (A, B, ALL, "tenant:acme:resource:orders:*", "tenant:acme:resource:*", "gap:0", "nobody's")


@dataclass(frozen=True, slots=True)
class Append:
    """A record of a stream: on which channels (none for a gap), how large, and how many entries after the
    one before it."""

    stream: int
    channels: tuple[str, ...]
    size: int
    skip: int


appends = st.lists(
    st.builds(
        Append,
        st.integers(0, 1),
        st.sampled_from([(A,), (A,), (B,), (A, ALL), (B, ALL), (ALL,), ()]),
        st.sampled_from([0, 0, 100, 3000]),
        st.integers(1, 3),
    ),
    max_size=40,
)


class Plain:
    """What a log is to do, by walking over everything that was ever appended."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.records: list[Record] = []

    @property
    def first(self) -> int:
        """As many of the newest stay as fit; one always does."""
        size = 0
        for number in range(len(self.records) - 1, -1, -1):
            size += self.records[number].size
            if size > self.max_bytes and number < len(self.records) - 1:
                return number + 1
        return 0

    def read(self, keys: list[str], start: int, stop: int, most: int, stream: Stream | None) -> list[Record]:
        found = [
            each
            for each in self.records[start:stop]
            if any(key in slot.keys for slot in each.slots for key in keys)
            and (stream is None or each.stream == stream)
        ]
        return found[:most]

    def position_at(self, stream: Stream, seq: int) -> Position:
        before = [each.position for each in self.records[:seq] if each.stream == stream]
        return before[-1] if before else place(0)

    def reaches(self, stream: Stream, position: Position) -> bool:
        after = [each for each in self.records if each.stream == stream and each.position.key > position.key]
        return all(each.seq >= self.first and not each.is_gap for each in after)


def built(appends: list[Append], max_bytes: int) -> tuple[Log, Plain]:
    log, plain = Log(max_bytes), Plain(max_bytes)
    numbers = dict.fromkeys(STREAMS, 0)
    for stream in STREAMS:
        log.anchor(stream, place(0))
    for append in appends:
        stream = STREAMS[append.stream]
        before = numbers[stream]
        numbers[stream] += append.skip
        if append.channels:
            made = record(numbers[stream], *append.channels, stream=stream, payload="x" * append.size)
        else:
            loss = Loss(stream, GapReason.TRIMMED, place(before), place(numbers[stream]))
            made = gap_record(loss, gap_frame(), 1)
        log.append(made)
        plain.records.append(made)
        assert (log.first, log.next) == (plain.first, len(plain.records))
        assert log.size_bytes == sum(each.size for each in plain.records[plain.first :])
    return log, plain


budgets = st.sampled_from([1, 3000, 12_000, 10**9])


@settings(deadline=None)
@given(appends, budgets, st.data())
def test_a_read_is_what_a_walk_over_everything_finds(
    appends: list[Append], max_bytes: int, data: st.DataObject
) -> None:
    """Under any keys, between any numbers; and reading on from where a full read stopped misses nothing."""
    log, plain = built(appends, max_bytes)
    keys = data.draw(st.lists(st.sampled_from(KEYS)))
    start = data.draw(st.integers(log.first, log.next))
    stop = data.draw(st.integers(start, log.next))
    most = data.draw(st.integers(1, 5))

    expected = plain.read(keys, start, stop, len(plain.records), None)
    found: list[Record] = []
    while start < stop:
        portion = log.read(keys, start, stop, most)
        assert list(portion.records) == plain.read(keys, start, stop, most, None)
        assert start < portion.next <= stop
        found += portion.records
        start = portion.next

    assert found == expected


@settings(deadline=None)
@given(appends, budgets, st.data())
def test_a_read_of_one_stream_is_what_a_walk_over_everything_finds(
    appends: list[Append], max_bytes: int, data: st.DataObject
) -> None:
    """From any position that memory reaches back to; reading on from where it stopped misses nothing."""
    log, plain = built(appends, max_bytes)
    stream = data.draw(st.sampled_from(STREAMS))
    numbers = [each for each in range(130) if log.reaches(stream, place(each))]
    assume(numbers)
    after = place(data.draw(st.sampled_from(numbers)))
    until = place(data.draw(st.sampled_from(numbers)))
    keys = data.draw(st.sets(st.sampled_from(KEYS)))

    expected = [
        each
        for each in plain.read(list(keys), plain.first, len(plain.records), len(plain.records), stream)
        if after.key < each.position.key <= until.key
    ]
    found: list[Record] = []
    while True:
        stretch = log.read_stream(stream, keys, after, until, data.draw(st.integers(1, 5)))
        found += stretch.records
        if stretch.reached is None:
            break
        assert after.key < stretch.reached.key
        after = stretch.reached

    assert found == expected


@settings(deadline=None)
@given(appends, budgets, st.integers(0, 130))
def test_places_are_what_a_walk_over_everything_finds(
    appends: list[Append], max_bytes: int, number: int
) -> None:
    """Positions at every number that is still there, and which places memory reaches back to."""
    log, plain = built(appends, max_bytes)

    for seq in range(log.first, log.next + 1):
        assert log.positions_at(seq) == {stream: plain.position_at(stream, seq) for stream in STREAMS}
    for stream in STREAMS:
        assert log.reaches(stream, place(number)) is plain.reaches(stream, place(number))
        assert not log.reaches(stream, Position(place(number).id, BROKER[::-1]))
        if log.reaches(stream, place(number)):
            later = [
                each.seq
                for each in plain.records[log.first :]
                if each.stream == stream and each.position.key > place(number).key
            ]
            assert log.number_after(stream, place(number)) == (later[0] if later else log.next)
