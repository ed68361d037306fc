"""Which records later ones stand for."""

from __future__ import annotations

import pytest

from fanwire_edge.core.dialect import Dialects
from fanwire_edge.core.latest import KEY_BYTES, Latest
from fanwire_edge.core.record import Record
from fanwire_edge.core.stream import Stream
from tests.edge.core.pieces import JOBS, ORDERS, A, B, record, text_of

OTHER_BROKER = "0badcafe"


def keyed(number: int, key: str | None, *channels: str, stream: Stream = ORDERS, seq: int = 0) -> Record:
    """The record of an entry with a *key*; number -1 is that of a page, which stands in no log."""
    found = record(number, *channels, stream=stream)
    found.conflation_key = key
    found.seq = seq or number
    return found


def replaced(latest: Latest, found: Record) -> list[bool]:
    """Return for each channel whether a later record stands for the one that was *found*."""
    wire = latest.conflating(text_of)
    return [not wire(found, slot) for slot in found.slots]


def test_a_later_record_of_the_same_key_and_channel_stands_for_those_before() -> None:
    """On each channel of its own; another key, channel or topic has nothing to do with it."""
    latest = Latest(lambda channel: True)
    records = [
        keyed(1, "k", A, B),
        keyed(2, "k", A),
        keyed(3, "l", A),
        keyed(4, None, A),
        keyed(5, "k", A, stream=JOBS),
    ]
    costs = [latest.add(each) for each in records]

    assert [replaced(latest, each) for each in records] == [[True, False], [False], [False], [False], [False]]
    assert costs == [2 * KEY_BYTES, 0, KEY_BYTES, 0, KEY_BYTES]


def test_what_left_the_memory_is_forgotten() -> None:
    """Unless a later one has taken its place; what it cost is free again."""
    latest = Latest(lambda channel: True)
    first, second, other = keyed(1, "k", A, B), keyed(2, "k", A), keyed(3, None, A)
    for each in (first, second, other):
        latest.add(each)

    assert [latest.forget(each) for each in (first, second, other)] == [KEY_BYTES, KEY_BYTES, 0]
    assert replaced(latest, first) == [False, False]


def test_only_channels_that_are_conflated_are_followed() -> None:
    """Elsewhere a key costs nothing, and without any such channel none does."""
    latest = Latest(lambda channel: channel == B)
    assert [latest.add(keyed(number, "k", A, B)) for number in (1, 2)] == [KEY_BYTES, 0]

    assert replaced(latest, keyed(1, "k", A, B)) == [False, True]
    nothing = Latest()
    assert nothing.add(keyed(1, "k", A)) == 0
    assert replaced(nothing, keyed(0, "k", A)) == [False]


@pytest.mark.parametrize(
    ("number", "broker", "is_replaced"),
    [(4, None, True), (5, None, False), (6, None, False), (4, OTHER_BROKER, False)],
)
def test_a_record_of_a_page_is_compared_by_its_position(
    number: int, broker: str | None, is_replaced: bool
) -> None:
    """It may be what memory holds too, or later than that; of another broker nothing is known."""
    latest = Latest(lambda channel: True)
    latest.add(keyed(5, "k", A))
    paged = keyed(number, "k", A, seq=-1)
    if broker is not None:
        paged.broker = broker

    assert replaced(latest, paged) == [is_replaced]


def test_what_breaks_a_rule_stands_for_nothing() -> None:
    """There are no bytes for it, so the ones before it are needed; for them it is found out."""
    latest = Latest(lambda channel: True)
    good, bad = keyed(1, "k", A), keyed(2, "k", A)
    bad.raw = b"\xc1"
    for each in (good, bad):
        latest.add(each)
    dialect = Dialects().json
    wire = latest.conflating(dialect.wire)

    assert [wire(each, each.slots[0]) for each in (good, bad)] == [dialect.wire(good, good.slots[0]), b""]
    assert good.fault is None
    assert bad.fault is not None
