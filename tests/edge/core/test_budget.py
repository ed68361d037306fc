"""Who is cut where too much waits for clients that do not read."""

from __future__ import annotations

import pytest

from fanwire_edge.core.budget import Waiting, over_budget

FAR = Waiting("far", 100, 5000)
NEAR = Waiting("near", 300, 0)
FULL = Waiting("full", 400, 1000)


@pytest.mark.parametrize(
    ("max_bytes", "gone"),
    [
        (800, []),
        (799, ["far"]),
        (700, ["far"]),
        (699, ["far", "full"]),
        (300, ["far", "full"]),
        (299, ["far", "full", "near"]),
        (0, ["far", "full", "near"]),
    ],
)
def test_the_furthest_behind_go_first_and_no_more_than_needed(max_bytes: int, gone: list[str]) -> None:
    """What they are still due counts for who is far, what their transports hold for the budget."""
    assert over_budget([NEAR, FAR, FULL], max_bytes) == gone
