"""The throttle: what clients may do how often, on one edge (PROTOCOL §4).

Each connection has a budget of commands, one of signs of life that it asks for, and one of channels that
it joins and leaves; all connections of a tenant have one of commands together. Who is refused and goes on
as if nothing had happened is sent away.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from fanwire_edge.core.gcra import Rates

__all__ = ["Limit", "Pace", "Refusal", "Throttle", "ThrottleLimits"]

K = TypeVar("K", bound=Hashable)

# Refusals at once that nobody is sent away for, and how many more for each second without one.
PATIENCE = 99.0
PATIENCE_PER_SECOND = 10.0
MAX_TENANTS = 65_536


class Limit(Enum):
    """What may be refused, as metrics name it."""

    COMMANDS = "commands"
    PINGS = "pings"
    CHURN = "churn"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Pace:
    """So many a second, and so many at once; 0 a second is no limit."""

    per_second: float
    burst: float


NO_LIMIT = Pace(0, 1)


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """The pace of a connection's commands, pings and channels, and of the commands of a tenant."""

    commands: Pace = NO_LIMIT
    pings: Pace = NO_LIMIT
    churn: Pace = NO_LIMIT
    tenant: Pace = NO_LIMIT


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is refused, for how many seconds, and whether the connection ends for it."""

    limit: Limit
    wait_seconds: float
    is_final: bool


class Throttle(Generic[K]):
    """Knows what connections, whatever stands for one, did of late; nothing of those who were quiet."""

    def __init__(self, limits: ThrottleLimits = ThrottleLimits()) -> None:
        self._commands: Rates[K] = _rates(limits.commands)
        self._pings: Rates[K] = _rates(limits.pings)
        self._churn: Rates[K] = _rates(limits.churn)
        self._patience: Rates[K] = Rates(PATIENCE_PER_SECOND, PATIENCE)
        self._tenants: Rates[str] = Rates(limits.tenant.per_second, limits.tenant.burst, MAX_TENANTS)

    def ping(self, key: K, now: float) -> Refusal | None:
        """Take a ping, or say why not."""
        wait = self._pings.wait(key, now)
        if wait:
            return self._refused(Limit.PINGS, wait, key, now)
        self._pings.take(key, now)
        return None

    def command(self, key: K, tenant: str | None, channels: int, now: float) -> Refusal | None:
        """Take a command that names so many *channels* to join or leave, or say why not.

        It does not count for the tenant where that is None. What is refused costs nothing.
        """
        wait, limit = self._commands.wait(key, now), Limit.COMMANDS
        if channels and (further := self._churn.wait(key, now, channels)) > wait:
            wait, limit = further, Limit.CHURN
        if tenant is not None and (further := self._tenants.wait(tenant, now)) > wait:
            wait, limit = further, Limit.TENANT
        if wait:
            return self._refused(limit, wait, key, now)
        self._commands.take(key, now)
        if channels:
            self._churn.take(key, now, channels)
        if tenant is not None:
            self._tenants.take(tenant, now)
        return None

    def forget(self, key: K) -> None:
        """Let go of a connection that is closed."""
        for rates in (self._commands, self._pings, self._churn, self._patience):
            rates.forget(key)

    def sweep(self, now: float) -> None:
        """Let go of those who were quiet."""
        for rates in (self._commands, self._pings, self._churn, self._patience):
            rates.sweep(now)
        self._tenants.sweep(now)

    def _refused(self, limit: Limit, wait_seconds: float, key: K, now: float) -> Refusal:
        is_final = self._patience.wait(key, now) > 0
        if not is_final:
            self._patience.take(key, now)
        return Refusal(limit, wait_seconds, is_final)


def _rates(pace: Pace) -> Rates[K]:
    return Rates(pace.per_second, pace.burst)
