"""The budget of a process: what waits in it for clients that do not read, and who goes if it is too much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Waiting", "over_budget"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    """What waits for one connection: bytes that its transport holds, and bytes that it has not been given."""

    connection: T
    buffered_bytes: int
    due_bytes: int


def over_budget(waiting: Iterable[Waiting[T]], max_bytes: int) -> Sequence[T]:
    """Return the furthest behind, as many of them as leave at most *max_bytes* in transports."""
    furthest_first = sorted(waiting, key=lambda each: each.buffered_bytes + each.due_bytes, reverse=True)
    excess = sum(each.buffered_bytes for each in furthest_first) - max_bytes
    gone: list[T] = []
    for each in furthest_first:
        if excess <= 0:
            break
        gone.append(each.connection)
        excess -= each.buffered_bytes
    return gone
