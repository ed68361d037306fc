"""Wanted channels: where each one stands on the present connection, and where it would resume.

Theory of operation. Every wanted channel has one state:

    NEW ──command sent──▶ ASKED ──`subscribed`──▶ LIVE
                            └──recovered: false──▶ UNPROVEN ──a later position──▶ LIVE

and `lose` makes all of them NEW. A channel that is refused only for now, or whose permission has expired,
is POSTPONED until `ask_again` makes it NEW. What was refused together is a round, and asked for together.
A server that was asked for too much at once is asked for nothing at all before that round is due.

Positions are never compared: the one received last counts. Where a channel resumes depends on its state
when the connection was lost: LIVE from the positions of that connection, because every frame with a
position vouches for all answered channels; NEW, ASKED, POSTPONED and UNPROVEN from where they would have
resumed before. UNPROVEN exists for the cut between `recovered: false` and the `gap` that follows it:
taking the new positions at once would hide that gap for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from fanwire_client._effects import Effect, Postponed
from fanwire_client._payloads import Places
from fanwire_client._plan import plan_subscribe
from fanwire_protocol.codes import ErrorCode
from fanwire_protocol.commands import ReplyTo, Subscribe
from fanwire_protocol.position import Position

__all__ = ["PASSING", "State", "Wish", "Wishes"]

# What the server says where it could not tell, or would not yet. Any other code is its last word.
PASSING = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.RATE_LIMITED})
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 30.0
_MOST_DOUBLINGS = 16


class State(Enum):
    """Where a wanted channel stands on the present connection."""

    NEW = auto()
    ASKED = auto()
    UNPROVEN = auto()
    LIVE = auto()
    POSTPONED = auto()

    @property
    def is_known(self) -> bool:
        """Whether the server may be on the channel, so that it has to be told to leave it."""
        return self not in (State.NEW, State.POSTPONED)

    @property
    def is_answered(self) -> bool:
        """Whether the server delivers to the channel."""
        return self in (State.UNPROVEN, State.LIVE)


@dataclass(slots=True)
class Wish:
    """One wanted channel; `since` is where it resumes while it is not LIVE, None for the first time.

    `number` is that of the command that asked for it while it is ASKED, of its round while it is POSTPONED.
    `refusals` counts those for now that came one after the other.
    """

    state: State = State.NEW
    since: Places | None = None
    number: int = 0
    refusals: int = 0


class Wishes:
    """All wanted channels, and the positions of the present connection."""

    def __init__(self) -> None:
        self._wishes: dict[str, Wish] = {}
        self._positions: dict[str, Position] = {}
        self._new: dict[str, None] = {}
        self._unproven: dict[str, None] = {}
        self._rounds: set[int] = set()
        # The round for which everything waits, because the server was asked for too much at once.
        self._held_by: int | None = None

    @property
    def has_new(self) -> bool:
        """Whether a channel waits to be asked for, and may be."""
        return bool(self._new) and self._held_by is None

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
        """Yield the commands that ask for all NEW channels, which become ASKED; none while all wait."""
        if self._held_by is not None:
            return
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
                    wish.state, wish.number = State.ASKED, number
                yield command

    def postpone(self, names: Sequence[str], code: str, after_seconds: float) -> list[Effect]:
        """Take it that ASKED channels of one command are refused for now, by *code*.

        Where the server was asked for too much at once, all others wait with them.

        Returns the effect that says when to `ask_again`, none where an earlier one says it for these too.
        """
        number = self._wishes[names[0]].number
        if code == ErrorCode.RATE_LIMITED:
            if self._held_by is None:
                self._held_by = number
            number = self._held_by
        return self._postpone(names, number, code, after_seconds)

    def expire(self, names: Sequence[str], number: int) -> list[Effect]:
        """Take it that the server has left answered channels, which resume from where they stand.

        They become the round *number*. What is still to be answered is left alone: it was asked for later.
        """
        kept = dict(self._positions)
        ended = [name for name in names if name in self._wishes and self._wishes[name].state.is_answered]
        for name in ended:
            wish = self._wishes[name]
            if wish.state is State.LIVE:
                wish.since = kept
            self._unproven.pop(name, None)
        return self._postpone(ended, number, "expired", 0.0) if ended else []

    def _postpone(self, names: Sequence[str], number: int, code: str, after_seconds: float) -> list[Effect]:
        doublings = max(self._wishes[name].refusals for name in names)
        for name in names:
            wish = self._wishes[name]
            wish.state, wish.number = State.POSTPONED, number
            wish.refusals = min(wish.refusals + 1, _MOST_DOUBLINGS)
        if number in self._rounds:
            return []
        self._rounds.add(number)
        window_seconds = min(_LONGEST_SECONDS, _SHORTEST_SECONDS * float(1 << doublings))
        return [Postponed(number, code, after_seconds, window_seconds)]

    def ask_again(self, number: int) -> None:
        """Let the channels of a round be asked for, and all others where they wait for it."""
        self._rounds.discard(number)
        if self._held_by == number:
            self._held_by = None
        for name, wish in self._wishes.items():
            if wish.state is State.POSTPONED and wish.number == number:
                wish.state = State.NEW
                self._new[name] = None

    def is_asked(self, name: str, reply_to: ReplyTo) -> bool:
        """Tell whether an answer concerns the present wish, not one that was given up and renewed."""
        wish = self._wishes.get(name)
        return wish is not None and wish.state is State.ASKED and reply_to in (None, wish.number)

    def refused(self, channel: str | None, reply_to: ReplyTo) -> list[str]:
        """Return the ASKED channels that an `error` refuses: *channel*, or all that it replies to."""
        every = () if reply_to is None else self._wishes
        return [name for name in (every if channel is None else (channel,)) if self.is_asked(name, reply_to)]

    def answer(self, name: str, recovered: bool | None) -> list[tuple[str, Position, Position]]:
        """Note the server's answer for a wanted channel.

        Returns (topic, from, to) of what lies unread where continuity was not asked for: a client that
        has a `since` and gets null must tell of it itself.
        """
        wish = self._wishes[name]
        since, wish.refusals = wish.since, 0
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
        self._held_by = None
        kept = dict(self._positions)
        for name, wish in self._wishes.items():
            if wish.state is State.LIVE:
                wish.since = kept
            wish.state = State.NEW
            self._new[name] = None
        self._unproven.clear()
        self._rounds.clear()
