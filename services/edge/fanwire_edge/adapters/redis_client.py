"""A client of redis-py for what is asked now and then: bytes, deadlines, and nothing repeated unseen."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

__all__ = ["REPLY_SECONDS", "redis_client"]

# For connecting, and what callers give a reply.
REPLY_SECONDS = 2.0


def redis_client(url: str) -> Redis:
    """Return a client of the Redis at *url*, which connects when it is first asked.

    Replies have no deadline but the caller's.
    """
    client = Redis.from_url(
        url,
        protocol=3,
        legacy_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=REPLY_SECONDS,
    )
    # A URL's options win over arguments; ours are bytes. redis-py keeps its deadline of a reply by
    # asyncio.wait_for, which loses cancellations before Python 3.12.
    client.connection_pool.connection_kwargs.update(decode_responses=False, socket_timeout=None)
    return client
