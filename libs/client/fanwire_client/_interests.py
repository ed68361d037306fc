"""Which subscription wants which channel."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from fanwire_protocol.channels import matching_patterns

__all__ = ["JOINED", "Interests"]

# Stands for all channels that the server joins itself; no channel has this name.
JOINED = ""


class Interests:
    """An index in both directions; finding who wants an event costs the same for any number of patterns."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, ...]] = {}
        self._wanting: dict[str, dict[int, None]] = {}
        self._numbers = itertools.count(1)

    def add(self, names: Sequence[str]) -> int:
        """Note a subscription to *names* and return its number."""
        number = next(self._numbers)
        self._names[number] = tuple(names)
        for name in names:
            self._wanting.setdefault(name, {})[number] = None
        return number

    def remove(self, number: int) -> list[str]:
        """Forget a subscription and return the names that no other one wants."""
        unwanted = []
        for name in self._names.pop(number, ()):
            wanting = self._wanting[name]
            del wanting[number]
            if not wanting:
                del self._wanting[name]
                unwanted.append(name)
        return unwanted

    def names_of(self, number: int) -> tuple[str, ...]:
        """Return what a subscription names; empty for one that is gone."""
        return self._names.get(number, ())

    def wanting(self, name: str) -> tuple[int, ...]:
        """Return the subscriptions that name *name*."""
        return tuple(self._wanting.get(name, ()))

    def everyone(self) -> tuple[int, ...]:
        """Return all subscriptions."""
        return tuple(self._names)

    def route(self, channel: str | None, joined: Collection[str]) -> tuple[int, ...]:
        """Return the subscriptions that get what is published on *channel*, each once."""
        names = [] if channel is None else [channel, *matching_patterns(channel)]
        if channel is None or channel in joined:
            names.append(JOINED)
        found = [wanting for name in names if (wanting := self._wanting.get(name)) is not None]
        if len(found) == 1:
            return tuple(found[0])
        return tuple(dict.fromkeys(itertools.chain.from_iterable(found)))
