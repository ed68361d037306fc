"""Renewals: keep what others permitted to connections, and see to it that it is asked for anew in time.

What is denied then ends with `revoked`, what could not be renewed before it was too old with `expired`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.grants import Due, Grants
from fanwire_edge.core.orders import covered
from fanwire_edge.core.questions import Round
from fanwire_edge.ending import end_subscriptions
from fanwire_edge.inquiry import Inquiry
from fanwire_edge.turns import between_deliveries
from fanwire_protocol.channels import Channel, parse_channel
from fanwire_protocol.codes import CloseCode

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.edge import Edge

__all__ = ["PermissionLimits", "Renewals", "asker_of"]

# What is void for all connections at once falls due within so many seconds.
SPREAD_SECONDS = 10.0
# So many decisions are kept of channels that a connection has left.
MAX_LEFT = 64
logger = logging.getLogger("fanwire.permissions")

_DENIED = (Decision.FORBIDDEN, Decision.UNAUTHENTICATED)


@dataclass(frozen=True, slots=True)
class PermissionLimits:
    """Seconds: how long a decision holds (0: as long as its connection lives), how long one may take, and how
    long the control stream may be unreadable."""

    max_age: float = 3600.0
    deadline_seconds: float = 5.0
    blind_seconds: float = 30.0

    @property
    def tick_seconds(self) -> float:
        """How often what is due is looked after."""
        return max(0.05, min(1.0, self.blind_seconds / 20, self.max_age / 20 or 1.0))


class Renewals:
    """What the connections of *edge* were permitted, asked for anew by *inquiry*."""

    def __init__(self, edge: Edge, inquiry: Inquiry, limits: PermissionLimits) -> None:
        self._edge = edge
        self._inquiry = inquiry
        self._limits = limits
        self._grants: Grants[Connection] = Grants(
            limits.max_age, limits.blind_seconds, limits.tick_seconds, Random().random
        )
        self._rounds: dict[Connection, Round] = {}

    @property
    def is_blind(self) -> bool:
        """Whether the control stream has been unreadable for so long that revocations may stand in it."""
        return time.monotonic() - self._edge.read_at > self._limits.blind_seconds

    def holds(self, connection: Connection, name: str, ahead_seconds: float = 0.0) -> bool:
        """Tell whether a decision is kept that lets *connection* be on *name*, and so in some seconds."""
        return self._grants.holds(connection, name, time.monotonic() + ahead_seconds)

    def keep(self, connection: Connection, names: Iterable[str], asked_at: float) -> None:
        """Keep that *connection* was permitted *names*, where it is on them."""
        on = [name for name in names if name in connection.keys]
        self._grants.give(connection, on, asked_at)
        left = [name for name in self._grants.names(connection) if name not in connection.keys]
        if len(left) > MAX_LEFT:
            self._grants.drop(connection, left)

    def keep_only(self, connection: Connection, names: Collection[str]) -> None:
        """Keep nothing of other channels than *names*, also of those that *connection* has left."""
        kept = self._grants.names(connection)
        self._grants.drop(connection, [name for name in kept if name not in names])

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is gone; a second time is no error."""
        self._supersede(connection)
        self._grants.forget(connection)

    def void(self, connection: Connection, channels: Collection[str] | None) -> None:
        """Let no decision of *connection* (on *channels* and patterns) hold; they are asked for anew soon."""
        names = self._grants.names(connection)
        mine = names if channels is None else covered(names, channels)
        spread_seconds = SPREAD_SECONDS if channels is None else 0.0
        self._grants.void(connection, mine, time.monotonic(), spread_seconds)
        round_ = self._rounds.get(connection)
        if round_ is not None:
            asked = round_.channels if channels is None else covered(round_.channels, channels)
            self._inquiry.ask_anew(round_, tuple(asked))

    async def renew(self, connection: Connection, channels: Mapping[str, Channel]) -> None:
        """Ask for *channels* anew, and act upon the answers."""
        told = asyncio.Event()
        self._begin(connection, channels, told.set)
        self._inquiry.begin(self._rounds[connection], is_urgent=True)
        await told.wait()

    async def run(self) -> None:
        """Look after what is due, for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(self._limits.tick_seconds)
            async for due in between_deliveries(self._edge, self._due()):
                with self._at(due.holder):
                    self._see_to(due)

    @contextmanager
    def _at(self, connection: Connection) -> Iterator[None]:
        """Let a bug of ours end *connection*, which comes back and asks anew, and no other."""
        try:
            yield
        except Exception:
            logger.exception("renewal_failed", extra={"client_id": connection.session.client_id})
            connection.close(CloseCode.INTERNAL_ERROR, "the edge failed")

    def _due(self) -> list[Due[Connection]]:
        grants = self._grants
        if self.is_blind:
            # Nothing that was permitted before holds, and nobody is asked.
            if grants:
                logger.warning("permissions_expired", extra={"connections": len(grants)})
            return [Due(each, (), tuple(grants.names(each))) for each in grants.holders()]
        return grants.due(time.monotonic())

    def _see_to(self, due: Due[Connection]) -> None:
        connection = due.holder
        self._grants.drop(connection, due.over)
        end_subscriptions(self._edge, connection, due.over, "expired")
        self._grants.drop(connection, [name for name in due.renew if name not in connection.keys])
        asked = {name: parse_channel(name) for name in due.renew if name in connection.keys}
        if asked and connection not in self._rounds:
            self._begin(connection, asked, _nothing)
            self._inquiry.begin(self._rounds[connection], is_urgent=False)

    def _begin(
        self, connection: Connection, channels: Mapping[str, Channel], then: Callable[[], None]
    ) -> None:
        """Let a round be that of *connection*, in place of the one before."""
        self._supersede(connection)
        done = partial(self._end_round, connection, then)
        self._rounds[connection] = Round(asker_of(connection), channels, time.monotonic(), done)

    def _supersede(self, connection: Connection) -> None:
        round_ = self._rounds.get(connection)
        if round_ is not None:
            self._inquiry.leave(round_)
            round_.done()

    def _end_round(self, connection: Connection, then: Callable[[], None]) -> None:
        round_ = self._rounds.pop(connection, None)
        if round_ is not None and round_.is_done:
            with self._at(connection):
                self._act_upon(connection, round_)
        then()

    def _act_upon(self, connection: Connection, round_: Round) -> None:
        if not self.is_blind:
            self.keep(connection, round_.permitted, round_.asked_at)
        denied = [name for name, decision in round_.found.items() if decision in _DENIED]
        self._grants.drop(connection, denied)
        end_subscriptions(self._edge, connection, denied, "revoked")
        known = self._grants.names(connection)
        unknown = [name for name in round_.found if name not in known]
        end_subscriptions(self._edge, connection, unknown, "expired")


def asker_of(connection: Connection) -> Asker:
    """Return who asks for *connection*."""
    session = connection.session
    return Asker(session.principal, session.credential)


def _nothing() -> None:
    pass
