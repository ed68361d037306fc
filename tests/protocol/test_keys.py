"""Names of keys in Redis, and partitions (PROTOCOL §7)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_protocol.keys import (
    CHANNELS_TOPIC,
    DIRECT_TOPIC,
    ENTRY_FIELD,
    RESERVED_TOPICS,
    SYSTEM_TOPIC,
    api_keys_key,
    audit_key,
    config_key,
    control_key,
    is_topic,
    partition_of,
    readers_key,
    revoked_key,
    stream_key,
    topics_key,
)
from tests.protocol.vectors import load

VECTORS = load("partitions")


@pytest.mark.parametrize("row", VECTORS["partitions"], ids=str)
def test_a_tenant_always_has_the_same_partition(row: dict[str, Any]) -> None:
    """Every publisher and every edge, in any language, computes the same partition."""
    assert partition_of(row["topic"], row["tenant"], row["partitions"]) == row["partition"]


@given(st.text(max_size=128).filter(str.isprintable), st.integers(1, 1024))
def test_a_partition_exists(tenant: str, partitions: int) -> None:
    """The number lies within the partitions; `system` has the first one only."""
    assert 0 <= partition_of("orders", tenant, partitions) < partitions
    assert partition_of(SYSTEM_TOPIC, tenant, partitions) == 0
    assert partition_of("orders", tenant, 1) == 0


@pytest.mark.parametrize("row", VECTORS["keys"], ids=lambda row: row["key"])
def test_a_stream_is_named_after_topic_and_partition(row: dict[str, Any]) -> None:
    """One stream per topic and partition."""
    assert stream_key(row["prefix"], row["topic"], row["partition"]) == row["key"]


def test_shared_keys_have_their_names() -> None:
    """Control, topics and configuration are where every process looks for them."""
    makers = {
        "control": control_key,
        "topics": topics_key,
        "config": config_key,
        "readers": readers_key,
        "api_keys": api_keys_key,
        "revoked": revoked_key,
        "audit": audit_key,
    }
    shared = dict(VECTORS["shared"])
    prefix = shared.pop("prefix")
    assert {name: make(prefix) for name, make in makers.items()} == shared
    assert ENTRY_FIELD == b"e"


@pytest.mark.parametrize("row", VECTORS["topics"], ids=lambda row: ascii(row["name"]))
def test_a_topic_is_a_segment_that_is_not_internal(row: dict[str, Any]) -> None:
    """Names that begin with `_` are Fanwire's own."""
    assert is_topic(row["name"]) is row["topic"]


def test_reserved_topics_are_topics() -> None:
    """Publishers write to them, so they pass the same check."""
    assert RESERVED_TOPICS == (DIRECT_TOPIC, SYSTEM_TOPIC, CHANNELS_TOPIC) == ("direct", "system", "channels")
    assert all(map(is_topic, RESERVED_TOPICS))
