"""Commands that wait to be sent, beside those that ask for channels."""

from __future__ import annotations

import itertools

from fanwire_client._plan import plan_unsubscribe
from fanwire_protocol.commands import Authenticate, Command, ReplyTo

__all__ = ["Outgoing"]


class Outgoing:
    """What is due on the present connection, and the numbers that commands carry."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        # At most one of each kind waits, however many the server asks for.
        self._beats: dict[Command, None] = {}
        self._leaving: dict[str, None] = {}
        self._shown: int | None = None

    def __bool__(self) -> bool:
        return bool(self._beats or self._leaving)

    def beat(self, command: Command) -> None:
        """Send a sign of life; several that wait are one."""
        self._beats[command] = None

    def show(self, token: str) -> None:
        """Show another token of the same user."""
        self._shown = next(self.ids)
        self._beats[Authenticate(token, self._shown)] = None

    def answers_token(self, reply_to: ReplyTo) -> bool:
        """Tell whether this answers the token that was shown last; nothing else does then."""
        if self._shown is None or reply_to != self._shown:
            return False
        self._shown = None
        return True

    def leave(self, name: str) -> None:
        """Leave a channel."""
        self._leaving[name] = None

    def stay(self, name: str) -> None:
        """Leave a channel no more."""
        self._leaving.pop(name, None)

    def take(self) -> list[Command]:
        """Return what waits; it does so no more."""
        due = [*self._beats, *plan_unsubscribe(tuple(self._leaving), self.ids)]
        self._beats.clear()
        self._leaving.clear()
        return due

    def clear(self) -> None:
        """Forget all of it: the connection is lost."""
        self._beats.clear()
        self._leaving.clear()
        self._shown = None
