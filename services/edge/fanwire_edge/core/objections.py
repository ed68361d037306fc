"""Objections: what is said where a channel may not be subscribed to, or left (PROTOCOL §4)."""

from __future__ import annotations

from collections.abc import Sequence

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.decision import Decision
from fanwire_edge.core.hub import Member
from fanwire_edge.core.record import is_gap_key
from fanwire_protocol.channels import InvalidChannel
from fanwire_protocol.codes import ErrorCode
from fanwire_protocol.commands import ReplyTo

__all__ = ["channels_of", "denied", "invalid", "not_left", "too_many"]

# What does not exist is answered like what is not permitted, so neither text says which it is.
_DENIALS = {
    Decision.UNAUTHENTICATED: (ErrorCode.UNAUTHENTICATED, "the credential is not accepted for it any more"),
    Decision.UNAVAILABLE: (ErrorCode.UNAVAILABLE, "it cannot be told now whether it is permitted; try later"),
}
_FORBIDDEN = (ErrorCode.FORBIDDEN, "nothing permits it to this user")


def channels_of(member: Member) -> list[str]:
    """Return the channels and patterns that *member* is on."""
    return [key for key in member.keys if not is_gap_key(key)]


def invalid(
    member: Member, name: str, problem: InvalidChannel, reply_to: ReplyTo, told: Sequence[Answer]
) -> Answer:
    """Refuse a name that is none; *told* are the refusals before it.

    What the connection is on is told once for a command: 4 KB of bad names must not become megabytes of
    answers.
    """
    is_told = any("channels" in answer.payload for answer in told)
    return answers.error(
        ErrorCode.INVALID_CHANNEL,
        str(problem),
        channel=name,
        channels=None if is_told else sorted(channels_of(member)),
        reply_to=reply_to,
    )


def denied(decision: Decision, name: str, reply_to: ReplyTo) -> Answer:
    """Refuse what is not permitted; a *decision* that is none forbids."""
    code, message = _DENIALS.get(decision, _FORBIDDEN)
    return answers.error(code, message, channel=name, reply_to=reply_to)


def too_many(most: int, name: str, reply_to: ReplyTo) -> Answer:
    """Refuse one channel more than a connection may be on."""
    message = f"a connection is on at most {most} channels"
    return answers.error(ErrorCode.LIMIT_EXCEEDED, message, channel=name, reply_to=reply_to)


def not_left(name: str, reply_to: ReplyTo, *, is_server_joined: bool) -> Answer:
    """Refuse to take a connection off a channel."""
    if is_server_joined:
        message = "the server joins and leaves this channel"
        return answers.error(ErrorCode.FORBIDDEN, message, channel=name, reply_to=reply_to)
    message = "the connection is not on this channel"
    return answers.error(ErrorCode.NOT_SUBSCRIBED, message, channel=name, reply_to=reply_to)
