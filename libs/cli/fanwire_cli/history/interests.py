"""What a client still has to get: a place in the log for each name that it wants.

A *lane* is a name in one stream. It outlives connections: a client that resumes goes on where its lane
stands, wherever the server begins. What a lane passes is either delivered, or covered by a gap, or a hole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fanwire_cli.history.truth import Part, Truth
from fanwire_protocol.position import Position

__all__ = ["Interests", "Lane"]


class Lane:
    """`at` is the index in `pairs` of the first that was not passed; `since` a time before which nothing
    is due."""

    __slots__ = ("at", "pairs", "since", "stream", "topic")

    def __init__(self, part: Part, at: int, since: int | None) -> None:
        self.stream = part.stream
        self.topic = part.topic
        self.pairs = part.pairs
        self.at = at
        self.since = since

    def waits_for(self, pair: int) -> bool:
        """Tell whether *pair* is still to come here."""
        pairs, at = self.pairs, self.at
        if at == len(pairs) or pairs[at] >= pair:
            return at < len(pairs) and pairs[at] == pair
        index = bisect_left(pairs, pair, at)
        return index < len(pairs) and pairs[index] == pair

    def pass_through(self, pair: int) -> list[int]:
        """Move behind *pair* and return what else lies on the way."""
        pairs, at = self.pairs, self.at
        start = at
        count = len(pairs)
        while at < count and pairs[at] <= pair:
            at += 1
        self.at = at
        if at - start == 1 and pairs[start] == pair:
            return []  # The usual case: it was the next.
        return [passed for passed in pairs[start:at] if passed != pair]


class Interests:
    """The lanes of one client, by name."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._lanes: dict[str, list[Lane]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._lanes

    def begin(
        self, name: str, positions: Mapping[str, Position] | None, time: int, *, by_channel: bool
    ) -> None:
        """Want *name* from *positions* on, from *time* on without any; *by_channel* splits a pattern."""
        truth = self._truth
        names = truth.concrete(name) if by_channel else (name,)
        lanes = []
        for part in (part for each in names for part in truth.parts(each)):
            place = None if positions is None else positions.get(part.topic)
            # A topic that the server did not know yet is read from its first entry.
            at = 0 if place is None else truth.first_after(part.pairs, place)
            lanes.append(Lane(part, at, time if positions is None else None))
        self._lanes[name] = lanes

    def end(self, name: str) -> None:
        """Want *name* no more."""
        self._lanes.pop(name, None)

    def lanes(self, names: Iterable[str] | None = None) -> Iterator[Lane]:
        """Yield the lanes of *names*, by default of all."""
        for name in self._lanes if names is None else names:
            yield from self._lanes.get(name, ())

    def names(self) -> Sequence[str]:
        """Return what is wanted."""
        return tuple(self._lanes)
