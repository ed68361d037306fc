"""What the tests of faults share: how long they are, and how a run ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fanwire_protocol.event import Event, encode_event
from fanwire_publisher import Publisher
from tests.e2e.listener import Listener
from tests.e2e.truth import Report, Written, check, is_on, is_told
from tests.e2e.writer import Writer
from tests.kit.redis_server import RedisServer
from tests.kit.wait import eventually

__all__ = ["add_raw", "arrived", "finish", "key_of", "rounds", "say", "settled", "steadily", "writing"]

ARRIVAL_SECONDS = 15.0


def rounds(short: int, long: int) -> int:
    """Return how often a test repeats itself: *long* where FANWIRE_TEST_LONG is 1."""
    return long if os.environ.get("FANWIRE_TEST_LONG") == "1" else short


def say(text: str) -> None:
    """Print a figure; `pytest -s` or `-rP` shows it."""
    print(text)  # noqa: T201


@asynccontextmanager
async def writing(url: str, prefix: str = "fanwire") -> AsyncIterator[Writer]:
    """Give a writer of the tenant `acme` on the broker at *url*."""
    async with Publisher.from_url(url, prefix=prefix) as publisher:
        yield Writer(publisher)


async def arrived(listener: Listener, event: Written) -> None:
    """Wait until *event* came."""
    await eventually(lambda: _came(listener, event), ARRIVAL_SECONDS, f"{event} at the listener")


async def settled(listener: Listener, event: Written) -> None:
    """Wait until *event* came, or a gap told of it."""
    what = f"{event} or a gap at the listener"
    await eventually(lambda: _came(listener, event) or is_told(listener, event), ARRIVAL_SECONDS, what)


def _came(listener: Listener, event: Written) -> bool:
    return any(event.event_id == frame["eventId"] for frame in listener.frames[-2000:])


async def finish(writer: Writer, listeners: Sequence[Listener]) -> list[Report]:
    """Write one more event on each topic, wait until it came or was told, and compare all with the truth.

    Raises AssertionError for anything that was lost in silence, came twice or out of order.
    """
    topics = dict.fromkeys(each.topic for each in writer.written)
    for topic in topics:
        [last] = await writer.write(topic)
        for listener in listeners:
            if any(is_on(name, last.channels[0]) for name in listener.names):
                await settled(listener, last)
    reports = []
    for listener in listeners:
        await listener.ping()
        report = check(listener, writer.written, renewals=writer.renewals)
        assert not report.missing, f"lost in silence: {report.missing[:5]} of {len(report.missing)}"
        reports.append(report)
    return reports


async def steadily(writer: Writer, topics: Sequence[str], seconds: float, listener: Listener) -> None:
    """Write small bursts for *seconds*, each once a hundredth of a second, whatever arrives."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        for topic in topics:
            await writer.write(topic, 5)
        await asyncio.sleep(0.01)
        assert not listener.is_closed, listener.close_code


def key_of(topic: str, prefix: str = "fanwire") -> str:
    """Return the stream of a topic."""
    return f"{prefix}:{topic}:0"


def add_raw(redis: RedisServer, topic: str, event_id: str, *options: str | int, entry_id: str = "*") -> str:
    """Add an event of `acme` as any program may (PROTOCOL §7), with *options* of XADD; return its id."""
    event = Event(event_id, "changed", "acme", 0, resource=(topic, "1"))
    added = redis.execute("XADD", key_of(topic), *options, entry_id, "e", encode_event(event))
    id_: str = added.decode()
    return id_
