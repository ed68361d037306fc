"""Leaping to the newest entries (policy `drop_oldest`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.hub import Lag
from fanwire_edge.core.log import Log
from fanwire_edge.core.overflow import leap
from fanwire_edge.core.page import RawPage
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.reading import next_portion
from fanwire_edge.core.record import Record, Slot, gap_key, gap_record
from fanwire_edge.core.replay import Missing, Replay
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import Position
from tests.edge.core.pieces import ALL, JOBS, ORDERS, A, B, entry_id, gap_frame, place, record
from tests.edge.core.test_page import entry, raw

KB = 1024
SIZE = record(1).size
ON_A = frozenset({A})
OTHER_BROKER = "0badcafe"


def memory(*records: Record, max_records: int = 10**6) -> Log:
    log = Log(max_records * (SIZE + 20))
    for stream in (ORDERS, JOBS):
        log.anchor(stream, place(0))
    for each in records:
        log.append(each)
    return log


def behind(log: Log, seq: int = 0) -> Lag:
    """A connection that has read everything before the record *seq*."""
    places = log.positions_at(seq) if seq >= log.first else {ORDERS: place(seq), JOBS: place(0)}
    return Lag(seq, places, 0.0)


def overflow(stream: Stream, start: int, end: int) -> Loss:
    return Loss(stream, GapReason.OVERFLOW, place(start), place(end))


def leapt(lag: Lag, log: Log, at_most: int, *keys: str) -> Sequence[Loss]:
    return leap(lag, log, keys or (A,), log.next, at_most, lambda stream: True)


def test_who_is_behind_by_no_more_than_allowed_stays() -> None:
    """What is not due does not count."""
    log = memory(*map(record, range(1, 6)), *(record(number, B) for number in range(6, 100)))
    lag = behind(log)

    assert leapt(lag, log, 5) == ()
    assert (lag.seq, lag.positions[ORDERS]) == (0, place(0))


def test_who_is_further_behind_leaps_to_the_newest() -> None:
    """What is left out is told of the topics that it is of, and no other."""
    log = memory(
        record(1), record(1, B, stream=JOBS), record(2), record(3), record(2, stream=JOBS), record(4)
    )
    lag = behind(log)

    assert leapt(lag, log, 2) == [overflow(ORDERS, 0, 3)]
    assert (lag.seq, lag.places) == (4, {ORDERS: place(3), JOBS: place(1)})
    assert leapt(lag, log, 2) == ()


def test_an_entry_under_several_keys_counts_once() -> None:
    """It is one entry that the connection is behind by."""
    pattern = "tenant:acme:resource:*"
    log = memory(*(record(number, A, ALL) for number in range(1, 6)))

    assert leapt(behind(log), log, 5, A, ALL, pattern) == ()
    assert leapt(behind(log), log, 4, A, ALL, pattern) == [overflow(ORDERS, 0, 1)]


def test_streams_that_do_not_feed_it_are_not_told() -> None:
    """Another partition's positions are nothing to it."""
    log = memory(record(1), record(1, stream=JOBS), record(2), record(2, stream=JOBS))

    assert leap(behind(log), log, (A,), 4, 1, lambda stream: stream == JOBS) == [overflow(JOBS, 0, 1)]


def test_in_doubt_every_topic_is_told_that_moved_on() -> None:
    """Where so much is left out that nobody looks through it."""
    records = [record(1, B, stream=JOBS), *map(record, range(1, 3001))]
    log = memory(*records)

    assert leapt(behind(log), log, 10) == [overflow(ORDERS, 0, 2990), overflow(JOBS, 0, 1)]


def test_a_failover_on_the_way_is_told_as_one() -> None:
    """Its positions are not those of the log from before."""
    loss = Loss(ORDERS, GapReason.FAILOVER, place(1), Position(entry_id(1), OTHER_BROKER))
    log = memory(record(1))
    log.append(gap_record(loss, gap_frame(), 1))
    for number in (2, 3):
        newer = record(number)
        newer.broker = OTHER_BROKER
        log.append(newer)
    lag = behind(log)

    [told] = leapt(lag, log, 1, A, gap_key(0))

    assert told == Loss(ORDERS, GapReason.FAILOVER, place(0), Position(entry_id(2), OTHER_BROKER))


