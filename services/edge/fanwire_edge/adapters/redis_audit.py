"""The audit log as a stream in Redis, `{prefix}:_audit`: an entry a line, the newest of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fanwire_edge.adapters.redis_client import REPLY_SECONDS, redis_client
from fanwire_edge.adapters.redis_wire import BROKEN, reason_of
from fanwire_edge.ports import AuditFailed
from fanwire_protocol.keys import audit_key

__all__ = ["RedisAudit"]

FIELD = "line"


class RedisAudit:
    """Appends to the stream of *prefix* at *url*."""

    def __init__(self, url: str, prefix: str, max_entries: int) -> None:
        self._key = audit_key(prefix)
        self._max_entries = max_entries
        self._redis = redis_client(url)

    async def write(self, lines: Sequence[bytes]) -> None:
        """Append *lines* in one round trip; raises AuditFailed. After a timeout they may stand twice."""
        try:
            async with (
                asyncio.timeout(2 * REPLY_SECONDS),
                self._redis.pipeline(transaction=False) as pipeline,
            ):
                for line in lines:
                    entry = {FIELD: line.removesuffix(b"\n")}
                    pipeline.xadd(self._key, entry, maxlen=self._max_entries, approximate=True)  # type: ignore[arg-type, unused-awaitable]
                replies = await pipeline.execute(raise_on_error=False)
        except BROKEN as error:
            raise AuditFailed(reason_of(error), 0) from error
        refused = [place for place, reply in enumerate(replies) if isinstance(reply, Exception)]
        if refused:
            raise AuditFailed(reason_of(replies[refused[0]]), refused[0])

    def reopen(self) -> None:
        """Go on: a stream is not moved away."""

    async def close(self) -> None:
        """Drop the connection."""
        await self._redis.aclose()
