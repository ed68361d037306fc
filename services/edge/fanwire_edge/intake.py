"""The intake: one reader for what all connections receive.

A reader remembers nothing between whole frames, and whole frames are what nearly always arrives; one for
each connection would be a kilobyte that waits. A connection is given its own with the first piece of a
frame or message that the rest is missing of, and keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanwire_edge.core.websocket import are_whole_messages
from fanwire_edge.inbound import Inbound, Receiver

if TYPE_CHECKING:
    from fanwire_edge.core.dialect import Dialect
    from fanwire_edge.inbound import Message

__all__ = ["Intake"]


class _Relay:
    """Calls back whoever is being read for."""

    __slots__ = ("has_failed", "receiver")

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.has_failed = False

    def receive(self, message: Message) -> None:
        if self.receiver is not None:
            self.receiver.receive(message)

    def fail(self, problem: BaseException) -> None:
        self.has_failed = True
        if self.receiver is not None:
            self.receiver.fail(problem)


class Intake:
    """Parses what connections receive. `feed` calls back synchronously, so they never meet."""

    def __init__(self) -> None:
        self._shared: dict[bool, tuple[_Relay, Inbound]] = {}

    def feed(self, receiver: Receiver, data: bytes, dialect: Dialect) -> Inbound | None:
        """Parse *data* of one who speaks *dialect*; returns the reader to be fed from now on, if any.

        That is where something is to be remembered: the beginning of a frame or message, or that the peer
        broke the rules.
        """
        is_deflated = dialect.is_deflated
        if not are_whole_messages(data):
            own = Inbound(receiver, is_deflated=is_deflated)
            own.feed(data)
            return own
        relay, inbound = self._shared.get(is_deflated) or self._lend(is_deflated)
        relay.receiver = receiver
        try:
            inbound.feed(data)
        finally:
            if relay.has_failed:
                # Nothing more is parsed of this peer, also where its end failed; the others get another one.
                del self._shared[is_deflated]
            else:
                relay.receiver = None
        return inbound if relay.has_failed else None

    def _lend(self, is_deflated: bool) -> tuple[_Relay, Inbound]:
        relay = _Relay()
        self._shared[is_deflated] = relay, Inbound(relay, is_deflated=is_deflated)
        return self._shared[is_deflated]
