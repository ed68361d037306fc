"""Holes, and which of them are none because a later event stands for what is missing (policy `conflate`).

An event may be left out where a later one of its topic and tenant has the same channel and `key`, and that
one is no hole itself; and the `pong` frames of the connection have to tell how many were left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fanwire_cli.history.connection import Connection
from fanwire_cli.history.truth import Truth

__all__ = ["Conflation", "Hole"]


@dataclass(frozen=True, slots=True)
class Hole:
    """A pair that was passed: on which connection (None: at the end), by which line, and how."""

    connection: Connection | None
    line: int
    text: str


class Conflation:
    """What the server told one client that it left out."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._told: Counter[str] = Counter()
        self._last_line: dict[str, int] = {}

    def tell(self, connection: str, skipped: int, line: int) -> None:
        """Take a `pong` that told of *skipped* events."""
        self._told[connection] += skipped
        self._last_line[connection] = line

    def excuse(self, holes: Mapping[int, Hole]) -> set[int]:
        """Return those of *holes* that later events stand for, no more of them than were told."""
        excused: set[int] = set()
        left = self._told.copy()
        for pair, hole in sorted(holes.items(), key=lambda item: item[1].line):
            if all(later in holes for later in self._truth.successors(pair)):
                continue
            name = "" if hole.connection is None else hole.connection.told.connection
            if self._had_to_be_told(pair, hole):
                left[name] -= 1
                if left[name] < 0:
                    continue
            excused.add(pair)
        return excused

    def _had_to_be_told(self, pair: int, hole: Hole) -> bool:
        """Tell whether a `pong` came since it was passed, on the connection on which it was due."""
        connection, truth = hole.connection, self._truth
        if connection is None or hole.line > self._last_line.get(connection.told.connection, -1):
            return False
        topic = truth.event(pair).topic
        names = connection.matching(truth.channel(pair))
        begins = [(connection.names[name] or {}).get(topic) for name in names]
        # What lies before that was left out on a connection before, which may have been cut.
        return any(begin is None or not truth.is_up_to(pair, begin) for begin in begins)
