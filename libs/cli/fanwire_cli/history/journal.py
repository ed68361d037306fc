"""The journal: takes every operation of a history once, and keeps what the verdict needs."""

from __future__ import annotations

from functools import lru_cache

from fanwire_cli.history import operations as of
from fanwire_cli.history.identities import Identities
from fanwire_cli.history.parsing import InvalidLine
from fanwire_cli.history.records import EventRecord, Track
from fanwire_protocol.position import Offset, Position

__all__ = ["Journal", "tenant_of"]

# An event is seen by many clients at the same few places; a broken edge may give it any number.
_MAX_PLACES = 16


@lru_cache(1 << 16)
def tenant_of(channel: str) -> str | None:
    """Return the tenant that a channel's name begins with; None for `system:all`."""
    head, _, rest = channel.partition(":")
    return rest.partition(":")[0] if head == "tenant" else None


class Journal:
    """Events and clients under numbers; a *pair* is an event on one channel."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.events: list[EventRecord] = []
        self.pairs: list[tuple[int, str]] = []
        self.offsets: list[Offset] = []
        self.connections: list[of.Connect] = []
        self.revokes: list[of.Revoke] = []
        self.tracks: dict[str, Track] = {}
        self._events: dict[tuple[str, str | None, str], int] = {}
        self._pairs: dict[tuple[str, str, str], int] = {}
        self._offsets: dict[Offset, int] = {}
        self._last_offset: Offset | None = None
        self._last_number = -1
        self._connections: dict[str, tuple[int, Track]] = {}

    def take(self, operation: of.Operation, line: int) -> None:
        """Take one operation that stands in *line*; raises InvalidLine where it makes no sense here."""
        match operation:
            case of.EventSeen():
                self._take_event(operation, line)
            case of.Publish() | of.Published() | of.PublishFailed() | of.Entry():
                self._take_publishing(operation, line)
            case of.Connect():
                if operation.connection in self._connections:
                    raise InvalidLine(f"the connection {operation.connection!r} was there before")
                track = self._track(operation.client)
                self._connections[operation.connection] = len(self.connections), track
                self.connections.append(operation)
                track.add(operation, line)
            case of.Authorized() | of.End():
                self._track(operation.client).add(operation, line)
            case of.Revoke():
                self.revokes.append(operation)
            case _:
                self._hear(operation)
                self._connection(operation.connection)[1].add(operation, line)

    def pair(self, event: int, channel: str) -> int:
        """Return the number of an event on a channel, which is new where nobody spoke of it."""
        record = self.events[event]
        number = self._pairs.setdefault((record.topic, channel, record.event_id), len(self.pairs))
        if number == len(self.pairs):
            self.pairs.append((event, channel))
        return number

    def _take_event(self, seen: of.EventSeen, line: int) -> None:
        offset = seen.offset
        if offset is not self._last_offset:
            # What reaches many clients comes in runs, and hashing is not free.
            self._last_offset = offset
            self._last_number = self._offsets.setdefault(offset, len(self.offsets))
            if self._last_number == len(self.offsets):
                self.offsets.append(offset)
        self.identities.hear(offset.position, seen.time)
        pair = self._pairs.get((offset.topic, seen.channel, seen.event_id))
        if pair is None:
            event = self._event(offset.topic, tenant_of(seen.channel), seen.event_id)
            pair = self.pair(event, seen.channel)
        places = self.events[self.pairs[pair][0]].seen_at
        if offset.position not in places and len(places) < _MAX_PLACES:
            places.append(offset.position)
        connection, track = self._connection(seen.connection)
        track.add_event(pair, connection, self._last_number, seen.repeat, line)

    def _take_publishing(
        self, operation: of.Publish | of.Published | of.PublishFailed | of.Entry, line: int
    ) -> None:
        event = self.events[self._event(operation.topic, operation.tenant, operation.event_id)]
        event.lines.append(line)
        match operation:
            case of.Publish():
                event.begun = min(event.begun or operation.time, operation.time)
                event.channels, event.key = operation.channels, operation.key
            case of.Published():
                event.acked = min(event.acked or operation.time, operation.time)
                event.published = operation.position
                self.identities.hear(operation.position, operation.time)
            case of.PublishFailed():
                event.failed = event.failed or operation.definite
                event.maybe = event.maybe or not operation.definite
            case of.Entry():
                event.entries.append(operation.position)
                event.channels = event.channels or operation.channels
                event.key = event.key or operation.key
                self.identities.hear(operation.position, operation.time)

    def _hear(self, operation: of.ClientOperation) -> None:
        places: list[Position] = []
        match operation:
            case of.Subscribed() | of.Positions():
                places = [*(operation.positions or {}).values()]
            case of.GapSeen():
                self.identities.hear(operation.to, operation.time, 1)
                places = [] if operation.start is None else [operation.start]
        for place in places:
            self.identities.hear(place, operation.time)

    def _event(self, topic: str, tenant: str | None, event_id: str) -> int:
        number = self._events.setdefault((topic, tenant, event_id), len(self.events))
        if number == len(self.events):
            self.events.append(EventRecord(topic, tenant, event_id))
        return number

    def _track(self, client: str) -> Track:
        track = self.tracks.get(client)
        if track is None:
            track = self.tracks[client] = Track(client)
        return track

    def _connection(self, name: str) -> tuple[int, Track]:
        found = self._connections.get(name)
        if found is None:
            raise InvalidLine(f"the connection {name!r} is not known; its `connect` comes first")
        return found