def test_where_memory_no_longer_reaches_back_what_it_holds_counts() -> None:
    """More of that than allowed, and everything before the newest is left out, whatever it was."""
    log = memory(*map(record, range(1, 11)), max_records=5)
    lag = behind(log, 2)
    lag.size_bytes = 999

    assert leapt(lag, log, 5) == ()
    assert leapt(lag, log, 4) == [overflow(ORDERS, 2, 6)]
    assert (lag.seq, lag.size_bytes) == (6, 0)


def test_a_topic_that_was_found_meanwhile_is_left_out_from_its_beginning() -> None:
    """The connection has no place in it yet."""
    log = memory(record(1, stream=JOBS), record(1), record(2, stream=JOBS), record(3, stream=JOBS))
    lag = Lag(0, {ORDERS: place(0)}, 0.0)

    assert leapt(lag, log, 1) == [overflow(ORDERS, 0, 1), overflow(JOBS, 0, 2)]


def test_a_replay_is_given_up_where_too_much_waits_behind_it() -> None:
    """It is told from where it was; the streams that it is done with from its end on."""
    log = memory(*map(record, range(1, 11)), record(1, stream=JOBS), record(2, stream=JOBS))
    lag = behind(log, 5)
    lag.replay = Replay(ON_A, {ORDERS: place(2)}, lag.positions)
    lag.is_resuming = True

    assert leapt(lag, log, 7) == ()
    assert leapt(lag, log, 1) == [overflow(ORDERS, 2, 10), overflow(JOBS, 0, 1)]
    assert (lag.seq, lag.is_resuming) == (11, False)
    assert lag.replay is None


def test_who_had_to_be_given_too_much_from_history_leaps_within_its_replay() -> None:
    """To the newest of what memory holds; a stream that is further already goes on from there."""
    log = memory(*map(record, range(1, 11)), record(1, stream=JOBS), max_records=6)
    lag = behind(log, 11)
    lag.replay = Replay(ON_A, {ORDERS: place(2)}, lag.positions)
    lag.recalled = 5
    assert leapt(lag, log, 5) == ()

    lag.recalled = 6
    assert leapt(lag, log, 5) == [overflow(ORDERS, 2, 6)]
    assert (lag.seq, lag.recalled) == (11, 0)
    assert lag.places == {ORDERS: place(6), JOBS: place(1)}

    lag.recalled = 10
    assert leapt(lag, log, 9) == []


def test_a_leap_within_a_replay_does_not_go_back_over_a_failover() -> None:
    """What the replay is of has begun behind it."""
    new = [Position(entry_id(number), OTHER_BROKER) for number in range(5)]
    log = memory(record(1))
    log.append(gap_record(Loss(ORDERS, GapReason.FAILOVER, place(1), new[1]), gap_frame(), 1))
    lag = Lag(2, {ORDERS: new[1], JOBS: place(0)}, 0.0, recalled=9)
    lag.replay = Replay(ON_A, {ORDERS: new[0]}, lag.positions)

    assert leapt(lag, log, 5) == []
    assert lag.places[ORDERS] == new[0]


# Against a model


