"""The demo feed, a process of its own as a core service would be: `python -m fanwire_cli.demo`."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

from fanwire_cli.failure import Failure
from fanwire_cli.feed import TENANT, Feed, Happening
from fanwire_cli.settings import read_settings
from fanwire_publisher import Publisher, PublisherError

__all__ = ["main"]


def main() -> int:
    """Publish the demo's events, about two a second, until SIGTERM."""
    try:
        asyncio.run(_publish_all())
    except (Failure, KeyboardInterrupt) as error:
        print(f"demo feed: {error}", file=sys.stderr)
        return 1
    return 0


async def _publish_all() -> None:
    broker = read_settings(os.environ).broker
    feed = Feed(random.Random(), lambda: time.time_ns() // 1_000_000)
    async with Publisher.from_url(
        broker.url, prefix=broker.prefix, partitions=broker.partitions
    ) as publisher:
        while True:
            try:
                await _publish(publisher, feed.next())
            except PublisherError as error:
                print(f"demo feed: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(feed.pause())


async def _publish(publisher: Publisher, happening: Happening) -> None:
    if happening.user is not None:
        await publisher.send_to_user(TENANT, happening.user, happening.type, happening.payload)
        return
    await publisher.publish(
        happening.topic, happening.type, happening.payload, tenant=TENANT, resource=happening.resource
    )


if __name__ == "__main__":
    sys.exit(main())
