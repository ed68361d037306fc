"""The desk: carries out the commands of clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.authorization import permits
from fanwire_edge.core.hub import Hub, Member
from fanwire_edge.core.principal import Principal
from fanwire_edge.core.record import is_gap_key
from fanwire_edge.core.resume import Resumption
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


@dataclass(slots=True)
class Session:
    """What the desk knows of one connection; `mistakes` counts those in a row, `skipped` the frames that
    later ones stand for since the last `pong`."""

    client_id: str
    principal: Principal
    mistakes: int = 0
    skipped: int = 0


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
    ) -> Outcome:
        """Carry out *command*. *place* is asked only where an answer tells positions."""
        outcome = self._outcome(member, session, command, place)
        is_mistake = bool(outcome.answers) and all(answer.mistake for answer in outcome.answers)
        session.mistakes = session.mistakes + 1 if is_mistake else 0
        return outcome

    def _outcome(
        self, member: Member, session: Session, command: Command, place: Callable[[], Place]
    ) -> Outcome:
        match command:
            case Subscribe():
                return self._subscribe(member, session, command, place)
            case Unsubscribe(channels, reply_to):
                return self._unsubscribe(member, channels, reply_to)
            case Ping(reply_to):
                skipped, session.skipped = session.skipped, 0
                return Outcome([answers.pong(place().positions, reply_to, skipped)])
            case Pong():
                return Outcome([])
        message = "this edge does not offer it; known here: subscribe, unsubscribe, ping, pong"
        return Outcome([answers.error(ErrorCode.UNAVAILABLE, message, reply_to=command.reply_to)])

    def _subscribe(
        self, member: Member, session: Session, command: Subscribe, place: Callable[[], Place]
    ) -> Outcome:
        refused: list[Answer] = []
        accepted: list[str] = []
        before = frozenset(member.keys)
        for name in command.channels:
            refusal = self._refusal(member, session, name, command.reply_to, refused)
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
        self, member: Member, session: Session, name: str, reply_to: ReplyTo, told: Sequence[Answer]
    ) -> Answer | None:
        """Return why the connection may not be on *name*, or None; *told* are the refusals before it."""
        try:
            channel = parse_channel(name)
        except InvalidChannel as problem:
            return _invalid(member, name, problem, reply_to, told)
        if name in member.keys:
            return None
        if channel.is_server_joined or not permits(session.principal, channel):
            message = "no claim of the token permits it"
            return answers.error(ErrorCode.FORBIDDEN, message, channel=name, reply_to=reply_to)
        if len(_channels(member)) >= self._limits.channels:
            message = f"a connection is on at most {self._limits.channels} channels"
            return answers.error(ErrorCode.LIMIT_EXCEEDED, message, channel=name, reply_to=reply_to)
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
            return _invalid(member, name, problem, reply_to, told)
        if channel.is_server_joined:
            message = "the server joins and leaves this channel"
            return answers.error(ErrorCode.FORBIDDEN, message, channel=name, reply_to=reply_to)
        if name not in member.keys:
            message = "the connection is not on this channel"
            return answers.error(ErrorCode.NOT_SUBSCRIBED, message, channel=name, reply_to=reply_to)
        return None


def _channels(member: Member) -> list[str]:
    return [key for key in member.keys if not is_gap_key(key)]


def _invalid(
    member: Member, name: str, problem: InvalidChannel, reply_to: ReplyTo, told: Sequence[Answer]
) -> Answer:
    """Refuse a name that is none. What the connection is on is told once for a command: 4 KB of bad names
    must not become megabytes of answers."""
    is_told = any("channels" in answer.payload for answer in told)
    return answers.error(
        ErrorCode.INVALID_CHANNEL,
        str(problem),
        channel=name,
        channels=None if is_told else sorted(_channels(member)),
        reply_to=reply_to,
    )
