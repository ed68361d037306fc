"""Replay: what a connection is due of the time before it was live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanwire_edge.core.duplicates import Duplicates
from fanwire_edge.core.follower import Loss
from fanwire_edge.core.log import Log
from fanwire_edge.core.page import RawPage
from fanwire_edge.core.pages import Pages
from fanwire_edge.core.record import Record, Slot
from fanwire_edge.core.replay import Missing, Replay, Step
from fanwire_edge.core.stream import Stream
from fanwire_protocol.codes import GapReason
from fanwire_protocol.position import Position
from tests.edge.core.pieces import ALL, JOBS, ORDERS, A, B, entry_id, place, record, text_of
from tests.edge.core.test_page import entry, raw

KB = 1024
ON_A = frozenset({A})
OTHER_BROKER = "0badcafe"


def memory(*records: Record, start: int = 0, max_bytes: int = 10**9) -> Log:
    """A log that reaches back to the entry *start* of each stream."""
    log = Log(max_bytes)
    for stream in (ORDERS, JOBS):
        log.anchor(stream, place(start))
    for each in records:
        log.append(each)
    return log


def history(*pages: RawPage) -> Pages:
    held = Pages(10**9, Duplicates(60, 1000))
    for page in pages:
        held.take(page)
    return held


def replayed(replay: Replay, log: Log, pages: Pages) -> list[Step]:
    """Take all steps up to the end, or to a page that is missing."""
    steps = []
    while not replay.is_over:
        steps.append(replay.step(log, pages, text_of))
        if steps[-1].missing is not None:
            break
    return steps


def frames(*due: tuple[int, str]) -> bytes:
    return b"".join(f"<{entry_id(number)} {channel}>".encode() for number, channel in due)


def wide(record: Record, slot: Slot) -> bytes:
    """A frame of which two fill a portion."""
    return text_of(record, slot).ljust(40 * KB)


def test_nothing_is_replayed_to_where_a_connection_is() -> None:
    """Nor where it is further than the end."""
    ends = {ORDERS: place(3), JOBS: place(3)}

    assert Replay(ON_A, {ORDERS: place(3), JOBS: place(4)}, ends).is_over
    assert Replay(ON_A, {}, ends).is_over


def test_what_memory_holds_is_replayed_stream_by_stream() -> None:
    """Behind each cursor, up to each end, on the channels that were asked for."""
    log = memory(
        record(1),
        record(1, stream=JOBS),
        record(2, B),
        record(3, A, ALL, B),
        record(2, stream=JOBS),
        record(4),
    )
    cursors, ends = {ORDERS: place(1), JOBS: place(0)}, {ORDERS: place(3), JOBS: place(2)}
    replay = Replay(frozenset({A, ALL}), cursors, ends)
    assert replay.cursors == cursors

    steps = replayed(replay, log, history())

    assert steps == [Step(frames((3, A), (3, ALL)), 2), Step(frames((1, A), (2, A)), 2)]
    assert (replay.is_over, replay.cursors) == (True, {})


def test_what_ended_meanwhile_is_not_replayed() -> None:
    """Of one channel the rest goes on; without any the replay is over."""
    log = memory(record(1, A, B), record(2, A, B))
    replay = Replay(frozenset({A, B}), {ORDERS: place(0)}, {ORDERS: place(2)})

    replay.drop([A, "another"])

    assert replayed(replay, log, history()) == [Step(frames((1, B), (2, B)), 2)]
    replay = Replay(ON_A, {ORDERS: place(0)}, {ORDERS: place(2)})
    replay.drop([A])
    assert replay.is_over


def test_nothing_on_the_channels_is_nothing_to_send() -> None:
    """The replay is over all the same."""
    log = memory(record(1, B), record(2, B))

    assert replayed(Replay(ON_A, {ORDERS: place(0)}, {ORDERS: place(2)}), log, history()) == [Step()]


def test_frames_that_were_given_before_are_left_out() -> None:
    """A connection that was on A behind the first entry lacks that one, and what came on ALL."""
    log, pages = memory(record(1), record(2), record(3, A, ALL)), history()
    given = {A: {ORDERS: place(1)}}
    replay = Replay(frozenset({A, ALL}), {ORDERS: place(0)}, {ORDERS: place(3)}, given)

    assert replayed(replay, log, pages) == [Step(frames((1, A), (3, ALL)), 2)]
    # What is due to one connection alone is not kept for others.
    assert pages.portions.size_bytes == 0


def test_what_was_joined_for_one_is_given_to_the_next() -> None:
    """The frames of a record are looked at once for all that come back with the same place and channels."""
    log, pages = memory(record(1), record(2)), history()
    asked: list[Position] = []

    def wire(record: Record, slot: Slot) -> bytes:
        asked.append(record.position)
        return text_of(record, slot)

    steps = [Replay(ON_A, {ORDERS: place(0)}, {ORDERS: place(2)}).step(log, pages, wire) for _ in range(3)]

    assert steps == [Step(frames((1, A), (2, A)), 2)] * 3
    assert asked == [place(1), place(2)]


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_step_ends_when_64_kb_are_full(is_in_memory: bool) -> None:
    """The cursor then stands on the last record that was taken."""
    log = memory(*map(record, range(1, 6))) if is_in_memory else memory(start=9)
    pages = history(raw(0, *map(entry, range(1, 6))))
    replay = Replay(ON_A, {ORDERS: place(0)}, {ORDERS: place(5)})

    found = []
    while not replay.is_over:
        step = replay.step(log, pages, wide)
        found.append((step.frames, len(step.data), dict(replay.cursors)))

    assert found == [
        (2, 80 * KB, {ORDERS: place(2)}),
        (2, 80 * KB, {ORDERS: place(4)}),
        (1, 40 * KB, {}),
    ]


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_a_step_ends_after_so_many_records(is_in_memory: bool) -> None:
    """However small they are."""
    log = memory(*map(record, range(1, 301))) if is_in_memory else memory(start=400)
    pages = history(raw(0, *map(entry, range(1, 301))))

    steps = replayed(Replay(ON_A, {ORDERS: place(0)}, {ORDERS: place(300)}), log, pages)

    assert [step.frames for step in steps] == [256, 44]
    assert b"".join(step.data for step in steps) == frames(*((number, A) for number in range(1, 301)))


def test_what_memory_lacks_is_replayed_from_pages_that_are_asked_for() -> None:
    """First the one that proves the cursor, then one after the other up to the end."""
    known = [
        raw(1000, entry(400), entry(500), entry(600), entry(1500), is_cut=True),
        raw(2000, entry(1500, B), entry(2500), is_cut=True, before_id=entry_id(600)),
        raw(3000, entry(2500), entry(2600), before_id=entry_id(1500)),
    ]
    pages, log = history(), memory(start=5000)
    replay = Replay(ON_A, {ORDERS: place(500)}, {ORDERS: place(2500)})

    steps = replayed(replay, log, pages)
    for page in known:
        pages.take(page)
        steps += replayed(replay, log, pages)

    assert steps == [
        Step(missing=Missing(ORDERS, (1000, 0))),
        Step(frames((600, A)), 1),
        Step(missing=Missing(ORDERS, (2000, 0))),
        Step(),
        Step(missing=Missing(ORDERS, (3000, 0))),
        Step(frames((2500, A)), 1),
    ]
    assert replay.is_over


def test_from_memory_a_replay_goes_on_with_pages() -> None:
    """Where what it would have read next was evicted between two steps: from the page of its cursor."""
    log, pages = memory(record(1), record(1500), record(1600), max_bytes=10 * KB), history()
    replay = Replay(ON_A, {ORDERS: place(0)}, {ORDERS: place(1600)})
    assert replay.step(log, pages, wide).frames == 2

    log.append(record(1700, payload="x" * 10 * KB))
    missing = replay.step(log, pages, text_of)
    pages.take(raw(2000, entry(1500), entry(1600), entry(1700), before_id=entry_id(1)))

    assert missing == Step(missing=Missing(ORDERS, (2000, 0)))
    assert replayed(replay, log, pages) == [Step(frames((1600, A)), 1)]


def test_from_pages_a_replay_goes_on_in_memory() -> None:
    """As soon as that reaches back to the cursor."""
    pages = history(raw(1000, entry(500), entry(600), entry(1500), is_cut=True))
    log = memory(record(1500), start=600)

    steps = replayed(Replay(ON_A, {ORDERS: place(500)}, {ORDERS: place(1500)}), log, pages)

    assert steps == [Step(frames((600, A)), 1), Step(frames((1500, A)), 1)]


@pytest.mark.parametrize(
    "found",
    [
        raw(1000, entry(600), before_id=entry_id(550)),
        raw(1000, last_id=entry_id(900)),
        raw(1000, before_id=entry_id(500)),
        raw(1000, entry(500), entry(600), broker=OTHER_BROKER),
    ],
    ids=["trimmed", "nothing is left", "nothing is behind it", "another broker"],
)
def test_where_continuity_breaks_the_loss_is_told_and_the_stream_is_over(found: RawPage) -> None:
    """From where the replay was up to its end; the other streams go on."""
    cursors, ends = {ORDERS: place(500), JOBS: place(500)}, {ORDERS: place(900), JOBS: place(501)}
    other = replace(raw(1000, entry(500), entry(501)), stream=JOBS)

    steps = replayed(Replay(ON_A, cursors, ends), memory(start=5000), history(found, other))

    assert steps == [
        Step(loss=Loss(ORDERS, GapReason.TRIMMED, place(500), place(900))),
        Step(frames((501, A)), 1),
    ]


def test_continuity_may_break_under_way() -> None:
    """What was trimmed while the page before was sent is told from there on."""
    pages = history(
        raw(1000, entry(500), entry(600), entry(1500), is_cut=True),
        raw(2000, entry(1600), before_id=entry_id(1500)),
    )

    steps = replayed(Replay(ON_A, {ORDERS: place(500)}, {ORDERS: place(1600)}), memory(start=5000), pages)

    assert steps == [
        Step(frames((600, A)), 1),
        Step(loss=Loss(ORDERS, GapReason.TRIMMED, place(600), place(1600))),
    ]


def test_a_busy_second_is_replayed_page_by_page() -> None:
    """Its pages begin where the one before ended, and so does what is asked for."""
    busy = [
        raw(1000, entry(100), entry(201), is_cut=True),
        raw(1201, entry(300), entry(401), is_cut=True, start=(1201, 1), before_id=entry_id(201)),
    ]
    replay = Replay(ON_A, {ORDERS: place(201)}, {ORDERS: place(401)})
    pages = history(busy[0])

    assert replayed(replay, memory(start=5000), pages) == [
        Step(),
        Step(missing=Missing(ORDERS, (1201, 1))),
    ]
    pages.take(busy[1])
    assert replayed(replay, memory(start=5000), pages) == [Step(frames((300, A), (401, A)), 2)]


def test_streams_of_one_topic_are_told_apart() -> None:
    """A page is asked for by its stream, which may be another partition of the topic."""
    second = Stream("orders", 1)
    log = memory()
    log.anchor(second, place(900))
    replay = Replay(ON_A, {second: place(500)}, {second: place(900)})

    assert replayed(replay, log, history(raw(1000, entry(500)))) == [Step(missing=Missing(second, (1000, 0)))]


def test_what_later_frames_stand_for_is_left_out_and_counted() -> None:
    """And what was joined so for one connection is not given to others."""
    log, pages = memory(record(1), record(2), record(3)), history()

    def wire(found: Record, slot: Slot) -> bytes:
        return b"" if found.seq < 2 else text_of(found, slot)

    cursors, ends = {ORDERS: place(0)}, {ORDERS: place(3)}
    conflated = Replay(ON_A, cursors, ends).step(log, pages, wire, is_conflated=True)

    assert conflated == Step(frames((3, A)), 1, skipped=2)
    assert pages.portions.size_bytes == 0


def test_a_replay_can_leap_ahead() -> None:
    """Where a place lies before its cursor, or is of another log, it goes on as before."""
    log = memory(*map(record, range(1, 6)), record(1, stream=JOBS), record(2, stream=JOBS))
    ends = {ORDERS: place(5), JOBS: place(2)}
    other = Position(entry_id(3), OTHER_BROKER)

    replay = Replay(ON_A, {ORDERS: place(1), JOBS: place(1)}, ends)
    replay.leap({ORDERS: place(3), JOBS: place(0)})
    assert replay.cursors == {ORDERS: place(3), JOBS: place(1)}
    replay.leap({ORDERS: other, JOBS: place(2)})

    assert replayed(replay, log, history()) == [Step(frames((4, A), (5, A)), 2)]


def test_after_a_leap_the_page_of_the_new_place_is_looked_for() -> None:
    """Not those that it would have gone through before."""
    replay = Replay(ON_A, {ORDERS: place(1)}, {ORDERS: place(4000)})
    replay.leap({ORDERS: place(2500)})

    assert replayed(replay, memory(start=5000), history()) == [Step(missing=Missing(ORDERS, (3000, 0)))]
