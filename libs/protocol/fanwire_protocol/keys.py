"""Names of Fanwire's keys in Redis (PROTOCOL §7)."""

from __future__ import annotations

import zlib

from fanwire_protocol.channels import is_segment

__all__ = [
    "CHANNELS_TOPIC",
    "DIRECT_TOPIC",
    "ENTRY_FIELD",
    "RESERVED_TOPICS",
    "SYSTEM_TOPIC",
    "api_keys_key",
    "audit_key",
    "config_key",
    "control_key",
    "is_topic",
    "partition_of",
    "readers_key",
    "revoked_key",
    "stream_key",
    "topics_key",
]

ENTRY_FIELD = b"e"
DIRECT_TOPIC = "direct"
SYSTEM_TOPIC = "system"
CHANNELS_TOPIC = "channels"
# Topics that exist before anyone publishes on them.
RESERVED_TOPICS = (DIRECT_TOPIC, SYSTEM_TOPIC, CHANNELS_TOPIC)


def is_topic(name: str) -> bool:
    """Tell whether applications may publish on a topic of this name."""
    return is_segment(name) and not name.startswith("_")


def stream_key(prefix: str, topic: str, partition: int) -> str:
    """Return the stream of one partition of a topic."""
    return f"{prefix}:{topic}:{partition}"


def control_key(prefix: str) -> str:
    """Return the control stream, which tells edges what to do."""
    return f"{prefix}:control"


def topics_key(prefix: str) -> str:
    """Return the set of topics that publishers registered."""
    return f"{prefix}:topics"


def config_key(prefix: str) -> str:
    """Return the hash of settings that all processes share, the number of partitions among them."""
    return f"{prefix}:_config"


def readers_key(prefix: str) -> str:
    """Return the sorted set of those who tail the log, by the time at which they last said so."""
    return f"{prefix}:_readers"


def revoked_key(prefix: str) -> str:
    """Return the hash of revocations that may still be in force, by the ids of their orders."""
    return f"{prefix}:_revoked"


def api_keys_key(prefix: str) -> str:
    """Return the hash of API keys, by the SHA-256 of each in hexadecimal digits."""
    return f"{prefix}:_keys"


def audit_key(prefix: str) -> str:
    """Return the stream of the audit log, where that is kept in Redis."""
    return f"{prefix}:_audit"


def partition_of(topic: str, tenant: str | None, partitions: int) -> int:
    """Return the partition that holds a tenant's events; `system` has one partition only."""
    if tenant is None or topic == SYSTEM_TOPIC:
        return 0
    return zlib.crc32(tenant.encode()) % partitions
