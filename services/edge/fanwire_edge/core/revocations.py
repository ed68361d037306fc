"""Revocations: which credentials, and which channels of them, were withdrawn (PROTOCOL §7 "Control").

Theory of operation. An order becomes a *ban* on whoever meets its conditions, or one for each channel that
it names. Bans stand under their narrowest condition, so that a handshake looks at a few places of a
dictionary however many there are. What a later ban of the same subject says, too, is dropped, so replayed
and repeated orders change nothing, and a ban never becomes weaker.

There are at most so many. Where more come, the oldest give way to a *floor*: everybody's credentials
that are no younger than they are refused then, since one of those may be meant. That asks more people
than necessary to fetch a new token, and lets nobody in.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fanwire_edge.core.orders import concerns, is_older, overlaps
from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import Channel, matching_patterns
from fanwire_protocol.orders import Order

__all__ = ["MAX_BANS", "Revocations"]

MAX_BANS = 100_000
_Key: TypeAlias = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class _Ban:
    """Until `until_ms` credentials of `order` that were issued up to `at_ms` are void (for `channel`)."""

    order: Order
    channel: str | None
    at_ms: int
    until_ms: float

    @property
    def subject(self) -> _Key:
        order = self.order
        return order.tenant, order.user, order.role, order.token, order.client, self.channel

    def says(self, other: _Ban) -> bool:
        """Tell whether it says all that *other* does."""
        is_as_wide = self.at_ms >= other.at_ms and self.until_ms >= other.until_ms
        return is_as_wide and self.subject == other.subject

    def holds(self, principal: Principal, client_id: str | None, now_ms: float) -> bool:
        return (
            now_ms < self.until_ms
            and is_older(principal, self.at_ms)
            and concerns(self.order, principal, client_id)
        )


class _Shelf:
    """Bans under keys, at most *most* of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_key: dict[_Key, list[_Ban]] = {}
        self._keys: dict[_Ban, tuple[_Key, ...]] = {}
        self._ends: list[tuple[float, int, _Ban]] = []
        self._count = 0
        # What was dropped before its time was of these times at most.
        self._floor_at_ms = -math.inf
        self._floor_until_ms = -math.inf

    def __len__(self) -> int:
        return len(self._keys)

    def is_empty(self, now_ms: float) -> bool:
        """Tell whether nothing is banned."""
        return not self._keys and now_ms >= self._floor_until_ms

    def put(self, ban: _Ban, keys: tuple[_Key, ...], now_ms: float) -> None:
        """Add a ban under *keys*, of which the first leads to all of its subject."""
        while self._ends and self._ends[0][0] <= now_ms:
            self._drop(heapq.heappop(self._ends)[2])
        same = [each for each in self._by_key.get(keys[0], ()) if each.subject == ban.subject]
        if ban.until_ms <= now_ms or any(each.says(ban) for each in same):
            return
        for each in same:
            if ban.says(each):
                self._drop(each)
        if len(self._keys) >= self._most:
            self._make_room()
        self._keys[ban] = keys
        for key in keys:
            self._by_key.setdefault(key, []).append(ban)
        self._count += 1
        heapq.heappush(self._ends, (ban.until_ms, self._count, ban))
        if len(self._ends) > 2 * self._most:
            self._forget_dropped()

    def find(self, keys: Iterable[_Key]) -> Iterator[_Ban]:
        """Yield the bans under *keys*."""
        for key in keys:
            yield from self._by_key.get(key, ())

    def is_below_floor(self, principal: Principal, now_ms: float) -> bool:
        """Tell whether a ban that was dropped may have been on this credential."""
        issued_ms = -math.inf if principal.issued_at is None else principal.issued_at * 1000
        return now_ms < self._floor_until_ms and issued_ms <= self._floor_at_ms

    def _drop(self, ban: _Ban) -> None:
        for key in self._keys.pop(ban, ()):
            bans = self._by_key[key]
            bans.remove(ban)
            if not bans:
                del self._by_key[key]

    def _make_room(self) -> None:
        # Many at once, for the sorting to be worth it.
        for ban in sorted(self._keys, key=lambda ban: ban.at_ms)[: self._most // 10 + 1]:
            self._floor_at_ms = max(self._floor_at_ms, ban.at_ms)
            self._floor_until_ms = max(self._floor_until_ms, ban.until_ms)
            self._drop(ban)
        self._forget_dropped()

    def _forget_dropped(self) -> None:
        self._ends = [end for end in self._ends if end[2] in self._keys]
        heapq.heapify(self._ends)


class Revocations:
    """The revocations in force. Times that are handed in are seconds since the epoch.

    An order without an end holds for *lifetime_seconds*, the longest that a credential can live on.
    `is_known` tells whether the broker was asked for those that were given before: while it was not, nobody
    may come in.
    """

    def __init__(self, lifetime_seconds: float, most: int = MAX_BANS) -> None:
        self._lifetime_ms = lifetime_seconds * 1000
        self._credentials = _Shelf(most)
        self._channels = _Shelf(most)
        self.is_known = False

    def __len__(self) -> int:
        return len(self._credentials) + len(self._channels)

    def add(self, order: Order, now: float) -> None:
        """Take a revocation; one that says nothing new, or whose time is over, changes nothing."""
        now_ms = now * 1000
        until_ms = self.until(order) * 1000
        key = _key_of(order)
        if order.channels is None:
            self._credentials.put(_Ban(order, None, order.at, until_ms), (key,), now_ms)
            return
        for name in order.channels:
            # Patterns find what is banned inside of them.
            inside = tuple((*key, "inside", pattern) for pattern in matching_patterns(name))
            ban = _Ban(order, name, order.at, until_ms)
            self._channels.put(ban, ((*key, name), *inside), now_ms)

    def until(self, order: Order) -> float:
        """Return when a revocation ends."""
        return (order.at + self._lifetime_ms if order.until is None else order.until) / 1000

    def is_revoked(self, principal: Principal, client_id: str | None, now: float) -> bool:
        """Tell whether a credential is void: 401, and 4503 for who is connected with it."""
        now_ms = now * 1000
        shelf = self._credentials
        if shelf.is_empty(now_ms):
            return False
        if shelf.is_below_floor(principal, now_ms):
            return True
        found = shelf.find(_keys_of(principal, client_id))
        return any(ban.holds(principal, client_id, now_ms) for ban in found)

    def forbids(
        self, principal: Principal, channel: Channel, now: float, client_id: str | None = None
    ) -> bool:
        """Tell whether the claims of a credential permit a resource channel or pattern no more."""
        now_ms = now * 1000
        shelf = self._channels
        if shelf.is_empty(now_ms):
            return False
        if shelf.is_below_floor(principal, now_ms):
            return True
        places: list[_Key] = [(channel.name,), *((name,) for name in matching_patterns(channel.name))]
        if channel.is_pattern:
            places.append(("inside", channel.name))
        keys = ((*key, *place) for key in _keys_of(principal, client_id) for place in places)
        return any(
            ban.holds(principal, client_id, now_ms) and overlaps(ban.channel or "", channel.name)
            for ban in shelf.find(keys)
        )


def _key_of(order: Order) -> _Key:
    """Return the place of the narrowest condition of *order*."""
    for name in ("client", "token", "user", "role"):
        value = getattr(order, name)
        if value is not None:
            return order.tenant, name, value
    return order.tenant, "all", ""


def _keys_of(principal: Principal, client_id: str | None) -> Iterator[_Key]:
    """Yield the places where orders stand that may concern a client."""
    for tenant in (principal.tenant, None):
        yield tenant, "client", client_id
        yield tenant, "token", principal.token_id
        yield tenant, "user", principal.user
        for role in principal.roles:
            yield tenant, "role", role
        yield tenant, "all", ""
