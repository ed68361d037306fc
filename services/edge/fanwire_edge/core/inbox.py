"""What a connection's peer has sent that cannot be carried out yet (PROTOCOL §4).

One read of a socket may bring tens of thousands of the smallest messages, whoever sends them, so that each
costs the same however many wait already, and only so many do.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["MAX_KEPT", "MAX_PROBES", "Inbox"]

# Many times what budgets let anybody send at once: whoever goes beyond is refused and sent away in any case.
MAX_KEPT = 2048
# Of more PINGs only the latest have to be answered (RFC 6455 section 5.5.3).
MAX_PROBES = 32

M = TypeVar("M")


class Inbox(Generic[M]):
    """Messages in their order, signs of life that somebody asks for before everything else."""

    __slots__ = ("_others", "_signs")

    def __init__(self) -> None:
        self._signs: deque[M] = deque()
        self._others: deque[M] = deque()

    def __len__(self) -> int:
        return len(self._signs) + len(self._others)

    @property
    def first(self) -> M:
        """What is to be carried out next; raises IndexError where nothing waits."""
        return (self._signs or self._others)[0]

    @property
    def is_first_sign(self) -> bool:
        """Whether that is a sign of life."""
        return bool(self._signs)

    def add(self, message: M, *, is_sign: bool, is_probe: bool = False) -> bool:
        """Keep *message*, and tell whether there was room for it.

        A probe is a sign of life that later ones stand for where many wait.
        """
        if is_probe and len(self._signs) >= MAX_PROBES:
            return True
        if len(self) >= MAX_KEPT:
            return False
        (self._signs if is_sign else self._others).append(message)
        return True

    def drop_first(self) -> None:
        """Take out what was carried out."""
        (self._signs or self._others).popleft()
