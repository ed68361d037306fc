"""The hub: who is subscribed to what.

A subscription key is a channel or a pattern as a string. The keys of a published channel are computed
from the channel (`Slot.keys`), so looking up its subscribers costs the number of its segments, never the
number of patterns.

Most connections are alone on most of their keys. The mapping of one member stands under all of those (a
dictionary for each would be a kilobyte), so it is replaced where somebody joins, and dropped with its key.

Who speaks different dialects stands apart, since those get different bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fanwire_edge.core.crowd import Crowd
from fanwire_edge.core.stream import Stream
from fanwire_protocol.position import Position

if TYPE_CHECKING:
    from array import array

    from fanwire_edge.core.dialect import Dialect
    from fanwire_edge.core.replay import Replay

__all__ = ["NO_NUMBER", "Hub", "Lag", "Member", "Members", "Sender", "Sink"]

Sink: TypeAlias = Callable[[bytes], None]
# Sends bytes on the sockets from one place of a list of their numbers to another; tells of those that did not
# take all of them the place, and how many bytes they took.
Sender: TypeAlias = "Callable[[array[int], int, int, bytes], Sequence[tuple[int, int]]]"
NO_NUMBER = -1
# The members under each key, in the order in which they came; no key without members.
Members: TypeAlias = Mapping[str, Mapping["Member", None]]
# Up to so many keys are a tuple: a set of eight takes 728 bytes.
_FEW = 16
# Crowds that are kept at most.
_MAX_CROWDS = 1024


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

    def hold(self, data: bytes) -> None:
        """Take note of what falls due instead of writing it."""
        self.size_bytes += len(data)

    @property
    def places(self) -> Mapping[Stream, Position]:
        """What was put on the connection's wire, by stream; a replay that is not over goes back."""
        return self.positions if self.replay is None else {**self.positions, **self.replay.cursors}


class Member(Protocol):
    """A connection as the hub and the fan-out see it.

    `mask` is scratch space of the fan-out, zero outside of it. `write` hands bytes to its transport. `number`
    is that of its socket while nothing waits in the transport, else NO_NUMBER; where the socket did not take
    all bytes, `spill` gets them with the number that it took. `keys` and `lag` are the hub's to set
    (`subscribe`, `unsubscribe`; `hold`, `release`). The `dialect` stays.
    """

    dialect: Dialect
    mask: int
    lag: Lag | None
    keys: Collection[str]
    number: int
    write: Sink

    def spill(self, data: bytes, taken: int) -> None:
        """Keep what is left of *data* and write it in time."""


class Hub:
    """Subscriptions of the connections of one edge.

    Where at least *crowd_from* members are under a key, *send* is used for those that have a number.
    """

    def __init__(self, send: Sender | None = None, crowd_from: int = 32) -> None:
        self.send = send
        self.crowd_from = crowd_from
        self._by_dialect: dict[Dialect, dict[str, dict[Member, None]]] = {}
        self.subscriptions = 0
        # How many members are behind, and how often somebody's keys changed, or where bytes for them go.
        self.held = 0
        self.changes = 0
        # Forgotten with each change, for nobody who left to stay in memory.
        self._crowds: dict[tuple[Dialect, str], Crowd] = {}

    @property
    def by_dialect(self) -> Mapping[Dialect, Members]:
        """The members of each dialect; none without any. Not to be changed."""
        return self._by_dialect

    @property
    def channels(self) -> int:
        """How many keys have members."""
        every = tuple(self._by_dialect.values())
        return len(every[0]) if len(every) == 1 else len(set().union(*every))

    def crowd(self, dialect: Dialect, key: str) -> Crowd:
        """Return the members of one dialect under *key* as they are now; valid until the hub changes."""
        if len(self._crowds) >= _MAX_CROWDS:
            self._crowds.clear()
        found = self._crowds.get((dialect, key))
        if found is None:
            members = self._by_dialect.get(dialect, {}).get(key, ())
            self._crowds[dialect, key] = found = Crowd(members)
        return found

    def subscribe(self, member: Member, key: str) -> None:
        """Put *member* on *key*; twice is the same as once."""
        if key in member.keys:
            return
        by_key = self._by_dialect.setdefault(member.dialect, {})
        members = by_key.get(key)
        if members is None:
            by_key[key] = _alone(by_key, member)
        elif len(members) == 1:
            by_key[key] = {**members, member: None}
        else:
            members[member] = None
        member.keys = _with(member.keys, key)
        self.subscriptions += 1
        self.redirect()

    def unsubscribe(self, member: Member, key: str) -> bool:
        """Take *member* off *key*; tell whether it was on it."""
        if key not in member.keys:
            return False
        member.keys = _without(member.keys, key)
        by_key = self._by_dialect[member.dialect]
        members = by_key[key]
        if len(members) > 1:
            del members[member]
        else:
            del by_key[key]
            if not by_key:
                del self._by_dialect[member.dialect]
        self.subscriptions -= 1
        self.redirect()
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
        self.redirect()

    def release(self, member: Member) -> None:
        """Make a *member* that is behind live again."""
        member.lag = None
        self.held -= 1
        self.redirect()

    def redirect(self) -> None:
        """Take note that the bytes for some member go elsewhere now, or that there is another member."""
        self.changes += 1
        self._crowds.clear()


def _alone(by_key: Mapping[str, dict[Member, None]], member: Member) -> dict[Member, None]:
    """Return the mapping of a key on which nobody else is: one that stands under another key already."""
    for key in islice(member.keys, _FEW):
        if len(by_key[key]) == 1:
            return by_key[key]
    return {member: None}


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
