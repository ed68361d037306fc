"""What a session tells its shell to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fanwire_client._errors import FanwireError
from fanwire_client._events import Event, Gap

__all__ = [
    "Complaint",
    "Deliver",
    "Effect",
    "End",
    "Ending",
    "Expiring",
    "Opened",
    "Postponed",
    "Ready",
    "Shown",
]


@dataclass(frozen=True, slots=True)
class Opened:
    """The server said `connected`: the attempt succeeded, and commands may be sent."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand *item* to these subscriptions."""

    item: Event | Gap
    to: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """The server has answered every channel of this subscription."""

    subscription: int


@dataclass(frozen=True, slots=True)
class End:
    """This subscription is over; its iterator raises *error*."""

    subscription: int
    error: FanwireError


@dataclass(frozen=True, slots=True)
class Complaint:
    """The server sent an `error` that concerns no subscription."""

    code: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Channels are refused for now, by *code*: `ask_again` is due for this *number*.

    That is in *after_seconds* at the earliest, and a random part of *window_seconds* later.
    """

    number: int
    code: str
    after_seconds: float
    window_seconds: float


@dataclass(frozen=True, slots=True)
class Expiring:
    """The token ends in so many *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Shown:
    """The server took the token that was shown last, or it did not."""

    is_good: bool


Effect: TypeAlias = Opened | Deliver | Ready | End | Complaint | Postponed | Expiring | Shown


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended, and whether and when the client may come back; seconds."""

    code: int
    reason: str
    may_return: bool
    after_seconds: float
    window_seconds: float
