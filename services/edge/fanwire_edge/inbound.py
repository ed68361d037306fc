"""The inbound side of a connection: aiohttp's WebSocket reader, calling back synchronously (ADR 0001)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import WebSocketError
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

from fanwire_edge.core.deflate import InvalidDeflate, TooLong, inflated
from fanwire_protocol.codes import CloseCode
from fanwire_protocol.commands import MAX_COMMAND_BYTES

if TYPE_CHECKING:
    from aiohttp import WSMessage
    from aiohttp._websocket.models import WSMessageTextBytes

    Message = WSMessage | WSMessageTextBytes

__all__ = ["Inbound", "Receiver"]

_CONTINUATION = 0x0
_CLOSE = 0x8
# No peer sends it: it stands for an end that nobody announced (RFC 6455 section 7.4.1).
_ABNORMAL = 1006
_MAX_CLOSE_CODE = 4999
# Frames of one message. Libraries send one; empty ones without end would cost a core, and no budget.
_MAX_PIECES = 256


class Receiver(Protocol):
    """Who is called back."""

    def receive(self, message: Message) -> None:
        """Take one message: text, binary, PING, PONG or CLOSE."""

    def fail(self, problem: BaseException) -> None:
        """Take that the peer broke RFC 6455 or the limit; `problem.code` is the close code."""


class _Reader(WebSocketReader):
    """aiohttp's reader, strict where aiohttp is lenient: masks, messages within messages, close codes."""

    __slots__ = ("_pieces",)

    def __init__(self, queue: WebSocketDataQueue, *, is_deflated: bool = False) -> None:
        # One byte more, because aiohttp refuses a message of exactly the limit.
        super().__init__(queue, MAX_COMMAND_BYTES + 1, compress=is_deflated, decode_text=True)
        # How many frames there are of the message that is not whole yet.
        self._pieces = 0

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        """Take one frame; what is raised reaches `Inbound.set_exception`."""
        self._check(fin, opcode, payload)
        super()._handle_frame(fin, opcode, payload, compressed)

    def _check(self, fin: bool, opcode: int, payload: bytes | bytearray) -> None:
        # It unmasks in a bytearray; what was not masked is bytes (RFC 6455 section 5.1).
        if type(payload) is bytes:
            raise WebSocketError(CloseCode.PROTOCOL_VIOLATION, "a client masks its frames")
        if opcode < _CLOSE:
            # aiohttp takes no offence at a second message where the first one's first fragment was empty.
            if (opcode == _CONTINUATION) is not (self._pieces > 0):
                raise WebSocketError(
                    CloseCode.PROTOCOL_VIOLATION, "a message ends before the next one begins"
                )
            self._pieces = 0 if fin else self._pieces + 1
            if self._pieces >= _MAX_PIECES:
                raise WebSocketError(CloseCode.MESSAGE_TOO_BIG, "a message comes in too many pieces")
        elif opcode == _CLOSE and len(payload) >= 2:
            code = int.from_bytes(payload[:2], "big")
            if code == _ABNORMAL or code > _MAX_CLOSE_CODE:
                raise WebSocketError(CloseCode.PROTOCOL_VIOLATION, "no peer closes with that code")


class _InflatingReader(_Reader):
    """The same where compression was agreed on: a message is decompressed here, by itself.

    aiohttp would keep a window of 32 KB for each connection, which nobody needs without context takeover,
    and passes a message of one byte more than the limit.
    """

    __slots__ = ("_packed", "_packed_opcode")

    def __init__(self, queue: WebSocketDataQueue) -> None:
        super().__init__(queue, is_deflated=True)
        self._packed = b""
        self._packed_opcode = _CONTINUATION

    def _handle_frame(self, fin: bool, opcode: int, payload: bytes | bytearray, compressed: int) -> None:
        if not compressed or opcode >= _CLOSE:
            super()._handle_frame(fin, opcode, payload, False)
            return
        self._check(fin, opcode, payload)
        if opcode != _CONTINUATION:
            self._packed_opcode = opcode
        self._packed += payload
        try:
            if len(self._packed) > MAX_COMMAND_BYTES:
                raise TooLong("a message is too long even compressed")
            if fin:
                message, self._packed = inflated(self._packed, MAX_COMMAND_BYTES), b""
                WebSocketReader._handle_frame(self, True, self._packed_opcode, message, False)
        except TooLong as problem:
            raise WebSocketError(CloseCode.MESSAGE_TOO_BIG, str(problem)) from problem
        except InvalidDeflate as problem:
            raise WebSocketError(CloseCode.PROTOCOL_VIOLATION, str(problem)) from problem


class Inbound(WebSocketDataQueue):
    """Parses a peer's bytes and hands each message to *receiver* at once, with no queue and no task.

    The base's constructor is left out on purpose: it makes a queue (a kilobyte) that nobody would read.
    """

    __slots__ = ("_reader", "_receiver")
    # What aiohttp's reader looks at where it is not compiled; the compiled one has these as zeroed fields.
    _size = 0
    _limit = 0
    _stalled_reader = None

    def __init__(self, receiver: Receiver, *, is_deflated: bool = False) -> None:
        self._receiver: Receiver | None = receiver
        self._reader: _Reader | None = _InflatingReader(self) if is_deflated else _Reader(self)

    def feed(self, data: bytes) -> None:
        """Parse *data*; after a failure nothing more is parsed."""
        if self._reader is not None:
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
        """Break the cycles with connection and reader, so that memory comes back at once."""
        self._receiver = self._reader = None
