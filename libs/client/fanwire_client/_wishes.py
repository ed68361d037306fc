"""Wanted channels: where each one stands on the present connection, and where it would resume.

Theory of operation. Every wanted channel has one state:

    NEW ──command sent──▶ ASKED ──`subscribed`──▶ LIVE
                            └──recovered: false──▶ UNPROVEN ──a later position──▶ LIVE

and `lose` makes all of them NEW. Positions are never compared: the one received last counts. Where a
channel resumes depends on its state when the connection was lost: LIVE from the positions of that
connection, because every frame with a position vouches for all answered channels; NEW, ASKED and
UNPROVEN from where they would have resumed before. UNPROVEN exists for the cut between `recovered: false`
and the `gap` that follows it: taking the new positions at once would hide that gap for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from fanwire_client._payloads import Places
from fanwire_client._plan import plan_subscribe
from fanwire_protocol.commands import Subscribe
from fanwire_protocol.position import Position

__all__ = ["State", "Wish", "Wishes"]


class State(Enum):
    """Where a wanted channel stands on the present connection."""

    NEW = auto()
    ASKED = auto()
    UNPROVEN = auto()
    LIVE = auto()

    @property
    def is_answered(self) -> bool:
        """Whether the server delivers to the channel."""
        return self in (State.UNPROVEN, State.LIVE)


@dataclass(slots=True)
class Wish:
    """One wanted channel; `since` is where it resumes while it is not LIVE, None for the first time."""

    state: State = State.NEW
    since: Places | None = None
    asked_by: int | None = None


class Wishes:
    """All wanted channels, and the positions of the present connection."""

    def __init__(self) -> None:
        self._wishes: dict[str, Wish] = {}
        self._positions: dict[str, Position] = {}
        self._new: dict[str, None] = {}
        self._unproven: dict[str, None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._wishes)

    @property
    def has_new(self) -> bool:
        """Whether a channel waits to be asked for."""
        return bool(self._new)

    def state(self, name: str) -> State | None:
        """Return a channel's state; None where nobody wants it."""
        wish = self._wishes.get(name)
        return None if wish is None else wish.state

    def since(self, name: str) -> Places | None:
        """Return where a wanted channel would resume if the connection were lost now."""
        wish = self._wishes[name]
        return self._positions if wish.state is State.LIVE else wish.since

    def want(self, name: str) -> None:
        """Begin to want a channel; a wanted one stays as it is."""
        if name not in self._wishes:
            self._wishes[name] = Wish()
            self._new[name] = None

    def drop(self, name: str) -> State:
        """Stop wanting a channel and return where it stood."""
        self._new.pop(name, None)
        self._unproven.pop(name, None)
        return self._wishes.pop(name).state

    def plan(self, ids: Iterator[int]) -> Iterator[Subscribe]:
        """Yield the commands that ask for all NEW channels, which become ASKED."""
        groups: dict[int, tuple[Places | None, list[str]]] = {}
        for name in self._new:
            since = self._wishes[name].since
            # Channels that were lost together share one mapping of positions.
            groups.setdefault(id(since), (since, []))[1].append(name)
        self._new.clear()
        for since, names in groups.values():
            for number, command in plan_subscribe(names, since, ids):
                for name in command.channels:
                    wish = self._wishes[name]
                    wish.state, wish.asked_by = State.ASKED, number
                yield command

    def is_asked(self, name: str, reply_to: int | str | None) -> bool:
        """Tell whether an answer concerns the present wish, not one that was given up and renewed."""
        wish = self._wishes.get(name)
        return wish is not None and wish.state is State.ASKED and reply_to in (None, wish.asked_by)

    def answer(self, name: str, recovered: bool | None) -> list[tuple[str, Position, Position]]:
        """Note the server's answer for a wanted channel.

        Returns (topic, from, to) of what lies unread where continuity was not asked for: a client that
        has a `since` and gets null must tell of it itself.
        """
        wish = self._wishes[name]
        since = wish.since
        self._new.pop(name, None)
        if recovered is False and since is not None:
            wish.state = State.UNPROVEN
            self._unproven[name] = None
            return []
        wish.state, wish.since = State.LIVE, None
        if recovered is not None or since is None:
            return []
        ends = ((topic, start, self._positions.get(topic, start)) for topic, start in since.items())
        return [(topic, start, end) for topic, start, end in ends if start != end]

    def begin(self, places: Places) -> None:
        """Take the first positions of a connection."""
        self._positions = dict(places)

    def move(self, places: Places) -> None:
        """Take positions, also where they go back."""
        self._positions.update(places)

    def advance(self, places: Places) -> None:
        """Take positions that come after every gap that was due: they prove the UNPROVEN."""
        self.move(places)
        for name in self._unproven:
            wish = self._wishes[name]
            wish.state, wish.since = State.LIVE, None
        self._unproven.clear()

    def lose(self) -> None:
        """Note that the connection is lost: everything is NEW, and resumes from where it stood."""
        kept = dict(self._positions)
        for name, wish in self._wishes.items():
            if wish.state is State.LIVE:
                wish.since = kept
            wish.state, wish.asked_by = State.NEW, None
            self._new[name] = None
        self._unproven.clear()
