"""What publishers, clients and the log did: one operation for each line of a history.

`docs/guides/history.md` describes the format. `time` is in nanoseconds of the machine's monotonic clock,
which all processes of one machine share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fanwire_protocol.position import Offset, Position

__all__ = [
    "Authorized",
    "ClientOperation",
    "Closed",
    "Connect",
    "End",
    "Entry",
    "EventSeen",
    "GapSeen",
    "Operation",
    "Positions",
    "Publish",
    "PublishFailed",
    "Published",
    "Revoke",
    "Subscribed",
    "Unsubscribed",
]


@dataclass(frozen=True, slots=True)
class Publish:
    """A publisher begins to publish an event, which the contract maps to *channels*."""

    time: int
    publisher: str
    topic: str
    tenant: str | None
    event_id: str
    channels: tuple[str, ...]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The publisher was told the event's position: from now on the promise holds."""

    time: int
    publisher: str
    topic: str
    tenant: str | None
    event_id: str
    position: Position


@dataclass(frozen=True, slots=True)
class PublishFailed:
    """The publisher gave up; unless *definite* the event may be in the log."""

    time: int
    publisher: str
    topic: str
    tenant: str | None
    event_id: str
    definite: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that stood in the log when it was read; the broker is the one of that moment."""

    time: int
    topic: str
    tenant: str | None
    event_id: str
    position: Position
    channels: tuple[str, ...] | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Authorized:
    """All that a client may read from now on, its own connection's channel aside."""

    time: int
    client: str
    tenant: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Connect:
    """A client is connected; *connection* is unique in the history.

    *hides_reconnects* marks what a client library yields: reconnects happen inside it, so that order is
    promised for each channel only, and nothing may come twice.
    """

    time: int
    client: str
    connection: str
    hides_reconnects: bool = False


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The server confirmed *channels*; delivery begins after *positions*.

    Without positions it begins with what is published from this time on.
    """

    time: int
    connection: str
    channels: tuple[str, ...]
    positions: Mapping[str, Position] | None
    recovered: bool | None


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The server confirmed, or told, that *channels* have ended."""

    time: int
    connection: str
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventSeen:
    """An event's frame came; a *repeat* was dropped by the client as known."""

    time: int
    connection: str
    channel: str
    type: str
    event_id: str
    offset: Offset
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class GapSeen:
    """A `gap` came: events of *topic* with start < position ≤ to may be missing."""

    time: int
    connection: str
    topic: str
    to: Position
    reason: str
    start: Position | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Positions:
    """A `pong` came: everything up to *positions* was sent before, but for *skipped* that later events
    stand for."""

    time: int
    connection: str
    positions: Mapping[str, Position]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over."""

    time: int
    connection: str
    code: int


@dataclass(frozen=True, slots=True)
class End:
    """The client stopped on purpose; what was confirmed up to *until* was due by then, None: nothing."""

    time: int
    client: str
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Rights were taken from a user, or a whole tenant, on these channels or all; the publisher says so."""

    time: int
    tenant: str
    user: str | None = None
    channels: tuple[str, ...] | None = None


ClientOperation: TypeAlias = Authorized | Subscribed | Unsubscribed | GapSeen | Positions | Closed | End
Operation: TypeAlias = (
    Publish | Published | PublishFailed | Entry | Connect | EventSeen | Revoke | ClientOperation
)
