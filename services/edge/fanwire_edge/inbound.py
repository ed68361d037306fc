"""The inbound side of a connection: aiohttp's WebSocket reader, calling back synchronously (ADR 0001)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

from fanwire_protocol.commands import MAX_COMMAND_BYTES

if TYPE_CHECKING:
    from aiohttp import WSMessage
    from aiohttp._websocket.models import WSMessageTextBytes

    Message = WSMessage | WSMessageTextBytes

__all__ = ["Inbound", "Receiver"]


class Receiver(Protocol):
    """Who is called back."""

    def receive(self, message: Message) -> None:
        """Take one message: text, binary, PING, PONG or CLOSE."""

    def fail(self, problem: BaseException) -> None:
        """Take that the peer broke RFC 6455 or the limit; `problem.code` is the close code."""


class Inbound(WebSocketDataQueue):
    """Parses a peer's bytes and hands each message to *receiver* at once, with no queue and no task.

    The base's constructor is left out on purpose: it makes a queue (a kilobyte) that nobody would read.
    """

    __slots__ = ("_reader", "_receiver")
    # What aiohttp's reader looks at where it is not compiled; the compiled one has these as zeroed fields.
    _size = 0
    _limit = 0
    _stalled_reader = None

    def __init__(self, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        # One byte more, because aiohttp refuses a message of exactly the limit.
        self._reader = WebSocketReader(self, MAX_COMMAND_BYTES + 1, compress=False, decode_text=True)

    def feed(self, data: bytes) -> None:
        """Parse *data*; after a failure nothing more is parsed."""
        self._reader.feed_data(data)

    def feed_data(self, data: Message, size: int) -> None:
        """Take a message from the reader."""
        if self._receiver is not None:
            self._receiver.receive(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Take a failure from the reader."""
        if self._receiver is not None:
            self._receiver.fail(exc)

    def release(self) -> None:
        """Break the cycle between connection and reader, so that memory comes back at once."""
        self._receiver = None
