"""The limits of delivery."""

from __future__ import annotations

from fanwire_edge.core.delivery import DeliveryLimits


def test_a_connection_is_behind_long_before_it_is_cut() -> None:
    """What is not said has a limit all the same."""
    limits = DeliveryLimits(high_water_bytes=65_536, max_behind_bytes=262_144, stall_seconds=10)

    assert limits.high_water_bytes < limits.max_behind_bytes < limits.max_buffered_bytes
    assert min(limits.close_seconds, limits.resume_seconds, limits.max_behind_entries) > 0
