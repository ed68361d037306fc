"""The mirror: what the REST API shows to a user, the user may subscribe to (PROTOCOL §9, `http`).

A channel leads to a route of the API, which is asked in the user's own name: with the credential that the
client showed. Only the status counts. 401 means that the credential is not accepted; 403 and 404 are the same
to a client. A redirect, as to a page that asks for a password, is no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.rules import Rules, Unaskable
from fanwire_edge.ports import Outbound, OutboundFailed
from fanwire_protocol.channels import Channel

__all__ = ["HttpAuthorizer"]

# Requests for one command at once, so that one who asks for a hundred channels leaves places to others.
AT_ONCE = 8
MAX_REQUESTS = 64
_DECISIONS = {
    401: Decision.UNAUTHENTICATED,
    403: Decision.FORBIDDEN,
    404: Decision.FORBIDDEN,
}


class HttpAuthorizer:
    """The port `Authorizer`, by asking the routes that *rules* lead to, *max_requests* at once.

    What is beyond that waits here: a storm is answered late, as far as its commands have the time for it.
    """

    def __init__(self, outbound: Outbound, rules: Rules, max_requests: int = MAX_REQUESTS) -> None:
        self._outbound = outbound
        self._rules = rules
        self._places = asyncio.Semaphore(max_requests)

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Return what the API says of each of *channels*; UNDECIDED where no rule is for it."""
        found: dict[str, Decision] = {}
        asked: dict[str, str] = {}
        for channel in channels:
            try:
                url = self._rules.url(channel)
            except Unaskable:
                found[channel.name] = Decision.FORBIDDEN
                continue
            if url is None:
                found[channel.name] = Decision.UNDECIDED
            else:
                asked[channel.name] = url
        await self._ask_all(asker, asked, found)
        return found

    async def _ask_all(self, asker: Asker, asked: Mapping[str, str], found: dict[str, Decision]) -> None:
        left = iter(asked.items())
        if len(asked) <= 1:
            await self._ask_on(asker, left, found)
            return
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(asked))):
                tasks.create_task(self._ask_on(asker, left, found))

    async def _ask_on(
        self, asker: Asker, left: Iterator[tuple[str, str]], found: dict[str, Decision]
    ) -> None:
        for name, url in left:
            found[name] = await self._ask(asker, url)

    async def _ask(self, asker: Asker, url: str) -> Decision:
        if asker.credential is None:
            return Decision.UNAVAILABLE
        header, value = asker.credential.forward
        try:
            async with self._places:
                reply = await self._outbound.get(url, {header: value}, 0)
        except OutboundFailed:
            return Decision.UNAVAILABLE
        if 200 <= reply.status < 300:
            return Decision.PERMITTED
        return _DECISIONS.get(reply.status, Decision.UNAVAILABLE)
