"""The life of a connection."""

from __future__ import annotations

from enum import Enum

__all__ = ["State"]


class State(Enum):
    """Opening (not joined yet), in the anteroom (it has not said who it is; then it is opening), open,
    closing (a CLOSE frame is out), closed."""

    OPENING = "opening"
    ANTEROOM = "anteroom"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"

    @property
    def is_alive(self) -> bool:
        """Whether its end has not begun."""
        return self not in (State.CLOSING, State.CLOSED)

    @property
    def is_served(self) -> bool:
        """Whether commands are carried out, and not only kept."""
        return self is State.OPEN or self is State.ANTEROOM
