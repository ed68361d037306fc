"""The guard: how many may come in, and how often somebody may try, across all edges (PROTOCOL §2).

Leases in Redis count who is in (ADR 0012). While Redis is away an edge goes by what it sees itself, or lets
nobody in, as `limits.without_redis` says. Limits that are switched off cost nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from fanwire_edge.core.attempts import Attempts
from fanwire_edge.core.leases import NO_LIMITS, Claim, GuardLimits, Holder, Holdings, holder_of
from fanwire_edge.core.principal import Principal
from fanwire_edge.ports import Leases, TailLost
from fanwire_edge.refusal import Refused
from fanwire_protocol.channels import connection_channel
from fanwire_protocol.codes import CloseCode, HandshakeError

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.edge import Edge

__all__ = ["Guard"]

# Leases are renewed in so many portions, each of pipelines of so many names.
_PORTIONS = 10
_AT_ONCE = 256


class Guard:
    """Lets clients of *edge* in as far as limits go. A `ports.Companion`."""

    def __init__(
        self,
        edge: Edge,
        leases: Leases | None = None,
        limits: GuardLimits = NO_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._edge = edge
        self._leases = leases
        self._limits = limits
        self._clock = clock
        self._attempts = Attempts(limits.attempts)
        self._holdings = Holdings()
        self._names: dict[str, str] = {}

    async def attempt(self, address: str) -> float | None:
        """Count that *address* tries to come in; returns the seconds to wait where that is too often.

        Raises Refused where nobody can tell, and that is to mean no.
        """
        if self._leases is None or not self._limits.attempts:
            return None
        now = self._clock()
        wait = self._attempts.wait(address, now)
        if not wait:
            try:
                wait = await self._leases.attempt(address)
            except TailLost:
                self._require_open()
                wait = self._attempts.count(address, now)
            if wait:
                self._attempts.block(address, now, wait)
        if not wait:
            return None
        self._edge.tally.rate_limited["attempts"] += 1
        return wait

    async def enter(
        self, principal: Principal, client_id: str, address: str, replaces: str | None = None
    ) -> None:
        """Take all leases that the connection *client_id* needs; `leave` gives them back.

        Where it *replaces* a connection of the same user, that one's are taken over, and it ends. Raises
        Refused where there is no place; nothing is held then. So it is where this is cancelled.
        """
        claims = self._limits.connections.claims(principal, address)
        if self._leases is None or not claims:
            return
        holder = holder_of(principal, client_id, replaces)
        self._names[client_id] = holder.name
        try:
            for claim in claims:
                await self._take(self._leases, claim, holder)
                if client_id not in self._names:
                    self._names[client_id] = holder.name
                    raise Refused(HandshakeError.UNAVAILABLE, "the client has left meanwhile")
            if holder.replaced is not None and (replaced := self._holdings.holder(holder.replaced)):
                await self._end(replaced)
        except BaseException:
            self.leave(client_id)
            raise

    def leave(self, client_id: str) -> None:
        """Give back what the connection *client_id* holds; none is no error."""
        name = self._names.pop(client_id, None)
        if name is None or self._leases is None:
            return
        for subject in self._holdings.release(name):
            self._leases.give_back(subject, name)

    async def start(self) -> None:
        """Do nothing: the first who come wait for the first connection to Redis."""

    async def run(self) -> None:
        """Renew leases for ever."""
        if self._leases is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leases.run())
            tasks.create_task(self._renew_for_ever(self._leases))

    async def close(self) -> None:
        """Do nothing: leases are given back as long as `run` runs, and end by themselves."""

    async def _take(self, leases: Leases, claim: Claim, holder: Holder) -> None:
        try:
            wait = await leases.take(claim.subject, claim.limit, holder.name, holder.replaced)
        except TailLost:
            # It may have been taken all the same.
            leases.give_back(claim.subject, holder.name)
            self._require_open()
            wait = 0.0 if self._holdings.has_room(claim, holder) else self._limits.lease_seconds
        except BaseException:
            leases.give_back(claim.subject, holder.name)
            raise
        if wait:
            self._edge.tally.rate_limited[f"connections_{claim.kind}"] += 1
            raise Refused(
                HandshakeError.CONNECTION_LIMIT,
                f"there are {claim.limit} connections of this {_WORDS[claim.kind]} already",
                wait,
            )
        self._holdings.hold(holder, claim.subject)

    def _require_open(self) -> None:
        if not self._limits.is_open:
            raise Refused(HandshakeError.UNAVAILABLE, "nobody can tell now how many there are")

    async def _renew_for_ever(self, leases: Leases) -> None:
        """Renew each lease once in a third of its time, a portion at a time."""
        pause = self._limits.lease_seconds / 3 / _PORTIONS
        while True:
            subjects = self._holdings.subjects()
            size = -(-len(subjects) // _PORTIONS)
            for portion in range(_PORTIONS):
                await asyncio.sleep(pause)
                for held in self._batches(subjects[portion * size : (portion + 1) * size]):
                    await self._renew(leases, held)

    async def _renew(self, leases: Leases, held: Mapping[str, Sequence[str]]) -> None:
        try:
            lost = await leases.renew(held)
        except TailLost:
            # The next round takes them anew.
            return
        for subject, names in held.items():
            for name in set(names).difference(self._holdings.names(subject)):
                # It left while it was renewed, which may have come after its end.
                leases.give_back(subject, name)
        for name in lost:
            holder = self._holdings.holder(name)
            if holder is not None:
                await self._end(holder)

    def _batches(self, subjects: Sequence[str]) -> Iterator[Mapping[str, Sequence[str]]]:
        """Yield what is held of *subjects*, so much at a time as fits in one pipeline."""
        batch: dict[str, Sequence[str]] = {}
        count = 0
        for subject in subjects:
            names = tuple(self._holdings.names(subject))
            for start in range(0, len(names), _AT_ONCE):
                piece = names[start : start + _AT_ONCE]
                if count + len(piece) > _AT_ONCE or subject in batch:
                    yield batch
                    batch, count = {}, 0
                batch[subject] = piece
                count += len(piece)
        if batch:
            yield batch

    async def _end(self, holder: Holder) -> None:
        """Close a connection in whose place its user has another one; it has no lease any more."""
        await self._edge.settled()
        self._names.pop(holder.client_id, None)
        self._holdings.release(holder.name)
        key = connection_channel(holder.tenant, holder.client_id)
        members = [member for each in self._edge.hub.by_dialect.values() for member in each.get(key, ())]
        for connection in cast("list[Connection]", members):
            connection.close(CloseCode.CONNECTION_LIMIT, "another connection has taken its place")


_WORDS = {"user": "user", "key": "key", "ip": "address", "tenant": "tenant"}
