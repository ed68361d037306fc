"""How a connection that is behind reads the log."""

from __future__ import annotations

from fanwire_edge.core.fanout import BATCH_BYTES
from fanwire_edge.core.log import Log
from fanwire_edge.core.reading import Portion, next_portion
from fanwire_edge.core.record import Record, Slot
from tests.edge.core.pieces import ALL, A, B, record, text_of


def log_of(*records: Record) -> Log:
    log = Log(10_000_000)
    for each in records:
        log.append(each)
    return log


def test_a_portion_is_what_falls_due_on_the_keys_in_log_order() -> None:
    """One frame for each channel of a record that one is on, however many keys match it."""
    log = log_of(record(1, A), record(2, B), record(3, A, ALL), record(4, B, ALL), record(5, A))

    portion = next_portion(log, {A, ALL, "tenant:acme:resource:orders:*"}, 1, 4, text_of)

    due = [f"<1002-0 {B}>", f"<1003-0 {A}>", f"<1003-0 {ALL}>", f"<1004-0 {B}>", f"<1004-0 {ALL}>"]
    assert portion == Portion("".join(due).encode(), 5, 4)


def test_nothing_due_moves_on_all_the_same() -> None:
    """The place is behind everything that was looked at."""
    log = log_of(record(1, A), record(2, A))

    assert next_portion(log, {B}, 0, 2, text_of) == Portion(b"", 0, 2)
    assert next_portion(log, {A}, 2, 2, text_of) == Portion(b"", 0, 2)


def test_a_portion_ends_behind_the_record_that_fills_it() -> None:
    """Never between two frames of one record; the next portion begins with the record after it."""
    log = log_of(record(1, A, ALL), record(2, A), record(3, A))
    half = b"x" * (BATCH_BYTES // 2)

    first = next_portion(log, {A, ALL}, 0, 3, lambda record, slot: half)
    second = next_portion(log, {A, ALL}, first.next, 3, lambda record, slot: half)

    assert (first.frames, first.next) == (2, 1)
    assert (second.frames, second.next) == (2, 3)


def test_a_portion_looks_at_a_bounded_number_of_records() -> None:
    """However short their frames are."""
    log = log_of(*(record(number) for number in range(1, 301)))

    first = next_portion(log, {A}, 0, 300, text_of)
    second = next_portion(log, {A}, first.next, 300, text_of)

    assert (first.frames, first.next) == (256, 256)
    assert (second.frames, second.next) == (44, 300)


def test_what_later_frames_stand_for_is_skipped_and_counted() -> None:
    """A frame without bytes; those of the record's other channels are sent."""
    log = log_of(record(1, A, ALL), record(2, A), record(3, A))

    def wire(record: Record, slot: Slot) -> bytes:
        return b"" if slot.channel == A and record.seq < 2 else text_of(record, slot)

    assert next_portion(log, {A, ALL}, 0, 3, wire) == Portion(f"<1001-0 {ALL}><1003-0 {A}>".encode(), 2, 3, 2)


def test_what_breaks_a_rule_is_not_counted_as_skipped() -> None:
    """Nothing stands for it; it is counted elsewhere."""
    log = log_of(record(1), record(2), record(3))

    def wire(found: Record, slot: Slot) -> bytes:
        if found.seq == 1:
            found.fault = "payload: is no map"
            return b""
        return text_of(found, slot)

    assert next_portion(log, {A}, 0, 3, wire) == Portion(
        f"<1001-0 {A}><1003-0 {A}>".encode(), 2, 3, skipped=0
    )
