"""Owners: whoever belongs to the team or tenant that owns a resource may subscribe to it (SYSTEMS K2).

A channel leads to a route of the service that knows, asked with the edge's own credential and not the
user's. What it answers holds for all users, so it is asked for once at a time and remembered for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.memo import Memo
from fanwire_edge.core.rules import Rules, Unaskable
from fanwire_edge.ports import Outbound, OutboundFailed
from fanwire_protocol.channels import Channel
from fanwire_protocol.codec import InvalidData, decode_json

__all__ = ["OwnerAuthorizer", "OwnerQuery"]

REMEMBERED_SECONDS = 10.0
MAX_REMEMBERED = 10_000
# Requests for one command at once, so that one who asks for a hundred channels leaves places to others.
AT_ONCE = 8
MAX_REQUESTS = 64
NOT_THERE = 404


@dataclass(frozen=True, slots=True)
class OwnerQuery:
    """How an owner is asked for: routes by channel, where it stands in an answer, what the edge shows."""

    rules: Rules
    path: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Away(Exception):
    """Who asked for all was cancelled; one of those who wait must ask."""


class OwnerAuthorizer:
    """The ports `Authorizer` and `Forgetful`, by comparing a resource's owner with the asker's tenant.

    *clock* is monotonic. Beyond *max_requests* at once what is to be asked waits here.
    """

    def __init__(
        self,
        outbound: Outbound,
        query: OwnerQuery,
        clock: Callable[[], float],
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        self._outbound = outbound
        self._places = asyncio.Semaphore(max_requests)
        self._query = query
        self._clock = clock
        self._known: Memo[str] = Memo(MAX_REMEMBERED)
        self._asked: dict[str, asyncio.Future[str | None]] = {}

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Return for each of *channels* whether its owner is the asker's tenant; UNDECIDED without a rule."""
        found = dict.fromkeys((channel.name for channel in channels), Decision.UNDECIDED)
        left = iter(channels)
        tenant = asker.principal.tenant
        if len(channels) == 1:
            await self._decide_on(tenant, left, found)
            return found
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(channels))):
                tasks.create_task(self._decide_on(tenant, left, found))
        return found

    def forget(self, channels: Collection[str] | None) -> None:
        """Ask anew for whatever is asked for from now on."""
        self._known = Memo(MAX_REMEMBERED)
        self._asked = {}

    async def _decide_on(self, tenant: str, left: Iterator[Channel], found: dict[str, Decision]) -> None:
        for channel in left:
            try:
                url = self._query.rules.url(channel)
                if url is not None:
                    is_own = await self._owner(url) == tenant
                    found[channel.name] = Decision.PERMITTED if is_own else Decision.FORBIDDEN
            except Unaskable:
                found[channel.name] = Decision.FORBIDDEN
            except OutboundFailed:
                found[channel.name] = Decision.UNAVAILABLE

    async def _owner(self, url: str) -> str | None:
        """Return who owns what *url* stands for, None for nobody; raises OutboundFailed."""
        while True:
            known = self._known.recall(url.encode(), self._clock())
            if known is not None:
                return known
            asked = self._asked.get(url)
            if asked is None:
                return await self._ask_for_all(url)
            try:
                # Cancelling one of those who wait must not cancel the others.
                return await asyncio.shield(asked)
            except _Away:
                continue

    async def _ask_for_all(self, url: str) -> str | None:
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._asked[url] = answer
        now = self._clock()
        try:
            owner = await self._ask(url)
        except OutboundFailed as problem:
            _fail(answer, problem)
            raise
        except BaseException:
            _fail(answer, _Away())
            raise
        finally:
            is_current = self._asked.get(url) is answer
            if is_current:
                del self._asked[url]
        answer.set_result(owner)
        # What is not there now may be there in a moment, and is asked for then.
        if owner is not None and is_current:
            self._known.keep(url.encode(), owner, now, now + REMEMBERED_SECONDS)
        return owner

    async def _ask(self, url: str) -> str | None:
        async with self._places:
            reply = await self._outbound.get(url, {"Accept": "application/json", **self._query.headers})
        if reply.status == NOT_THERE:
            return None
        if not 200 <= reply.status < 300:
            raise OutboundFailed(f"the service that knows the owners answered {reply.status}")
        return self._named(reply.body)

    def _named(self, body: bytes) -> str | None:
        try:
            found = decode_json(body)
        except InvalidData:
            raise OutboundFailed("the service that knows the owners answered no JSON") from None
        for name in self._query.path:
            if not isinstance(found, dict) or name not in found:
                raise OutboundFailed("the service that knows the owners answered without an owner")
            found = found[name]
        if found is None or isinstance(found, str):
            return found or None
        if type(found) is int:
            return str(found)
        raise OutboundFailed("the service that knows the owners answered with an owner that is no name")


def _fail(answer: asyncio.Future[str | None], problem: Exception) -> None:
    answer.set_exception(problem)
    # Perhaps nobody else waited; that is no exception that was overlooked.
    answer.exception()
