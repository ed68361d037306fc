"""Portions: frames that were joined for one reader and are the same for the next."""

from __future__ import annotations

import pytest

from fanwire_edge.core.portions import PortionKey, Portions, Shared
from tests.edge.core.pieces import ORDERS, READABLE, A, B, Readable, place

MB = 1024 * 1024


def key(number: int, *channels: str) -> PortionKey:
    """The portion of one record, the entry *number*, on *channels*, A alone where none is named."""
    return frozenset(channels or (A,)), ORDERS, place(number), place(number), 1, READABLE.wire


def shared(size: int) -> Shared:
    return Shared(b"x" * size, 1, 1)


def test_a_portion_is_found_for_the_same_records_and_channels_only() -> None:
    """However the channels are ordered; on other channels other frames are due of the same records."""
    portions, kept = Portions(), shared(10)
    portions.put(key(1, A, B), kept)

    assert portions.get(key(1, B, A)) is kept
    assert [portions.get(other) for other in (key(1, A), key(2, A, B))] == [None, None]


def test_a_portion_is_for_one_dialect() -> None:
    """Who speaks another one is due other bytes of the same records."""
    portions, kept, other = Portions(), shared(10), Readable("json")
    portions.put(key(1), kept)

    assert portions.get((*key(1)[:-1], READABLE.wire)) is kept
    assert portions.get((*key(1)[:-1], other.wire)) is None


@pytest.mark.parametrize(
    ("channels", "size", "charged"), [((A,), 0, 600), ((A,), 1000, 1600), ((A, B), 1000, 1700)]
)
def test_a_portion_is_charged_for_its_frames_and_its_channels(
    channels: tuple[str, ...], size: int, charged: int
) -> None:
    """A connection may be on hundreds of channels, with no more than one short frame due on them."""
    portions = Portions()
    portions.put(key(1, *channels), shared(size))

    assert portions.size_bytes == charged


def test_beyond_the_budget_those_go_that_were_not_used_for_longest() -> None:
    """Eight portions of a megabyte are more than 8 MB, by what they are charged with besides."""
    portions = Portions()
    for number in range(1, 8):
        portions.put(key(number), shared(MB))
    portions.get(key(1))
    portions.put(key(8), shared(MB))

    assert [number for number in range(1, 9) if portions.get(key(number)) is None] == [2]
    assert portions.size_bytes == 7 * (MB + 600)


def test_many_small_portions_on_many_channels_stay_within_the_budget() -> None:
    """Their frames are nothing, their channels are what is held."""
    portions = Portions()
    channels = [f"tenant:acme:resource:orders:{number}" for number in range(1000)]
    for number in range(200):
        portions.put(key(number, *channels), shared(1))

    held = [number for number in range(200) if portions.get(key(number, *channels)) is not None]
    assert held == list(range(200 - 83, 200))
    assert portions.size_bytes == 83 * 100_501 <= 8 * MB


def test_the_newest_portion_is_kept_even_where_it_alone_exceeds_the_budget() -> None:
    """It takes the place of all others."""
    portions = Portions()
    for number in (1, 2):
        portions.put(key(number), shared(9 * MB))

    assert (portions.get(key(1)), portions.get(key(2))) == (None, shared(9 * MB))
    assert portions.size_bytes == 9 * MB + 600


def test_everything_can_be_forgotten() -> None:
    """Nothing is charged any more."""
    portions = Portions()
    portions.put(key(1), shared(10))
    portions.clear()

    assert (portions.get(key(1)), portions.size_bytes) == (None, 0)
