"""The log as it stands in Redis: the true order, for the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanwire_protocol import InvalidData, decode_event
from fanwire_protocol.keys import ENTRY_FIELD, RESERVED_TOPICS, config_key, stream_key, topics_key
from tests.kit.recording import Recorder, channels_of
from tests.kit.redis_server import connect

__all__ = ["ends_of_log", "read_log"]


async def _streams(redis: Any, prefix: str) -> list[tuple[str, str]]:
    """Return topic and key of every stream."""
    found = {name.decode() for name in await redis.smembers(topics_key(prefix))}
    partitions = range(int(await redis.hget(config_key(prefix), "partitions") or 1))
    topics = sorted(found | set(RESERVED_TOPICS))
    return [(topic, stream_key(prefix, topic, partition)) for topic in topics for partition in partitions]


async def _identity(redis: Any) -> str:
    info = await redis.info("replication")
    return str(info["master_replid"])[:8]


async def _entries(redis: Any, key: str, *, only_last: bool = False) -> Sequence[tuple[bytes, Any]]:
    found = await (redis.xrevrange(key, count=1) if only_last else redis.xrange(key))
    return found or ()


async def read_log(recorder: Recorder, redis_url: str, prefix: str = "fanwire") -> int:
    """Write down every entry of the log, in its order, and return how many; what does not decode is none."""
    count = 0
    async with connect(redis_url) as redis:
        identity = await _identity(redis)
        for topic, key in await _streams(redis, prefix):
            for id_, fields in await _entries(redis, key):
                try:
                    event = decode_event(fields[ENTRY_FIELD])
                except (InvalidData, KeyError):
                    continue
                recorder.write(
                    "entry",
                    topic=topic,
                    tenant=event.tenant,
                    event_id=event.id,
                    position=f"{id_.decode()}~{identity}",
                    channels=channels_of(topic, event.tenant, event.resource, event.to),
                    **({} if event.key is None else {"key": event.key}),
                )
                count += 1
    recorder.flush()
    return count


async def ends_of_log(redis_url: str, prefix: str = "fanwire") -> dict[str, str]:
    """Return the last position of every stream that has entries, by the stream's key."""
    async with connect(redis_url) as redis:
        identity = await _identity(redis)
        ends = {}
        for _, key in await _streams(redis, prefix):
            if last := await _entries(redis, key, only_last=True):
                ends[key] = f"{last[0][0].decode()}~{identity}"
        return ends
