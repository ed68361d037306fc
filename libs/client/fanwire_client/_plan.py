"""Subscriptions packed into as few commands as the limit of 4,096 bytes allows (PROTOCOL §4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanwire_protocol.codec import encode_json
from fanwire_protocol.commands import (
    MAX_COMMAND_BYTES,
    Since,
    Subscribe,
    Unsubscribe,
    encode_command,
)

__all__ = ["plan_subscribe", "plan_unsubscribe"]

# The number of a command is a counter: wider than this it does not become in the life of a client.
_WIDEST_ID = 10**15


def plan_subscribe(
    names: Sequence[str], since: Since | None, ids: Iterator[int]
) -> Iterator[tuple[int, Subscribe]]:
    """Yield the commands that join *names* after *since*, each with its number.

    Positions of so many topics that no name fits beside them are left out; the answer's `recovered` is
    then null, by which the session knows that continuity was not asked for.
    """
    room = _room(Subscribe((), since, _WIDEST_ID))
    if room < max(map(_size, names)):
        since = None
        room = _room(Subscribe((), None, _WIDEST_ID))
    for part in _parts(names, room):
        number = next(ids)
        yield number, Subscribe(part, since, number)


def plan_unsubscribe(names: Sequence[str], ids: Iterator[int]) -> Iterator[Unsubscribe]:
    """Yield the commands that leave *names*."""
    for part in _parts(names, _room(Unsubscribe((), _WIDEST_ID))):
        yield Unsubscribe(part, next(ids))


def _room(empty: Subscribe | Unsubscribe) -> int:
    return MAX_COMMAND_BYTES - len(encode_command(empty))


def _size(name: str) -> int:
    return len(encode_json(name)) + 1  # and a comma


def _parts(names: Sequence[str], room: int) -> Iterator[tuple[str, ...]]:
    part: list[str] = []
    left = room
    for name in names:
        size = _size(name)
        if size > left:
            yield tuple(part)
            part, left = [], room
        part.append(name)
        left -= size
    if part:
        yield tuple(part)
