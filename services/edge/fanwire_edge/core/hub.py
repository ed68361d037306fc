"""The hub: who is subscribed to what.

A subscription key is a channel or a pattern as a string. The keys of a published channel are computed
from the channel (`Slot.keys`), so looking up its subscribers costs the number of its segments, never the
number of patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

if TYPE_CHECKING:
    from fanwire_edge.core.replay import Replay

__all__ = ["Hub", "Lag", "Member"]


@dataclass(slots=True)
class Lag:
    """How a connection is behind: it has read the log up to the record *seq*, which is at *positions*.

    Before that it is due a `replay`, if it has one; `is_resuming` from a replay's begin until it is level.
    `size_bytes` is what fell due since and was not written, `buffered_bytes` what its transport held when
    last looked at, `progressed_at` the monotonic time when that was last seen to shrink.
    """

    seq: int
    positions: Mapping[Stream, Position]
    progressed_at: float
    size_bytes: int = 0
    buffered_bytes: int = 0
    replay: Replay | None = None
    is_resuming: bool = False

    @property
    def places(self) -> Mapping[Stream, Position]:
        """What was put on the connection's wire, by stream; a replay that is not over goes back."""
        return self.positions if self.replay is None else {**self.positions, **self.replay.cursors}


class Member(Protocol):
    """A connection as the hub and the fan-out see it.

    `mask` is scratch space of the fan-out, zero outside of it. `lag` is None while the connection is
    live; then `write` hands bytes to its transport.
    """

    mask: int
    lag: Lag | None
    keys: set[str]
    write: Callable[[bytes], None]


class Hub:
    """Subscriptions of the connections of one edge."""

    def __init__(self) -> None:
        self._members: dict[str, set[Member]] = {}
        self.subscriptions = 0

    @property
    def by_key(self) -> Mapping[str, set[Member]]:
        """The members under each key; no key without members exists. Not to be changed."""
        return self._members

    def subscribe(self, member: Member, key: str) -> None:
        """Put *member* on *key*; twice is the same as once."""
        if key not in member.keys:
            member.keys.add(key)
            self._members.setdefault(key, set()).add(member)
            self.subscriptions += 1

    def unsubscribe(self, member: Member, key: str) -> bool:
        """Take *member* off *key*; tell whether it was on it."""
        if key not in member.keys:
            return False
        member.keys.discard(key)
        members = self._members[key]
        members.discard(member)
        if not members:
            del self._members[key]
        self.subscriptions -= 1
        return True

    def leave(self, member: Member) -> None:
        """Take *member* off everything."""
        for key in tuple(member.keys):
            self.unsubscribe(member, key)
