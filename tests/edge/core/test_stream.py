"""Streams: partitions of a topic and what the broker says of them."""

from __future__ import annotations

import zlib

import pytest

from fanwire_edge.core.stream import CONTROL, Stream, StreamInfo
from fanwire_protocol.keys import is_topic


@pytest.mark.parametrize("tenant", ["acme", "globex", "t-1"])
def test_a_tenant_is_fed_by_one_partition_of_a_topic(tenant: str) -> None:
    """It is the CRC-32 of the tenant's name modulo the partitions; `system` has the partition 0 only."""
    feeding = [partition for partition in range(4) if Stream("orders", partition).feeds(tenant, 4)]

    assert feeding == [zlib.crc32(tenant.encode()) % 4]
    assert Stream("system", 0).feeds(tenant, 4)
    assert not Stream("system", 1).feeds(tenant, 4)


def test_no_application_can_publish_on_control() -> None:
    """The control stream's name is none that a topic can have."""
    assert not is_topic(CONTROL.topic)


@pytest.mark.parametrize(
    ("info", "removed"),
    [
        (StreamInfo(), 0),
        (StreamInfo(length=3, added=10, first_id="8-0", last_id="10-0"), 7),
        (StreamInfo(length=3, added=None, first_id="8-0", last_id="10-0"), None),
    ],
    ids=["no stream", "trimmed", "a broker that cannot count"],
)
def test_what_was_removed_is_what_was_added_and_is_not_there(info: StreamInfo, removed: int | None) -> None:
    """Where the broker does not count additions nothing is said."""
    assert info.removed == removed
