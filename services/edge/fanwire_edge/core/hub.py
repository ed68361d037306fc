"""The hub: who is subscribed to what.

A subscription key is a channel or a pattern as a string. The keys of a published channel are computed
from the channel (`Slot.keys`), so looking up its subscribers costs the number of its segments, never the
number of patterns.

Under each key stands where the bytes for a member go: its own `write` while it is live, its lag's `hold`
while it is behind. So the fan-out only calls, and asks nothing of anybody.

Most connections are alone on most of their keys. The mapping of one member stands under all of those (a
dictionary for each would be a kilobyte), so it is replaced where somebody joins, and dropped with its key.

Who speaks different dialects stands apart, since those get different bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

if TYPE_CHECKING:
    from fanwire_edge.core.dialect import Dialect
    from fanwire_edge.core.replay import Replay

__all__ = ["Hub", "Lag", "Member", "Sink", "Sinks", "sink_of"]

# Takes bytes; may tell how many of them it took, or raise OSError where it took none.
Sink: TypeAlias = Callable[[bytes], int | None]
# Where bytes for the members under each key go; no key without members.
Sinks: TypeAlias = Mapping[str, Mapping["Member", Sink]]
# Up to so many keys are a tuple: a set of eight takes 728 bytes.
_FEW = 16


@dataclass(slots=True)
class Lag:
    """How a connection is behind: it has read the log up to the record *seq*, which is at *positions*.

    Before that it is due a `replay`, if it has one; `is_resuming` from a replay's begin until it is level.
    `size_bytes` is what fell due since and was not written, `buffered_bytes` what its transport held when
    last looked at, `progressed_at` the monotonic time when that was last seen to shrink. `recalled` counts
    the frames of a replay of what the memory no longer held.
    """

    seq: int
    positions: Mapping[Stream, Position]
    progressed_at: float
    size_bytes: int = 0
    buffered_bytes: int = 0
    replay: Replay | None = None
    is_resuming: bool = False
    recalled: int = 0

    def hold(self, data: bytes) -> int:
        """Take note of what falls due instead of writing it."""
        size = len(data)
        self.size_bytes += size
        return size

    @property
    def places(self) -> Mapping[Stream, Position]:
        """What was put on the connection's wire, by stream; a replay that is not over goes back."""
        return self.positions if self.replay is None else {**self.positions, **self.replay.cursors}


class Member(Protocol):
    """A connection as the hub and the fan-out see it.

    `mask` is scratch space of the fan-out, zero outside of it. `write` sends bytes, and where it did not take
    all of them, `spill` gets them with the number it took. `keys` and `lag` are the hub's to set
    (`subscribe`, `unsubscribe`; `hold`, `release`). The `dialect` stays.
    """

    dialect: Dialect
    mask: int
    lag: Lag | None
    keys: Collection[str]
    write: Sink

    def spill(self, data: bytes, taken: int) -> None:
        """Keep what is left of *data* and write it in time."""


class Hub:
    """Subscriptions of the connections of one edge."""

    def __init__(self) -> None:
        self._by_dialect: dict[Dialect, dict[str, dict[Member, Sink]]] = {}
        self.subscriptions = 0
        # How many members are behind, and how often somebody left a key or became behind or level.
        self.held = 0
        self.changes = 0

    @property
    def by_dialect(self) -> Mapping[Dialect, Sinks]:
        """Where the bytes of each dialect go; none without members. Not to be changed."""
        return self._by_dialect

    @property
    def channels(self) -> int:
        """How many keys have members."""
        every = tuple(self._by_dialect.values())
        return len(every[0]) if len(every) == 1 else len(set().union(*every))

    def subscribe(self, member: Member, key: str) -> None:
        """Put *member* on *key*; twice is the same as once."""
        if key in member.keys:
            return
        by_key = self._by_dialect.setdefault(member.dialect, {})
        sinks = by_key.get(key)
        if sinks is None:
            by_key[key] = _alone(by_key, member)
        elif len(sinks) == 1:
            by_key[key] = {**sinks, member: sink_of(member)}
        else:
            sinks[member] = sink_of(member)
        member.keys = _with(member.keys, key)
        self.subscriptions += 1

    def unsubscribe(self, member: Member, key: str) -> bool:
        """Take *member* off *key*; tell whether it was on it."""
        if key not in member.keys:
            return False
        member.keys = _without(member.keys, key)
        by_key = self._by_dialect[member.dialect]
        sinks = by_key[key]
        if len(sinks) > 1:
            del sinks[member]
        else:
            del by_key[key]
            if not by_key:
                del self._by_dialect[member.dialect]
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
        self.redirect(member)

    def release(self, member: Member) -> None:
        """Make a *member* that is behind live again."""
        member.lag = None
        self.held -= 1
        self.redirect(member)

    def redirect(self, member: Member) -> None:
        """Take note that the bytes for *member* go elsewhere now."""
        sink = sink_of(member)
        by_key = self._by_dialect.get(member.dialect, {})
        for key in member.keys:
            by_key[key][member] = sink
        self.changes += 1


def sink_of(member: Member) -> Sink:
    """Return where bytes for *member* go."""
    return member.write if member.lag is None else member.lag.hold


def _alone(by_key: Mapping[str, dict[Member, Sink]], member: Member) -> dict[Member, Sink]:
    """Return the mapping of a key on which nobody else is: one that stands under another key already."""
    for key in islice(member.keys, _FEW):
        if len(by_key[key]) == 1:
            return by_key[key]
    return {member: sink_of(member)}


def _with(keys: Collection[str], key: str) -> Collection[str]:
    if isinstance(keys, set):
        keys.add(key)
        return keys
    return (*keys, key) if len(keys) < _FEW else {*keys, key}


def _without(keys: Collection[str], key: str) -> Collection[str]:
    if isinstance(keys, set):
        keys.discard(key)
        return keys
    return tuple(each for each in keys if each != key)
