"""One connection of a client: the names that it is on, and what came over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from fanwire_cli.history.operations import Authorized, Connect, Revoke
from fanwire_protocol.channels import covers, matching_patterns, user_channel
from fanwire_protocol.position import Offset, Position

__all__ = ["Connection", "Rights"]

_patterns = lru_cache(1 << 16)(matching_patterns)


# How long after a revocation an event may begin to be published and reach somebody yet (PROTOCOL §7).
REVOCATION_NS = 1_000_000_000


class Rights:
    """What a client may read; everything while nobody said. *revokes* may be any client's."""

    def __init__(self, told: Authorized | None = None, revokes: Sequence[Revoke] = ()) -> None:
        self._names = None if told is None else told.channels
        self._known: dict[str, bool] = {}
        self._lost = [] if told is None else [each for each in revokes if _concerns(each, told)]

    def permit(self, channel: str, connection: str, begun: int | None) -> bool:
        """Tell whether the client may read what began to be published on *channel* at that time; a
        connection's own is permitted until all is revoked."""
        if self._names is None:
            return True
        if begun is not None and any(_ends(each, channel, begun) for each in self._lost):
            return False
        known = self._known.get(channel)
        if known is None:
            known = self._known[channel] = any(covers(name, channel) for name in self._names)
        return known or channel.endswith(f":connection:{connection}")


def _concerns(revoke: Revoke, told: Authorized) -> bool:
    """Tell whether rights were taken from a client that was given others later, if at all."""
    if revoke.tenant != told.tenant or revoke.time < told.time:
        return False
    return revoke.user is None or user_channel(revoke.tenant, revoke.user) in told.channels


def _ends(revoke: Revoke, channel: str, begun: int) -> bool:
    if begun <= revoke.time + REVOCATION_NS:
        return False
    return revoke.channels is None or any(covers(name, channel) for name in revoke.channels)


@dataclass(slots=True)
class Connection:
    """`names` are what it is on, and where delivery to each began; `seen` the pairs that came, and where."""

    told: Connect
    names: dict[str, Mapping[str, Position] | None] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    _standing: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def join(self, name: str, positions: Mapping[str, Position] | None) -> bool:
        """Note that delivery to *name* begins after *positions*; False where it is on it already."""
        if name in self.names:
            return False
        self.names[name] = positions
        self._standing.clear()
        return True

    def leave(self, name: str) -> None:
        """Note that *name* has ended."""
        self.names.pop(name, None)
        self._standing.clear()

    def matching(self, channel: str) -> tuple[str, ...]:
        """Return the names by which the connection is on *channel*."""
        found = self._standing.get(channel)
        if found is None:
            candidates = (channel, *_patterns(channel))
            found = self._standing[channel] = tuple(name for name in candidates if name in self.names)
        return found

    def has_begun(self, channel: str, offset: Offset) -> bool:
        """Tell whether an event at *offset* lies after the begin of a name, as far as ids can tell."""
        for name in self.matching(channel):
            begin = (self.names[name] or {}).get(offset.topic)
            if begin is None or begin.broker != offset.position.broker or begin.key < offset.position.key:
                return True
        return False
