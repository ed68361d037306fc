"""Positions: places in a topic's log (PROTOCOL §6).

A position is the id of an entry of the topic's stream, `~`, and the first eight hex digits of the
broker's `master_replid` when it was read. The second half is the broker's identity: after a restart or
a failover ids of the time before prove nothing, and the suffix makes that visible in every position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fanwire_protocol.channels import is_segment

__all__ = ["BEGINNING", "InvalidPosition", "Offset", "Position", "parse_offset", "parse_position"]

BEGINNING = "0-0"
# Without leading zeros, so that equal ids are equal strings.
_POSITION = re.compile(r"((?:0|[1-9]\d{0,19})-(?:0|[1-9]\d{0,19}))~([0-9a-f]{8})", re.ASCII)
_MAX_PART = 2**64 - 1


class InvalidPosition(ValueError):
    """The text is no position or offset."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a topic's log: everything up to and including the entry *id* lies behind it."""

    id: str
    broker: str

    def __str__(self) -> str:
        return f"{self.id}~{self.broker}"

    @property
    def time_ms(self) -> int:
        """Milliseconds since the epoch by the broker's clock when the entry was added."""
        return int(self.id.partition("-")[0])

    @property
    def key(self) -> tuple[int, int]:
        """The id as numbers, which order positions of one broker identity."""
        time_ms, _, sequence = self.id.partition("-")
        return int(time_ms), int(sequence)


@dataclass(frozen=True, slots=True)
class Offset:
    """A position together with its topic, as frames carry it: `<topic>@<position>`."""

    topic: str
    position: Position

    def __str__(self) -> str:
        return f"{self.topic}@{self.position}"


def parse_position(text: str) -> Position:
    """Parse `<ms>-<seq>~<8 hex digits>`; raises InvalidPosition."""
    found = _POSITION.fullmatch(text)
    if found is None or max(map(int, found[1].split("-"))) > _MAX_PART:
        raise InvalidPosition("a position has the form 1732096800123-0~5f0c2a91")
    return Position(found[1], found[2])


def parse_offset(text: str) -> Offset:
    """Parse `<topic>@<position>`; raises InvalidPosition."""
    topic, at, position = text.rpartition("@")
    if not at or not is_segment(topic):
        raise InvalidPosition("an offset has the form topic@1732096800123-0~5f0c2a91")
    return Offset(topic, parse_position(position))
