"""What an edge counts."""

from __future__ import annotations

import pytest

from fanwire_edge.core.tally import ABNORMAL, LATENCY_BUCKETS_MS, Tally, close_reason
from fanwire_protocol.codes import GapReason


@pytest.mark.parametrize(
    ("milliseconds", "bucket"), [(-5, 0), (0, 0), (1, 0), (2, 1), (3, 2), (5000, 11), (5001, 12), (10**9, 12)]
)
def test_a_latency_falls_into_the_bucket_whose_bound_it_does_not_exceed(
    milliseconds: int, bucket: int
) -> None:
    """What lies above every bound is in the last; a clock that is ahead counts as no time at all."""
    tally = Tally()

    tally.observe_latency(milliseconds)

    tally.observe_revocation(milliseconds)

    for counts in (tally.latency_counts, tally.revocation_counts):
        assert [index for index, count in enumerate(counts) if count] == [bucket]
    assert tally.latency_sum_ms == tally.revocation_sum_ms == max(0, milliseconds)


def test_a_tally_begins_at_nothing() -> None:
    """There is a bucket for each bound and one above them; nothing is shared between two tallies."""
    first, second = Tally(), Tally()
    first.gaps["trimmed"] += 1
    first.observe_latency(1)

    assert len(second.latency_counts) == len(LATENCY_BUCKETS_MS) + 1
    assert not any(second.latency_counts)
    assert second.gaps == {reason.value: 0 for reason in GapReason}
    assert second.resumes == {"recovered": 0, "partial": 0}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, "normal"),
        (1001, "going_away"),
        (1005, "no_status"),
        (ABNORMAL, "lost"),
        (4008, "slow_consumer"),
        (4505, "connection_limit"),
        (0, "other"),
        (3000, "other"),
        (4999, "other"),
    ],
)
def test_a_close_code_is_counted_under_its_name(code: int, reason: str) -> None:
    """Every number that is none of ours is the same to the counter, whatever a peer sends."""
    assert close_reason(code) == reason
