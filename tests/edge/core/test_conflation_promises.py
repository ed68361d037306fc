"""Conflation against a model: whoever is behind, however slowly, ends with the last of every key."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from fanwire_edge.core.latest import Latest
from fanwire_edge.core.log import Log
from fanwire_edge.core.reading import next_portion
from fanwire_edge.core.record import Record, Slot
from tests.edge.core.pieces import ALL, ORDERS, A, B, place, record

KB = 1024

Published = Sequence[tuple[tuple[str, ...], str | None, int]]


def _due(published: Published, keys: set[str]) -> list[tuple[int, str, str | None]]:
    """What is due: number, channel and key of each frame."""
    return [
        (number, channel, key)
        for number, (channels, key, _) in enumerate(published, 1)
        for channel in channels
        if channel in keys
    ]


@settings(max_examples=150, deadline=None)
@given(
    published=st.lists(
        st.tuples(
            st.sampled_from([(A,), (B,), (A, ALL), (A, B)]),
            st.sampled_from([None, "k", "l"]),
            st.integers(0, 2),
        ),
        max_size=60,
    ),
    keys=st.sets(st.sampled_from([A, B, ALL]), min_size=1),
)
def test_only_what_a_later_frame_stands_for_is_skipped_and_all_of_it_is_counted(
    published: Published, keys: set[str]
) -> None:
    """Frames without a key, and the last of each key on each channel, come in the order of the log."""
    latest = Latest(lambda channel: True)
    log = Log(10**9, latest)
    log.anchor(ORDERS, place(0))
    seq = skipped = 0
    came: list[tuple[int, str]] = []

    def written(found: Record, slot: Slot) -> bytes:
        return f"<{found.position.time_ms - 1000} {slot.channel}>".encode().ljust(20 * KB)

    wire = latest.conflating(written)

    def turn() -> None:
        nonlocal seq, skipped
        portion = next_portion(log, keys, seq, log.next, wire)
        seq, skipped = portion.next, skipped + portion.skipped
        found = re.findall(rb"<(\d+) ([^>]+)>", portion.data)
        assert len(found) == portion.frames
        came.extend((int(number), channel.decode()) for number, channel in found)

    for number, (channels, key, turns) in enumerate(published, 1):
        added = record(number, *channels)
        added.conflation_key = key
        log.append(added)
        for _ in range(turns):
            turn()
    while seq < log.next:
        turn()

    due = _due(published, keys)
    assert came == sorted(came, key=lambda each: each[0])
    assert len(set(came)) == len(came)
    assert len(came) + skipped == len(due)
    for at, (number, channel, key) in enumerate(due):
        is_last = not any((channel, key) == later[1:] for later in due[at + 1 :])
        if key is None or is_last:
            assert (number, channel) in came
