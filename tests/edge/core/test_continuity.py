"""The proof that nothing was lost between two reads (DESIGN "Tail")."""

from __future__ import annotations

import pytest

from fanwire_edge.core.continuity import Cursor, is_continuous, order_of
from fanwire_edge.core.stream import Entry, StreamInfo
from fanwire_protocol.position import BEGINNING


def entries(*numbers: int) -> list[Entry]:
    return [Entry(f"{number}-0", b"") for number in numbers]


def info(added: int | None, *left: int, last: int | None = None) -> StreamInfo:
    """What a broker says of a stream to which *added* entries came and which holds those *left*."""
    end = last if last is not None else max(left, default=0)
    return StreamInfo(len(left), added, f"{left[0]}-0" if left else None, f"{end}-0")


@pytest.mark.parametrize(
    ("cursor", "read", "found", "continuous"),
    [
        # The entry 3 is the cursor's, three were added up to it.
        (Cursor("3-0", 3), (4, 5), info(5, 4, 5), True),
        (Cursor("3-0", 3), (), info(3, last=3), True),
        (Cursor("3-0", 3), (5,), info(5, 5), False),
        (Cursor("3-0", 3), (), info(5, last=5), False),
        # Trimmed after the read: what was read is not lost, what was not yet read is.
        (Cursor("3-0", 3), (4, 5), info(6, 6), True),
        (Cursor("3-0", 3), (4, 5), info(5, last=5), True),
        (Cursor("3-0", 3), (4, 5), info(7, 7), False),
        (Cursor("3-0", 3), (5, 6), info(6, last=6), False),
        # Another stream under the same name.
        (Cursor("3-0", 3), (), StreamInfo(), False),
        (Cursor("3-0", 3), (9,), info(1, 9), False),
        (Cursor("3-0", 3), (), info(4, 2, 3), False),
        # Never read: nothing was there, or everything before the first entry was gone already.
        (Cursor(), (1,), info(1, 1), True),
        (Cursor(), (2,), info(2, 2), False),
        # A broker that cannot count.
        (Cursor("3-0", None), (4,), info(None, 4), False),
        (Cursor("3-0", 3), (4,), info(None, 4), False),
        (Cursor(BEGINNING, None), (4,), info(None, 4), True),
    ],
)
def test_counting_decides_where_the_cursors_own_entry_is_gone(
    cursor: Cursor, read: tuple[int, ...], found: StreamInfo, continuous: bool
) -> None:
    """As many were removed as lie up to the cursor, plus those that were read and trimmed since."""
    assert is_continuous(cursor, entries(*read), found) is continuous


def test_a_cursor_counts_what_it_passes() -> None:
    """It has to be proven anew at its new place; one that does not know its count never will."""
    cursor = Cursor("3-0", 3, is_proven=True, is_gone=True)
    unknown = Cursor("3-0", None, is_proven=True)

    cursor.advance(entries(4, 7))
    unknown.advance(entries(4))

    assert cursor == Cursor("7-0", 5, is_proven=False, is_gone=False)
    assert unknown == Cursor("4-0", None, is_proven=False)


def test_a_cursor_begins_behind_what_there_is() -> None:
    """It knows how many entries were ever added up to it."""
    assert Cursor.at_end(info(9, 8, 9)) == Cursor("9-0", 9)
    assert Cursor.at_end(StreamInfo()) == Cursor()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (info(9, 8, 9), Cursor("8-0", 8)),
        (info(9, last=9), Cursor("9-0", 9)),
        (info(2, 1, 2), Cursor("2-0", 2)),
        (info(None, 8, 9), Cursor("8-0", None)),
        (StreamInfo(), Cursor()),
    ],
    ids=["entries are left", "none is left", "all are older", "cannot count", "no stream"],
)
def test_after_a_loss_reading_goes_on_at_the_first_entry_that_is_left(
    found: StreamInfo, expected: Cursor
) -> None:
    """That one belongs to the gap; where none is younger than the cursor, everything there is does."""
    assert Cursor.after_loss(Cursor("3-0", 3), found) == expected


def test_ids_are_ordered_as_numbers() -> None:
    """As texts 10-2 would come before 9-9 and 10-10 before 10-2."""
    assert sorted(["10-10", "9-9", "10-2"], key=order_of) == ["9-9", "10-2", "10-10"]
