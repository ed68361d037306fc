"""What is gathered while a history is read: events, and what each client did, in few bytes a frame."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fanwire_cli.history.operations import ClientOperation, Connect
from fanwire_protocol.position import Position

__all__ = ["EventRecord", "Step", "Track"]

LINE_BITS = 40


@dataclass(slots=True)
class EventRecord:
    """All that is known of one event; `lines` are those of its publisher or of the log."""

    topic: str
    tenant: str | None
    event_id: str
    channels: tuple[str, ...] | None = None
    key: str | None = None
    begun: int | None = None
    acked: int | None = None
    failed: bool = False
    maybe: bool = False
    published: Position | None = None
    entries: list[Position] = field(default_factory=list)
    seen_at: list[Position] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    @property
    def exists(self) -> bool:
        """Whether it may be delivered: somebody tried to publish it, and not all attempts failed for sure."""
        if self.acked is not None or self.maybe:
            return True
        return not self.failed and (self.begun is not None or bool(self.entries))

    @property
    def is_on_several(self) -> bool:
        """Whether frames carry the position of the entry before, because there are several of them."""
        return self.channels is not None and len(self.channels) > 1

    def places(self) -> Iterator[Position]:
        """Yield every position that anybody gave it."""
        own = self.entries if self.published is None else [self.published, *self.entries]
        yield from own
        if not self.is_on_several:
            yield from self.seen_at
        elif own:
            for broker in {place.broker for place in self.seen_at}:
                yield Position(own[-1].id, broker)

    def is_behind(self, position: Position) -> bool:
        """Tell whether all that was said of it under the broker of *position* puts it behind that place."""
        said = [place.key for place in self.places() if place.broker == position.broker]
        # Frames of one of several channels name the entry before.
        is_later = all(place.key >= position.key for place in self.seen_at if place.broker == position.broker)
        return bool(said) and min(said) > position.key and is_later


class Step(NamedTuple):
    """One step of a client: a frame of an event (by numbers), or an operation. `line` is packed."""

    line: int
    operation: ClientOperation | Connect | None
    pair: int = -1
    connection: int = -1
    offset: int = -1
    is_repeat: bool = False


class Track:
    """What one client did, in the order in which it was written down.

    Frames are four numbers each, since there are millions of them.
    """

    __slots__ = ("_operations", "_steps", "client")

    def __init__(self, client: str) -> None:
        self.client = client
        self._steps = array("q")
        self._operations: list[ClientOperation | Connect] = []

    def add_event(self, pair: int, connection: int, offset: int, is_repeat: bool, line: int) -> None:
        """Add the frame of an event."""
        self._steps.extend((pair * 2 + is_repeat, connection, offset, line))

    def add(self, operation: ClientOperation | Connect, line: int) -> None:
        """Add anything else."""
        self._steps.extend((-1 - len(self._operations), 0, 0, line))
        self._operations.append(operation)

    def __iter__(self) -> Iterator[Step]:
        steps = iter(self._steps)
        for code, connection, offset, line in zip(steps, steps, steps, steps, strict=True):
            if code < 0:
                yield Step(line, self._operations[-1 - code])
            else:
                yield Step(line, None, code >> 1, connection, offset, bool(code & 1))
