"""Many recording clients at once: start them, and end them when they have everything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from fanwire_protocol.keys import partition_of, stream_key
from tests.kit.recorded_log import ends_of_log
from tests.kit.recording_client import RecordingClient
from tests.kit.wait import eventually

__all__ = ["finish_all", "running"]


@asynccontextmanager
async def running(clients: Sequence[RecordingClient], ready_seconds: float = 30.0) -> AsyncIterator[None]:
    """Run *clients*, and wait until all are ready first; those that were not ended are cut at the end."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(client.run()) for client in clients]
        try:
            await eventually(
                lambda: all(client.is_ready for client in clients), ready_seconds, "ready clients"
            )
            yield
        finally:
            for task in started:
                task.cancel()


async def finish_all(
    clients: Sequence[RecordingClient],
    redis_url: str,
    prefix: str = "fanwire",
    *,
    partitions: int = 1,
    deadline_seconds: float = 30.0,
) -> None:
    """Wait until pongs vouch for the whole log, and end every client: all that was confirmed was due."""
    until = time.monotonic_ns()
    ends = await ends_of_log(redis_url, prefix)

    async def is_level(client: RecordingClient) -> bool:
        if all(
            client.session.has_reached(topic, end)
            for topic, end in _ends_for(client.who.tenant, ends, prefix, partitions)
        ):
            return True
        await client.ping()
        return False

    for client in clients:
        await eventually(lambda: is_level(client), deadline_seconds, "a client that has everything")  # noqa: B023
    for client in clients:
        await client.end(until)


def _ends_for(tenant: str, ends: Mapping[str, str], prefix: str, partitions: int) -> list[tuple[str, str]]:
    """Return topic and last position of the streams that feed clients of *tenant*."""
    topics = {key.removeprefix(f"{prefix}:").rpartition(":")[0] for key in ends}
    keys = ((topic, stream_key(prefix, topic, partition_of(topic, tenant, partitions))) for topic in topics)
    return [(topic, ends[key]) for topic, key in keys if key in ends]
