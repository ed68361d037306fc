"""The desk: carries out the commands of clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.authorization import Decide
from fanwire_edge.core.decision import Decision
from fanwire_edge.core.hub import Hub, Member
from fanwire_edge.core.objections import channels_of, denied, invalid, not_left, too_many
from fanwire_edge.core.resume import Resumption
from fanwire_edge.core.session import Session
from fanwire_protocol.channels import InvalidChannel, parse_channel
from fanwire_protocol.codes import ErrorCode, GapReason
from fanwire_protocol.commands import (
    Command,
    InvalidCommand,
    Ping,
    Pong,
    ReplyTo,
    Subscribe,
    Unsubscribe,
)

__all__ = ["Desk", "DeskLimits", "Outcome", "Place", "Session"]


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """Channels that one connection may be on, mistakes in a row that end it, and the gap's window."""

    channels: int
    errors: int
    jitter_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connection stands: its positions by topic, and what its `since` proves, if it gave one."""

    positions: Mapping[str, str]
    resumption: Resumption | None = None

    @property
    def starts(self) -> Mapping[str, str]:
        """The positions after which delivery begins."""
        if self.resumption is None:
            return self.positions
        starts = {stream.topic: str(start) for stream, start in self.resumption.starts.items()}
        return {**self.positions, **starts}

    @property
    def recovered(self) -> bool | None:
        """Whether `since` was proven for every topic; None where there was none."""
        return None if self.resumption is None else not self.resumption.unproven


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command led to: answers in the order in which they are sent, and what it did to channels.

    `accepted` are those that are (or were already) subscribed, `begun` those of them that were not before.
    """

    answers: Sequence[Answer]
    accepted: frozenset[str] = frozenset()
    begun: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()


class Desk:
    """Answers commands. Where a connection's delivery stands is asked for only when it is needed."""

    def __init__(self, hub: Hub, limits: DeskLimits) -> None:
        self._hub = hub
        self._limits = limits

    def is_exhausted(self, session: Session) -> bool:
        """Tell whether the connection made so many mistakes in a row that it is closed."""
        return session.mistakes >= self._limits.errors

    def refuse(self, session: Session, mistake: InvalidCommand) -> Answer:
        """Answer what is no command."""
        session.mistakes += 1
        return answers.error(mistake.code, mistake.message, reply_to=mistake.reply_to)

    def carry_out(
        self,
        member: Member,
        session: Session,
        command: Command,
        place: Callable[[], Place],
        decide: Decide,
    ) -> Outcome:
        """Carry out *command*. *place* is asked only where an answer tells positions, *decide* for channels
        that the client is not on."""
        outcome = self._outcome(member, session, command, place, decide)
        is_mistake = bool(outcome.answers) and all(answer.mistake for answer in outcome.answers)
        session.mistakes = session.mistakes + 1 if is_mistake else 0
        return outcome

    def _outcome(
        self, member: Member, session: Session, command: Command, place: Callable[[], Place], decide: Decide
    ) -> Outcome:
        match command:
            case Subscribe():
                return self._subscribe(member, command, place, decide)
            case Unsubscribe(channels, reply_to):
                return self._unsubscribe(member, channels, reply_to)
            case Ping(reply_to):
                skipped, session.skipped = session.skipped, 0
                return Outcome([answers.pong(place().positions, reply_to, skipped)])
            case Pong():
                return Outcome([])
        message = "this edge does not offer it; known here: subscribe, unsubscribe, ping, pong, authenticate"
        return Outcome([answers.error(ErrorCode.UNAVAILABLE, message, reply_to=command.reply_to)])

    def _subscribe(
        self, member: Member, command: Subscribe, place: Callable[[], Place], decide: Decide
    ) -> Outcome:
        refused: list[Answer] = []
        accepted: list[str] = []
        before = frozenset(member.keys)
        for name in command.channels:
            refusal = self._refusal(member, name, command.reply_to, refused, decide)
            if refusal is not None:
                refused.append(refusal)
                continue
            accepted.append(name)
            self._hub.subscribe(member, name)
        if not accepted:
            return Outcome(refused)
        confirmed = self._confirmed(accepted, place(), command.reply_to)
        return Outcome([*refused, *confirmed], frozenset(accepted), frozenset(accepted) - before)

    def _confirmed(self, accepted: Sequence[str], place: Place, reply_to: ReplyTo) -> Sequence[Answer]:
        """Return `subscribed` with where delivery begins, and a gap for each topic that is not proven."""
        confirmed = answers.subscribed(accepted, place.recovered, place.starts, reply_to)
        return [confirmed, *(self.gaps(place.resumption) if place.resumption else ())]

    def gaps(self, resumption: Resumption) -> Sequence[Answer]:
        """Return a gap for each stream whose continuity is not proven."""
        return [
            answers.gap(
                unproven.stream.topic,
                GapReason.UNKNOWN_POSITION,
                None if unproven.start is None else str(unproven.start),
                str(unproven.end),
                self._limits.jitter_ms,
            )
            for unproven in resumption.unproven
        ]

    def _refusal(
        self, member: Member, name: str, reply_to: ReplyTo, told: Sequence[Answer], decide: Decide
    ) -> Answer | None:
        """Return why the connection may not be on *name*, or None; *told* are the refusals before it."""
        try:
            channel = parse_channel(name)
        except InvalidChannel as problem:
            return invalid(member, name, problem, reply_to, told)
        if name in member.keys:
            return None
        decision = Decision.FORBIDDEN if channel.is_server_joined else decide(channel)
        if decision is not Decision.PERMITTED:
            return denied(decision, name, reply_to)
        if len(channels_of(member)) >= self._limits.channels:
            return too_many(self._limits.channels, name, reply_to)
        return None

    def _unsubscribe(self, member: Member, channels: Sequence[str], reply_to: ReplyTo) -> Outcome:
        refused: list[Answer] = []
        left: list[str] = []
        for name in channels:
            refusal = self._refusal_to_leave(member, name, reply_to, refused)
            if refusal is None:
                self._hub.unsubscribe(member, name)
                left.append(name)
            else:
                refused.append(refusal)
        if left:
            refused.append(answers.unsubscribed(left, "client", reply_to))
        return Outcome(refused, ended=frozenset(left))

    def _refusal_to_leave(
        self, member: Member, name: str, reply_to: ReplyTo, told: Sequence[Answer]
    ) -> Answer | None:
        try:
            channel = parse_channel(name)
        except InvalidChannel as problem:
            return invalid(member, name, problem, reply_to, told)
        if channel.is_server_joined or name not in member.keys:
            return not_left(name, reply_to, is_server_joined=channel.is_server_joined)
        return None
