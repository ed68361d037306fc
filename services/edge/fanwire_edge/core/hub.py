"""The hub: who is subscribed to what.

A subscription key is a channel or a pattern as a string. The keys of a published channel are computed
from the channel (`Slot.keys`), so looking up its subscribers costs the number of its segments, never the
number of patterns.

Under each key stands where the bytes for a member go: its own `write` while it is live, its lag's `hold`
while it is behind. So the fan-out only calls, and asks nothing of anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

if TYPE_CHECKING:
    from fanwire_edge.core.replay import Replay

__all__ = ["Hub", "Lag", "Member", "Sink", "sink_of"]

Sink: TypeAlias = Callable[[bytes], None]


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

    def hold(self, data: bytes) -> None:
        """Take note of what falls due instead of writing it."""
        self.size_bytes += len(data)

    @property
    def places(self) -> Mapping[Stream, Position]:
        """What was put on the connection's wire, by stream; a replay that is not over goes back."""
        return self.positions if self.replay is None else {**self.positions, **self.replay.cursors}


class Member(Protocol):
    """A connection as the hub and the fan-out see it.

    `mask` is scratch space of the fan-out, zero outside of it. `write` hands bytes to its transport. `lag`
    is the hub's to set (`hold`, `release`).
    """

    mask: int
    lag: Lag | None
    keys: set[str]
    write: Sink


class Hub:
    """Subscriptions of the connections of one edge."""

    def __init__(self) -> None:
        self._sinks: dict[str, dict[Member, Sink]] = {}
        self.subscriptions = 0
        # How many members are behind, and how often somebody left a key or became behind or level.
        self.held = 0
        self.changes = 0

    @property
    def by_key(self) -> Mapping[str, Mapping[Member, Sink]]:
        """Where bytes for the members under each key go; no key without members. Not to be changed."""
        return self._sinks

    def subscribe(self, member: Member, key: str) -> None:
        """Put *member* on *key*; twice is the same as once."""
        if key not in member.keys:
            member.keys.add(key)
            self._sinks.setdefault(key, {})[member] = sink_of(member)
            self.subscriptions += 1

    def unsubscribe(self, member: Member, key: str) -> bool:
        """Take *member* off *key*; tell whether it was on it."""
        if key not in member.keys:
            return False
        member.keys.discard(key)
        sinks = self._sinks[key]
        del sinks[member]
        if not sinks:
            del self._sinks[key]
        self.subscriptions -= 1
        self.changes += 1
        return True

    def leave(self, member: Member) -> None:
        """Take *member* off everything; it is neither live nor behind then."""
        for key in tuple(member.keys):
            self.unsubscribe(member, key)
        if member.lag is not None:
            member.lag = None
            self.held -= 1

    def hold(self, member: Member, lag: Lag) -> None:
        """Make a live *member* behind: what falls due is noted in *lag* and not written."""
        member.lag = lag
        self.held += 1
        self._redirect(member)

    def release(self, member: Member) -> None:
        """Make a *member* that is behind live again."""
        member.lag = None
        self.held -= 1
        self._redirect(member)

    def _redirect(self, member: Member) -> None:
        sink = sink_of(member)
        for key in member.keys:
            self._sinks[key][member] = sink
        self.changes += 1


def sink_of(member: Member) -> Sink:
    """Return where bytes for *member* go."""
    return member.write if member.lag is None else member.lag.hold
