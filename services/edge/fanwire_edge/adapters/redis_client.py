"""A client of redis-py for what is asked now and then: bytes, deadlines, and nothing repeated unseen."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

__all__ = ["REPLY_SECONDS", "redis_client"]

# For connecting, and for each reply.
REPLY_SECONDS = 2.0


def redis_client(url: str) -> Redis:
    """Return a client of the Redis at *url*, which connects when it is first asked."""
    client = Redis.from_url(
        url,
        protocol=3,
        legacy_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=REPLY_SECONDS,
        socket_timeout=REPLY_SECONDS,
    )
    # A URL's options win over arguments; ours are bytes.
    client.connection_pool.connection_kwargs["decode_responses"] = False
    return client
