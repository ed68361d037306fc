"""What a session tells its shell to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fanwire_client._errors import FanwireError
from fanwire_client._events import Event, Gap

__all__ = ["Complaint", "Deliver", "Effect", "End", "Ending", "Opened", "Ready"]


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


Effect: TypeAlias = Opened | Deliver | Ready | End | Complaint


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended, and whether and when the client may come back; seconds."""

    code: int
    reason: str
    may_return: bool
    after_seconds: float
    window_seconds: float
