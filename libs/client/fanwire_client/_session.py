"""The session: what a client knows, over as many connections as it takes. Pure.

Frames go in (`receive`) and effects come out, in order; commands wait until they are taken (`commands`).
A connection begins with its `connected` frame and ends with `lost`. Where each channel stands and resumes
is explained in `_wishes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from fanwire_client._effects import Complaint, Deliver, Effect, End, Ending, Expiring, Opened, Ready, Shown
from fanwire_client._errors import FanwireError, SubscriptionEnded, SubscriptionRefused
from fanwire_client._events import Gap, event_of
from fanwire_client._interests import JOINED, Interests
from fanwire_client._outgoing import Outgoing
from fanwire_client._payloads import (
    Connected,
    Disconnect,
    Heartbeat,
    Places,
    parse_answered,
    parse_connected,
    parse_disconnect,
    parse_expiring,
    parse_gap,
    parse_left,
    parse_refusal,
    places_of,
    read_offset,
)
from fanwire_client._recent import Recent
from fanwire_client._wishes import PASSING, Wishes
from fanwire_protocol.codec import Encoding
from fanwire_protocol.codes import GapReason, may_reconnect
from fanwire_protocol.commands import Ping, Pong, encode_command
from fanwire_protocol.frames import FRAME_TYPES, Frame

__all__ = ["Session"]


class Session:
    """Subscriptions, positions and what the server told, of one client.

    *dedupe_events* bounds the window in which a repeated event is known.
    """

    def __init__(self, dedupe_events: int = 4096) -> None:
        self.client_id: str | None = None
        self.heartbeat = Heartbeat()
        self.is_connected = False
        self.duplicates = 0
        self._interests = Interests()
        self._wishes = Wishes()
        self._recent = Recent(dedupe_events)
        self._joined: frozenset[str] = frozenset()
        self._jitter_ms = 0
        self._disconnect: Disconnect | None = None
        self._outgoing = Outgoing()

    # What the user wants

    def subscribe(self, channels: Sequence[str]) -> int:
        """Want *channels*, or all that the server joins where there are none; return the number."""
        names = tuple(dict.fromkeys(channels)) or (JOINED,)
        for name in names:
            self._wishes.want(name)
        if names == (JOINED,) and self.is_connected:
            # `connected` is the answer for what the server joins, and it has come already.
            self._wishes.answer(JOINED, None)
        return self._interests.add(names)

    def unsubscribe(self, subscription: int) -> None:
        """Stop wanting a subscription's channels; one that is gone already is left alone."""
        for name in self._interests.remove(subscription):
            state = self._wishes.drop(name)
            if state.is_known and name != JOINED and name not in self._joined:
                self._outgoing.leave(name)

    def is_ready(self, subscription: int) -> bool:
        """Tell whether this connection has answered every channel of a subscription."""
        states = map(self._wishes.state, self._interests.names_of(subscription))
        return all(state is not None and state.is_answered for state in states)

    def since(self, channel: str) -> Places | None:
        """Return where a wanted channel would resume if the connection were lost now."""
        return self._wishes.since(channel)

    # What goes out

    @property
    def has_commands(self) -> bool:
        """Whether `commands` would return any, once connected."""
        return bool(self._outgoing) or self._wishes.has_new

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters of the next connection: the old lease, and where to resume."""
        found = [] if self.client_id is None else [("client", self.client_id)]
        if self._wishes.state(JOINED) is not None:
            since = self._wishes.since(JOINED) or {}
            found += [("since", f"{topic}@{position}") for topic, position in since.items()]
        return found

    def ping(self) -> None:
        """Ask for fresh positions, which also shows that both ends live."""
        if self.is_connected:
            self._outgoing.beat(Ping())

    def show(self, token: str) -> None:
        """Show the server another *token* of the same user."""
        if self.is_connected:
            self._outgoing.show(token)

    def ask_again(self, number: int) -> None:
        """Ask for what was Postponed by this *number*, now that its time has come."""
        self._wishes.ask_again(number)

    def commands(self, encoding: Encoding = "json") -> list[bytes]:
        """Take the commands that are due; none before `connected`."""
        if not self.is_connected:
            return []
        due = (*self._outgoing.take(), *self._wishes.plan(self._outgoing.ids))
        return [encode_command(command, encoding) for command in due]

    # What comes in

    def receive(self, frame: Frame) -> list[Effect]:
        """Take one frame and return what follows from it, in order.

        Raises InvalidData, having changed nothing, where the frame breaks the protocol.
        """
        if frame.type not in FRAME_TYPES:
            return self._on_event(frame)
        handle = _HANDLERS.get(frame.type)
        return [] if handle is None else handle(self, frame)

    def lost(self, code: int, reason: str = "") -> Ending:
        """Note that the connection ended with *code*, and say whether and when to come back.

        A `disconnect` frame wins over the code.
        """
        told, self._disconnect = self._disconnect, None
        self.is_connected = False
        self._wishes.lose()
        self._outgoing.clear()
        if told is None:
            return Ending(code, reason, may_reconnect(code), 0.0, self._jitter_ms / 1000)
        after, window = told.retry_after_ms / 1000, told.jitter_ms / 1000
        return Ending(told.code, told.reason, told.reconnect, after, window)

    def _on_event(self, frame: Frame) -> list[Effect]:
        offset = read_offset(frame)
        if offset is not None:
            self._wishes.advance({offset.topic: offset.position})
        to = self._interests.route(frame.channel, self._joined)
        if not to:
            return []
        if self._recent.is_repeat(frame.channel, frame.event_id):
            self.duplicates += 1
            return []
        return [Deliver(event_of(frame), to)]

    def _on_connected(self, frame: Frame) -> list[Effect]:
        told = parse_connected(frame)
        self._learn(told)
        self.is_connected = True
        self._wishes.begin(told.positions)
        return [Opened(), *self._answer([JOINED], told.recovered)]

    def _on_authenticated(self, frame: Frame) -> list[Effect]:
        told = parse_connected(frame)
        self._learn(told)
        self._wishes.move(told.positions)
        return [Shown(True)] if self._outgoing.answers_token(frame.reply_to) else []

    def _on_token_expiring(self, frame: Frame) -> list[Effect]:
        return [Expiring(parse_expiring(frame))]

    def _learn(self, told: Connected) -> None:
        self.client_id = told.client_id
        self.heartbeat = told.heartbeat
        self._joined = frozenset(told.channels)
        self._jitter_ms = told.jitter_ms

    def _on_subscribed(self, frame: Frame) -> list[Effect]:
        told = parse_answered(frame)
        self._wishes.move(told.positions)
        names = [name for name in told.channels if self._wishes.is_asked(name, frame.reply_to)]
        return self._answer(names, told.recovered)

    def _answer(self, names: Iterable[str], recovered: bool | None) -> list[Effect]:
        effects: list[Effect] = []
        concerned: dict[int, None] = {}
        for name in names:
            to = self._interests.wanting(name)
            if to:
                for topic, start, end in self._wishes.answer(name, recovered):
                    reason = GapReason.UNKNOWN_POSITION.value
                    gap = Gap(topic, reason, str(start), str(end), name or None, self._jitter_ms)
                    effects.append(Deliver(gap, to))
                concerned.update(dict.fromkeys(to))
        return effects + [Ready(number) for number in concerned if self.is_ready(number)]

    def _on_unsubscribed(self, frame: Frame) -> list[Effect]:
        told = parse_left(frame)
        if told.reason == "client":
            return []
        if told.reason == "expired":
            for name in told.channels:
                self._outgoing.stay(name)
            return self._wishes.expire(told.channels, next(self._outgoing.ids))
        return self._end(told.channels, lambda name: SubscriptionEnded(name, told.reason))

    def _on_gap(self, frame: Frame) -> list[Effect]:
        gap, position = parse_gap(frame)
        self._wishes.move({gap.topic: position})
        if gap.channel is None:
            return [Deliver(gap, self._interests.everyone())]
        return [Deliver(gap, self._interests.route(gap.channel, self._joined))]

    def _on_pong(self, frame: Frame) -> list[Effect]:
        self._wishes.advance(places_of(frame))
        return []

    def _on_ping(self, frame: Frame) -> list[Effect]:
        self._wishes.advance(places_of(frame))
        self._outgoing.beat(Pong())
        return []

    def _on_error(self, frame: Frame) -> list[Effect]:
        told = parse_refusal(frame)
        refused = self._wishes.refused(told.channel, frame.reply_to)
        if not refused:
            shown = [Shown(False)] if self._outgoing.answers_token(frame.reply_to) else []
            return [Complaint(told.code), *shown]
        if told.code in PASSING:
            return self._wishes.postpone(refused, told.code, told.retry_after_ms / 1000)
        return self._end(refused, lambda name: SubscriptionRefused(told.code, name, told.message))

    def _end(self, names: Iterable[str], error: Callable[[str], FanwireError]) -> list[Effect]:
        effects: list[Effect] = []
        for name in names:
            for number in self._interests.wanting(name):
                effects.append(End(number, error(name)))
                self.unsubscribe(number)
            # The server has left it already.
            self._outgoing.stay(name)
        return effects

    def _on_disconnect(self, frame: Frame) -> list[Effect]:
        self._disconnect = parse_disconnect(frame)
        return []


_HANDLERS: Mapping[str, Callable[[Session, Frame], list[Effect]]] = {
    "connected": Session._on_connected,
    "authenticated": Session._on_authenticated,
    "token_expiring": Session._on_token_expiring,
    "subscribed": Session._on_subscribed,
    "unsubscribed": Session._on_unsubscribed,
    "gap": Session._on_gap,
    "ping": Session._on_ping,
    "pong": Session._on_pong,
    "error": Session._on_error,
    "disconnect": Session._on_disconnect,
}
