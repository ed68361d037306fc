"""A connection: the WebSocket of one client after the handshake, without a task of its own.

It is an asyncio protocol that took the transport over from aiohttp (ADR 0001). Inbound bytes go through
aiohttp's reader, which calls back synchronously; outbound bytes are ready-made frames. It is live, or it
is behind at a place in the log (`lag`) and reads the log as its socket drains (ADR 0004).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from aiohttp import WSMsgType

from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.desk import Session
from fanwire_edge.core.hub import Lag
from fanwire_edge.core.reading import next_portion
from fanwire_edge.core.websocket import PING, close_frame, pong_frame
from fanwire_edge.edge import Edge, wire_of
from fanwire_edge.inbound import Inbound
from fanwire_protocol.codes import CloseCode, may_reconnect
from fanwire_protocol.commands import InvalidCommand, decode_command

if TYPE_CHECKING:
    from fanwire_edge.inbound import Message

__all__ = ["Connection", "State"]

MAX_WAITING_COMMANDS = 32
# Portions of the log written before others get their turn.
_PORTIONS_AT_ONCE = 4
ABNORMAL = 1006

logger = logging.getLogger("fanwire.connection")


class State(Enum):
    """The life of a connection: opening (not joined yet), open, closing (a CLOSE frame is out), closed."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


def _discard(data: object, /) -> None:
    """Stand in for `write` once nothing may be written any more."""


