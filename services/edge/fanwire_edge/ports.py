"""Ports: what the edge needs from the outside, declared where it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from fanwire_edge.core.follower import ReadReply, ReadRequest
from fanwire_edge.core.page import Order, RawPage
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.core.stream import Stream, StreamInfo

__all__ = ["Archive", "InvalidToken", "Registry", "Tail", "TailLost", "Verifier"]


class TailLost(Exception):
    """The broker cannot be read now; the text says why. Connecting again may help."""


class Tail(Protocol):
    """Reads the log of one broker node over one connection of its own."""

    async def connect(self) -> str:
        """Connect anew and return the broker's identity (`master_replid`). Raises TailLost."""

    async def inspect(self, streams: Iterable[Stream]) -> Mapping[Stream, StreamInfo]:
        """Return what the broker says of each of *streams*. Raises TailLost."""

    async def read(self, request: ReadRequest) -> ReadReply:
        """Carry out one round trip; cancelling it drops the connection. Raises TailLost."""

    async def close(self) -> None:
        """Let go of the connection."""


class Archive(Protocol):
    """Reads the log again, for clients that were away."""

    async def page(self, stream: Stream, start: Order, count: int) -> RawPage:
        """Return at most *count* entries with id ≥ *start*, connecting where needed. Raises TailLost."""

    async def close(self) -> None:
        """Let go of the connection."""


class Registry(Protocol):
    """What publishers and edges agreed on in the broker."""

    async def partitions(self, wanted: int | None) -> int:
        """Return the agreed number of partitions, proposing *wanted* where there is none yet.

        Raises TailLost.
        """

    async def topics(self) -> frozenset[str]:
        """Return the topics that publishers registered. Raises TailLost."""

    async def announce(self, reader: str) -> int:
        """Say that *reader* tails the log, which holds for 15 s, and return how many do. Raises TailLost."""

    async def close(self) -> None:
        """Let go of the connection."""


class Verifier(Protocol):
    """Tells who the bearer of a token is."""

    async def verify(self, token: str) -> Principal:
        """Return the principal; raises InvalidToken."""
