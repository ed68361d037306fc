"""What a client keeps over its connections (PROTOCOL §6), as a third party would write it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["JOINED", "Resumption", "commands"]

# Stands for all channels that the server joins; no channel has this name.
JOINED = ""
COMMAND_BYTES = 4096
# About two minutes of a busy client.
KNOWN_EVENTS = 16_384


class Resumption:
    """Where each wanted channel resumes, and which events are known."""

    def __init__(self, names: Iterable[str]) -> None:
        self._positions: dict[str, str] = {}
        self._since: dict[str, Mapping[str, str] | None] = dict.fromkeys((JOINED, *names))
        self._live: set[str] = set()
        self._unproven: set[str] = set()
        self._known: dict[tuple[str, str], None] = {}

    @property
    def unanswered(self) -> list[str]:
        """The channels to ask for, in the order in which they were wanted."""
        return [name for name in self._since if name not in self._live | self._unproven | {JOINED}]

    def want(self, name: str) -> None:
        """Want one more channel."""
        self._since.setdefault(name, None)

    def forget(self, name: str) -> None:
        """Want a channel no more."""
        self._since.pop(name, None)
        self._live.discard(name)
        self._unproven.discard(name)

    def since(self, name: str) -> Mapping[str, str] | None:
        """Return from where a channel is to be resumed, None for the first time."""
        return self._since[name]

    def connected(self, positions: Mapping[str, str], recovered: bool | None) -> None:
        """Begin a connection; `connected` answers for what the server joins."""
        self._positions = {}
        self.answered([JOINED], positions, recovered)

    def answered(self, names: Iterable[str], positions: Mapping[str, str], recovered: bool | None) -> None:
        """Take a `subscribed`."""
        self._positions.update(positions)
        for name in names:
            # Until the gap has come, taking the new positions would hide it for ever.
            is_unproven = recovered is False and self._since.get(name) is not None
            (self._unproven if is_unproven else self._live).add(name)

    def told(self, topic: str, to: str) -> None:
        """Take a `gap`."""
        self._positions[topic] = to

    def advanced(self, positions: Mapping[str, str]) -> None:
        """Take the positions of an event or a `pong`, before which every gap has come."""
        self._positions.update(positions)
        self._live |= self._unproven
        self._unproven.clear()

    def lost(self) -> None:
        """End a connection: what was live resumes from here, everything else from where it would have."""
        for name in self._live & self._since.keys():
            self._since[name] = self._positions
        self._live.clear()
        self._unproven.clear()

    def is_known(self, channel: str, event_id: str) -> bool:
        """Tell whether the pair came before, and remember it."""
        key = (channel, event_id)
        if key in self._known:
            return True
        if len(self._known) >= KNOWN_EVENTS:
            del self._known[next(iter(self._known))]
        self._known[key] = None
        return False


def commands(resumption: Resumption, names: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Yield `subscribe` commands for *names*, each with what it asks for, within the size that is allowed."""
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(id(resumption.since(name)), []).append(name)
    for group in groups.values():
        since = resumption.since(group[0])
        command: dict[str, object] = {"type": "subscribe", **({} if since is None else {"since": since})}
        room = COMMAND_BYTES - len(json.dumps({**command, "channels": []}))
        part: list[str] = []
        left = room
        for name in group:
            size = len(json.dumps(name)) + 2
            if size > left and part:
                yield part, json.dumps({**command, "channels": part})
                part, left = [], room
            part.append(name)
            left -= size
        yield part, json.dumps({**command, "channels": part})