class Connection(asyncio.Protocol):
    """One client. Satisfies `hub.Member` and `wheel.Rider`."""

    __slots__ = (
        "_edge",
        "_inbound",
        "_inbox",
        "_is_reading_paused",
        "_transport",
        "close_code",
        "expires_tick",
        "is_paused",
        "keys",
        "lag",
        "mask",
        "seen_tick",
        "session",
        "slot",
        "state",
        "write",
    )

    def __init__(
        self, edge: Edge, session: Session, transport: asyncio.Transport, expires_tick: int | None
    ) -> None:
        self._edge = edge
        self.session = session
        self._transport = transport
        self.expires_tick = expires_tick
        self._inbound = Inbound(self)
        self._inbox: deque[str | bytes] | None = None
        self._is_reading_paused = False
        self.is_paused = False
        self.keys: set[str] = set()
        self.lag: Lag | None = None
        self.mask = 0
        self.seen_tick = 0
        self.slot = 0
        self.state = State.OPENING
        edge.connections.add(self)
        edge.tally.connections_opened += 1
        self.close_code = ABNORMAL
        self.write: Callable[[bytes], None] = transport.write

    @property
    def buffered_bytes(self) -> int:
        """What the transport holds because the socket does not take it."""
        return self._transport.get_write_buffer_size()

    def open(self, greeting: Answer) -> None:
        """Begin: the connection has joined the server's channels, and *greeting* says which."""
        self.state = State.OPEN
        self.send(greeting)
        self.carry_on()

    # Inbound

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket; anything counts as a sign of life."""
        self.seen_tick = self._edge.wheel.tick
        if self.state is not State.CLOSED:
            self._inbound.feed(data)

    def receive(self, message: Message) -> None:
        """Take one WebSocket message."""
        match message.type:
            case WSMsgType.TEXT:
                self._take(message.data)
            case WSMsgType.PING:
                # The reader unmasks in place, in a bytearray.
                self._take(bytes(message.data))
            case WSMsgType.BINARY:
                self.close(CloseCode.UNSUPPORTED_DATA, "binary frames were not negotiated")
            case WSMsgType.CLOSE:
                self._answer_close(message.data)

    def fail(self, problem: BaseException) -> None:
        """End the connection because its peer broke RFC 6455; *problem* says how."""
        code = getattr(problem, "code", CloseCode.INTERNAL_ERROR)
        if code == CloseCode.INTERNAL_ERROR:
            logger.error("inbound_failed", extra={"client_id": self.session.client_id}, exc_info=problem)
        self.close(CloseCode(code), "the frame breaks RFC 6455 or a limit")

    def eof_received(self) -> bool:
        """Let the transport close: a half-open WebSocket is of no use."""
        return False

    def _take(self, message: str | bytes) -> None:
        """Carry out a command, or answer a PING (bytes), now or when it is this connection's turn.

        In the middle of a delivery nothing else is written: the place in the log that belongs to a
        connection is certain again only when the delivery has ended. A peer that does not read gets no
        answers piled up for it either.
        """
        if self.state is State.OPEN and not (self.is_paused or self._edge.is_delivering or self._inbox):
            self._carry_out(message)
        elif self.state in (State.OPENING, State.OPEN):
            self._wait(message)

    def _wait(self, message: str | bytes) -> None:
        if self._inbox is None:
            self._inbox = deque()
        if not self._inbox and not self.is_paused:
            self._edge.defer(self)
        self._inbox.append(message)
        if len(self._inbox) >= MAX_WAITING_COMMANDS and not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _carry_out(self, message: str | bytes) -> None:
        edge = self._edge
        if isinstance(message, bytes):
            self.write(pong_frame(message))
            return
        edge.tally.commands += 1
        try:
            command = decode_command(message)
        except InvalidCommand as mistake:
            self.send(edge.desk.refuse(self.session, mistake))
        else:
            for answer in edge.desk.carry_out(self, self.session, command, lambda: edge.positions_of(self)):
                self.send(answer)
        if edge.desk.is_exhausted(self.session):
            self.close(CloseCode.PROTOCOL_ERROR, "too many mistakes in a row")

    # Outbound

    def send(self, answer: Answer) -> None:
        """Write a frame of the server's own."""
        if answer.type == "error":
            self._edge.tally.errors_out[str(answer.payload["code"])] += 1
        self.write(self._edge.frame(answer))

    def ping(self) -> None:
        """Ask the peer for a sign of life, unless it has not even read what was sent before.

        Not to be called while a delivery is under way.
        """
        if self.state is State.OPEN and not self.is_paused:
            self.write(PING)

    def pause_writing(self) -> None:
        """Become behind: above the high-water mark nothing more is queued (called by the transport)."""
        self.is_paused = True
        if self.lag is None and self.state is State.OPEN:
            edge = self._edge
            now = asyncio.get_running_loop().time()
            self.lag = Lag(edge.write_seq, now, buffered_bytes=self.buffered_bytes)
            edge.behind.add(self)

    def resume_writing(self) -> None:
        """Go on reading the log: the socket has drained (called by the transport)."""
        self.is_paused = False
        if self.lag is not None:
            self.lag.progressed_at = asyncio.get_running_loop().time()
        if self._edge.is_delivering:
            self._edge.defer(self)
        else:
            self.carry_on()

    def carry_on(self) -> None:
        """Do what had to wait: read the log until level, then carry out waiting commands."""
        if self.state is not State.OPEN:
            return
        if self._edge.is_delivering:
            # Nobody else calls again where the socket has drained already.
            self._edge.defer(self)
            return
        self._read_log()
        while self._inbox and not self.is_paused and self.state is State.OPEN:
            self._carry_out(self._inbox.popleft())
        if not self._inbox:
            self._inbox = None
            if self._is_reading_paused and self.state is State.OPEN:
                self._is_reading_paused = False
                self._transport.resume_reading()

    def _read_log(self) -> None:
        edge = self._edge
        for _ in range(_PORTIONS_AT_ONCE):
            lag = self.lag
            if lag is None or self.is_paused:
                return
            if lag.seq >= edge.write_seq:
                self.lag = None
                edge.behind.discard(self)
                return
            if lag.seq < edge.log.first:
                self.cut("the log no longer reaches back to it")
                return
            self._write_portion(lag)
        asyncio.get_running_loop().call_soon(self.carry_on)

    def _write_portion(self, lag: Lag) -> None:
        edge = self._edge
        portion = next_portion(edge.log, self.keys, lag.seq, edge.write_seq, wire_of)
        # Before the write, which may pause again and asks where the connection stands.
        lag.seq = portion.next
        lag.size_bytes = max(0, lag.size_bytes - len(portion.data))
        edge.tally.frames_out += portion.frames
        edge.tally.bytes_out += len(portion.data)
        if portion.data:
            self.write(portion.data)

    # The end

    def cut(self, reason: str) -> None:
        """End a connection that does not read fast enough."""
        self.close(CloseCode.SLOW_CONSUMER, reason)

    def close(self, code: CloseCode, reason: str, *, retry_after_ms: int = 0) -> None:
        """Announce the end and send CLOSE; whoever does not answer in time is aborted by the sweep."""
        if self.state not in (State.OPENING, State.OPEN):
            return
        farewell = answers.disconnect(
            code, reason, reconnect=may_reconnect(code), retry_after_ms=retry_after_ms
        )
        self._leave(int(code), self._edge.frame(farewell) + close_frame(code, reason))

    def _answer_close(self, code: int) -> None:
        """Complete the closing handshake, whichever side began it (RFC 6455 section 5.5.1)."""
        if self.state in (State.OPENING, State.OPEN):
            self._leave(code or 1005, close_frame(code or CloseCode.NORMAL, ""))
        self._transport.close()

    def _leave(self, code: int, last_bytes: bytes) -> None:
        edge = self._edge
        self.state = State.CLOSING
        self.close_code = code
        edge.closing[self] = asyncio.get_running_loop().time() + edge.limits.close_seconds
        self.write(last_bytes)
        self._forget()

    def _forget(self) -> None:
        """Take the connection off everything; from here on nothing is written to it. Twice is no harm."""
        edge = self._edge
        edge.hub.leave(self)
        edge.wheel.remove(self)
        edge.behind.discard(self)
        self.lag = None
        self._inbox = None
        self.write = _discard

    def abort(self) -> None:
        """Free the socket at once: only this helps against a peer that does not read (DESIGN "Traps")."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection (called by the transport, once)."""
        edge = self._edge
        self._forget()
        self.state = State.CLOSED
        self._inbound.release()
        edge.remove(self)
        edge.tally.connections_closed[_reason(self.close_code)] += 1
        self._report_end()

    def _report_end(self) -> None:
        fields = {"client_id": self.session.client_id, "code": self.close_code}
        if self.close_code == ABNORMAL:
            logger.warning("connection_closed_unexpectedly", extra=fields | {"reason": "lost"})
        else:
            logger.info("connection_closed", extra=fields | {"reason": _reason(self.close_code)})


_NAMES = {int(code): code.name.lower() for code in CloseCode} | {
    1001: "going_away",
    1005: "no_status",
    ABNORMAL: "lost",
}


def _reason(code: int) -> str:
    """Return a name of a bounded set, since a peer may send any code."""
    return _NAMES.get(code, "other")
