"""Permissions: who may be on which channel (PROTOCOL §4, §9).

What the claims of a token permit is known at once and costs nothing. About anything else others are asked,
while the command waits at the head of its connection's queue (ADR 0011). What they permit is kept for the
connection, asked for anew before it is too old, and soon where a revocation made it void. While the control
stream, in which a revocation would stand, cannot be read, nothing new is permitted, and nothing that others
permitted holds.

Tenants are kept apart before anybody is asked: a channel of another one is forbidden whoever would permit it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fanwire_edge.by_claims import ByClaims
from fanwire_edge.core.authorization import Decide, is_own
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.orders import covered
from fanwire_edge.core.questions import Round
from fanwire_edge.core.record import is_resource_key
from fanwire_edge.ending import end_subscriptions
from fanwire_edge.inquiry import Inquiry
from fanwire_edge.ports import Authorizer
from fanwire_edge.renewals import PermissionLimits, Renewals, asker_of
from fanwire_protocol.channels import Channel, InvalidChannel, parse_channel

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.core.principal import Principal
    from fanwire_edge.edge import Edge

__all__ = ["PermissionLimits", "Permissions"]


class Permissions:
    """Decides for connections of *edge*, by their claims where it *trusts_claims*, else by asking *chain*.

    A `ports.Companion`.
    """

    def __init__(
        self,
        edge: Edge,
        limits: PermissionLimits,
        chain: Sequence[Authorizer] = (),
        *,
        trusts_claims: bool = True,
    ) -> None:
        self._edge = edge
        self._deadline_seconds = limits.deadline_seconds
        self._claims = ByClaims(edge)
        self._trusts_claims = trusts_claims
        self._inquiry = Inquiry(chain, limits.deadline_seconds, edge.tally, edge.settled)
        self._renewals = Renewals(edge, self._inquiry, limits)
        self._rounds: dict[Connection, Round] = {}
        self._outdated_at = -limits.deadline_seconds

    @property
    def is_blind(self) -> bool:
        """Whether the control stream has been unreadable for so long that revocations may stand in it."""
        return self._renewals.is_blind

    # Commands

    def verdict(self, connection: Connection, names: Iterable[str]) -> Decide | None:
        """Return what decides whether *connection* may be on *names*, None while somebody is asked.

        It gets a turn when that is answered. `settle` is to be called at the end.
        """
        round_ = self._rounds.get(connection)
        if round_ is None and self._inquiry.has_chain and not self._renewals.is_blind:
            unknown = self._unknown(connection, (name for name in names if name not in connection.keys))
            asked = {name: channel for name, channel in unknown.items() if not self._holds(connection, name)}
            if asked:
                turn = partial(self._edge.pump.schedule, connection)
                round_ = Round(asker_of(connection), asked, time.monotonic(), turn)
                self._rounds[connection] = round_
                self._inquiry.begin(round_, is_urgent=True)
        if round_ is not None and not round_.is_done:
            return None
        return partial(self._decision, connection, round_)

    def settle(self, connection: Connection) -> None:
        """Keep what was permitted, of those channels that *connection* is on now."""
        round_ = self._rounds.pop(connection, None)
        if round_ is not None:
            self._renewals.keep(connection, round_.permitted, round_.asked_at)

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is gone; a second time is no error."""
        round_ = self._rounds.pop(connection, None)
        if round_ is not None:
            self._inquiry.leave(round_)
        self._renewals.forget(connection)

    # Handshakes

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Return a decision for the name of each of *channels*, of whatever kind and tenant.

        Never UNDECIDED; takes `authorization.deadline_seconds` at most. Cancelling is safe.
        """
        if self.is_blind:
            return {each.name: Decision.UNAVAILABLE for each in channels}
        found = {each.name: self._at_once(asker.principal, each) for each in channels}
        asked = {each.name: each for each in channels if found[each.name] is Decision.UNDECIDED}
        if not asked:
            return found
        told = asyncio.Event()
        round_ = Round(asker, asked, time.monotonic(), told.set)
        self._inquiry.begin(round_, is_urgent=True)
        try:
            await told.wait()
        finally:
            self._inquiry.leave(round_)
        return found | round_.found

    def keep(self, connection: Connection, names: Collection[str]) -> None:
        """Keep what `decide` has just permitted to *connection*, which is on *names* now."""
        asked = tuple(self._unknown(connection, names))
        now = time.monotonic()
        self._renewals.keep(connection, asked, now)
        if asked and now - self._outdated_at < 2 * self._deadline_seconds:
            # It may have been decided before what was revoked in the meantime.
            self._renewals.void(connection, asked)

    # Revocations

    def void(self, connection: Connection, channels: Collection[str] | None = None) -> None:
        """Take it that what others permitted to *connection* (on *channels* and patterns) does not hold.

        It stays on them until they have been asked anew, which they are soon; for
        `PermissionLimits.blind_seconds` at most where they cannot be.
        """
        if not self._inquiry.has_chain:
            return
        self._outdated_at = time.monotonic()
        self._renewals.void(connection, channels)
        round_ = self._rounds.get(connection)
        if round_ is not None:
            asked = round_.channels if channels is None else covered(round_.channels, channels)
            self._inquiry.ask_anew(round_, tuple(asked))

    def is_outdated(self, decided_at: float) -> bool:
        """Tell whether anything was revoked since *decided_at*, of the monotonic clock."""
        return self._outdated_at >= decided_at

    def outdate(self, channels: Collection[str] | None = None) -> None:
        """Take it that what others are saying of *channels* and patterns (of all) may be wrong, whoever asks.

        To be called for every revocation, before `void`; it may concern somebody who is just coming in.
        """
        self._outdated_at = time.monotonic()
        self._inquiry.outdate(channels)

    async def recheck(self, connection: Connection) -> None:
        """Ask anew for all that *connection* subscribed to, and end what is not permitted (any more).

        Where nobody can tell now, what was permitted before stays for `PermissionLimits.blind_seconds` at
        most, in which it is asked for again.
        """
        await self._edge.settled()
        on = list(filter(is_resource_key, connection.keys))
        decisions = {name: self._known(connection, parse_channel(name)) for name in on}
        asked = {name: parse_channel(name) for name in on if decisions[name] is Decision.UNDECIDED}
        # What was decided for the credential of before and is not in use counts for nobody any more.
        self._renewals.keep_only(connection, asked)
        for decision, reason in ((Decision.FORBIDDEN, "revoked"), (Decision.UNAVAILABLE, "expired")):
            ended = [name for name in on if decisions[name] is decision]
            end_subscriptions(self._edge, connection, ended, reason)
        if asked:
            self._renewals.void(connection, asked)
            await self._renewals.renew(connection, asked)

    async def start(self) -> None:
        """Begin without anything."""

    async def run(self) -> None:
        """Ask, and look after what is due, for ever, where there is anybody to ask."""
        if not self._inquiry.has_chain:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._inquiry.run())
            tasks.create_task(self._renewals.run())

    async def close(self) -> None:
        """Leave nothing behind."""

    # Decisions

    def _at_once(self, principal: Principal, channel: Channel, client_id: str | None = None) -> Decision:
        """Return what is known without asking anybody, UNDECIDED where somebody has to be asked."""
        if not is_own(principal, channel):
            return Decision.FORBIDDEN
        if self._trusts_claims:
            decision = self._claims.opinion(principal, channel, client_id)
            if decision is Decision.PERMITTED:
                return decision
        if not self._inquiry.has_chain:
            return Decision.FORBIDDEN
        return Decision.UNAVAILABLE if self._renewals.is_blind else Decision.UNDECIDED

    def _decision(self, connection: Connection, round_: Round | None, channel: Channel) -> Decision:
        decision = self._known(connection, channel)
        if decision is Decision.PERMITTED and self.is_blind:
            # What claims permit may be revoked by now. Who is on it stays: no event comes meanwhile.
            return Decision.UNAVAILABLE
        if decision is not Decision.UNDECIDED:
            return decision
        if self._renewals.holds(connection, channel.name):
            return Decision.PERMITTED
        return Decision.UNAVAILABLE if round_ is None else round_.decide(channel)

    def _holds(self, connection: Connection, name: str) -> bool:
        # It still has to when the others of the command have been asked for.
        return self._renewals.holds(connection, name, self._deadline_seconds)

    def _unknown(self, connection: Connection, names: Iterable[str]) -> dict[str, Channel]:
        """Return those of *names* that others have to be asked about."""
        found: dict[str, Channel] = {}
        for name in names:
            try:
                channel = parse_channel(name)
            except InvalidChannel:
                continue
            # Nobody can be asked while control is unreadable, but they would have to be.
            if self._known(connection, channel) in (Decision.UNDECIDED, Decision.UNAVAILABLE):
                found[name] = channel
        return found

    def _known(self, connection: Connection, channel: Channel) -> Decision:
        session = connection.session
        return self._at_once(session.principal, channel, session.client_id)