class Client:
    """A connection on some keys that leaps, over a log of which the broker holds everything."""

    def __init__(self, keys: frozenset[str], max_records: int, at_most: int) -> None:
        self.keys = keys
        self.at_most = at_most
        self.log = memory(max_records=max_records)
        self.pages = Pages(10**9, Duplicates(60, 1000))
        self.added: dict[Stream, list[tuple[str, ...]]] = {ORDERS: [], JOBS: []}
        self.lag = behind(self.log)
        # What the client got: frames by stream, number and channel, and gaps.
        self.got: list[tuple[Stream, int, str] | Loss] = []

    def publish(self, stream: Stream, *channels: str) -> None:
        self.added[stream].append(channels)
        self.log.append(record(len(self.added[stream]), *channels, stream=stream))

    def turn(self) -> bool:
        """Do what an edge does in a turn of a connection; False where it is level."""
        lag, log = self.lag, self.log
        due_in_memory = self._due_in_memory()
        losses = leap(lag, log, self.keys, log.next, self.at_most, lambda stream: True)
        self.got += losses
        assert due_in_memory <= self.at_most or losses
        assert self._due_in_memory() <= self.at_most
        if lag.replay is not None:
            self._replay_on(lag.replay)
        elif lag.seq >= log.next:
            return False
        elif lag.seq < log.first:
            starts, ends = lag.positions, log.positions_at(log.next)
            lag.replay = Replay(self.keys, starts, ends)
            lag.seq, lag.positions = log.next, ends
        else:
            portion = next_portion(log, self.keys, lag.seq, log.next, _wire)
            lag.seq, lag.positions = portion.next, log.positions_at(portion.next)
            self._take(portion.data)
        return True

    def _due_in_memory(self) -> int:
        start = max(self.lag.seq, self.log.first)
        return len(self.log.read(self.keys, start, self.log.next, 10**6).records)

    def _replay_on(self, replay: Replay) -> None:
        if replay.is_over:
            self.lag.replay, self.lag.recalled = None, 0
            return
        step = replay.step(self.log, self.pages, _wire)
        if step.missing is not None:
            self.pages.take(self._page(step.missing))
            return
        assert step.loss is None
        self.lag.recalled += step.frames
        self._take(step.data)

    def _page(self, missing: Missing) -> RawPage:
        entries = [entry(number, *channels) for number, channels in enumerate(self.added[missing.stream], 1)]
        return replace(raw(missing.start[0], *entries), stream=missing.stream, start=missing.start)

    def _take(self, data: bytes) -> None:
        for topic, time_ms, channel in re.findall(rb"<(\w+) (\d+)-0 ([^>]+)>", data):
            stream = ORDERS if topic == b"orders" else JOBS
            self.got.append((stream, int(time_ms) - 1000, channel.decode()))

    def due(self, stream: Stream) -> list[tuple[int, str]]:
        """What a connection that is never behind gets of *stream*."""
        return [
            (number, channel)
            for number, channels in enumerate(self.added[stream], 1)
            for channel in channels
            if channel in self.keys
        ]


def _wire(record: Record, slot: Slot) -> bytes:
    """A frame of which four fill a portion."""
    return f"<{record.stream.topic} {record.position.id} {slot.channel}>".encode().ljust(20 * KB)


def judge(client: Client, stream: Stream) -> None:
    """Everything due came once and in order, or a gap told of exactly that before anything later."""
    came, reached = [], 0
    left_out: set[int] = set()
    for each in client.got:
        if isinstance(each, Loss):
            if each.stream == stream:
                start, end = (int(at.id.partition("-")[0] or 0) for at in (each.start, each.end))
                low, high = max(0, start - 1000), end - 1000
                assert reached <= low < high
                reached = high
                left_out |= set(range(low + 1, high + 1))
        elif each[0] == stream:
            assert reached <= each[1]
            reached = each[1]
            came.append(each[1:])
    assert not left_out & {number for number, _ in came}
    assert [one for one in client.due(stream) if one[0] not in left_out] == came


@settings(max_examples=100, deadline=None)
@given(
    keys=st.sets(st.sampled_from([A, B, ALL]), min_size=1),
    max_records=st.integers(1, 20),
    at_most=st.integers(1, 12),
    deeds=st.lists(
        st.tuples(
            st.sampled_from([ORDERS, JOBS]),
            st.sampled_from([(A,), (B,), (A, ALL), (ALL,)]),
            st.integers(1, 15),
            st.integers(0, 4),
        ),
        max_size=8,
    ),
)
def test_whatever_comes_and_however_slowly_it_is_read_all_is_given_or_told(
    keys: set[str],
    max_records: int,
    at_most: int,
    deeds: list[tuple[Stream, tuple[str, ...], int, int]],
) -> None:
    """And never more than allowed waits in memory behind a turn."""
    client = Client(frozenset(keys), max_records, at_most)
    for stream, channels, count, turns in deeds:
        for _ in range(count):
            client.publish(stream, *channels)
        for _ in range(turns):
            client.turn()
    while client.turn():
        pass

    for stream in (ORDERS, JOBS):
        judge(client, stream)
    # Whatever was left out, it was the oldest.
    due = client.log.read(keys, client.log.first, client.log.next, 10**6).records[-at_most:]
    newest = {
        (each.stream, each.position.time_ms - 1000, slot.channel)
        for each in due
        for slot in each.slots
        if slot.channel in keys
    }
    assert newest <= set(client.got)
