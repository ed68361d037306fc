"""A connection: the WebSocket of one client after the handshake, without a task of its own.

It is an asyncio protocol that took the transport over from aiohttp (ADR 0001). Inbound bytes go through
aiohttp's reader, which calls back synchronously; outbound bytes are ready-made frames. It is live, or it
is behind at a place in the log (`lag`) and reads the log as its socket drains (ADR 0004).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from aiohttp import WSMsgType

from fanwire_edge.catchup import fall_behind, take_turn
from fanwire_edge.core import answers
from fanwire_edge.core.answers import Answer
from fanwire_edge.core.coverage import Coverage
from fanwire_edge.core.hub import NO_NUMBER, Lag, Sink
from fanwire_edge.core.inbox import Inbox
from fanwire_edge.core.session import Session
from fanwire_edge.core.state import State
from fanwire_edge.core.tally import ABNORMAL, close_reason
from fanwire_edge.core.websocket import close_frame
from fanwire_edge.edge import Edge
from fanwire_edge.inbound import Inbound
from fanwire_edge.outlet import abort, number_of
from fanwire_edge.reception import Probe, serve_waiting, take_message
from fanwire_edge.throttling import admits_probe
from fanwire_protocol.codes import CloseCode, may_reconnect

if TYPE_CHECKING:
    from fanwire_edge.core.dialect import Dialect
    from fanwire_edge.core.resume import Resumption
    from fanwire_edge.inbound import Message

__all__ = ["Connection", "State"]

logger = logging.getLogger("fanwire.connection")


def _discard(_: bytes) -> None:
    """Stand in for `write` once nothing may be written any more."""


class Connection(asyncio.Protocol):
    """One client. Satisfies `hub.Member` and `wheel.Rider`."""

    __slots__ = (
        "_edge",
        "_inbound",
        "_transport",
        "asking",
        "close_code",
        "coverage",
        "dialect",
        "expires_tick",
        "inbox",
        "is_paused",
        "is_unread",
        "keys",
        "lag",
        "mask",
        "number",
        "opening",
        "seen_tick",
        "session",
        "slot",
        "state",
        "tried",
        "write",
    )

    def __init__(
        self,
        edge: Edge,
        session: Session,
        transport: asyncio.Transport,
        expires_tick: int | None,
        dialect: Dialect,
    ) -> None:
        self._edge = edge
        self.session = session
        self.dialect = dialect
        self._transport = transport
        self.expires_tick = expires_tick
        self._inbound: Inbound | None = None
        self.inbox: Inbox[str | bytes | Probe] | None = None
        # The command that waits for what it asks for, and has been counted.
        self.tried: str | bytes | None = None
        self.is_unread = False
        self.is_paused = False
        self.keys: Collection[str] = ()
        self.coverage = Coverage({})
        # Until when it waits for what its positions prove, and what is known of that.
        self.asking: tuple[float, Resumption] | None = None
        # What a turn does before the connection has joined.
        self.opening: Callable[[], None] | None = None
        self.lag: Lag | None = None
        self.mask = 0
        self.seen_tick = 0
        self.slot = 0
        self.state = State.OPENING
        edge.connections.add(self)
        edge.tally.connections_opened += 1
        self.close_code = ABNORMAL
        self.number = number_of(transport)
        self.write: Sink = self._write

    @property
    def buffered_bytes(self) -> int:
        """What the transport holds because the socket does not take it."""
        return self._transport.get_write_buffer_size()

    def open(self, greeting: Answer) -> None:
        """Begin: the connection has joined the server's channels, and *greeting* says which."""
        self.opening = None
        self.state = State.OPEN
        self.coverage = Coverage(self._edge.places_to_keep(self))
        self.send(greeting)
        self._edge.pump.schedule(self)

    # Inbound

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket; anything counts as a sign of life."""
        self.seen_tick = self._edge.wheel.tick
        if self._inbound is not None:
            self._inbound.feed(data)
        elif self.state is not State.CLOSED:
            self._inbound = self._edge.intake.feed(self, data, self.dialect)

    def receive(self, message: Message) -> None:
        """Take one WebSocket message."""
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY as kind:
                if (kind is WSMsgType.TEXT) is (self.dialect.encoding == "json"):
                    self._take(message.data)
                else:
                    self.close(CloseCode.UNSUPPORTED_DATA, f"{kind.name.lower()} frames were not negotiated")
            case WSMsgType.PING:
                # The reader unmasks in place, in a bytearray.
                self._take(Probe(bytes(message.data)))
            case WSMsgType.PONG if self.state.is_alive:
                # Nobody answers it, and whoever sends them without end costs as much as by PINGs.
                admits_probe(self._edge, self)
            case WSMsgType.CLOSE:
                self._answer_close(message.data)

    def _take(self, message: str | bytes | Probe) -> None:
        if self.state.is_alive:
            take_message(self._edge, self, message)

    def fail(self, problem: BaseException) -> None:
        """End the connection because its peer broke RFC 6455; *problem* says how."""
        code = getattr(problem, "code", CloseCode.INTERNAL_ERROR)
        if code == CloseCode.INTERNAL_ERROR:
            logger.error("inbound_failed", extra={"client_id": self.session.client_id}, exc_info=problem)
        self.close(CloseCode(code), "the frame breaks RFC 6455 or a limit")

    def eof_received(self) -> bool:
        """Let the transport close: a half-open WebSocket is of no use."""
        return False

    @property
    def may_answer(self) -> bool:
        """Whether its commands are carried out and its peer reads."""
        return self.state.is_served and not self.is_paused

    @property
    def is_replaying(self) -> bool:
        """Whether it is due events of the time before it was live."""
        return self.lag is not None and self.lag.replay is not None

    def read_no_more(self) -> None:
        """Leave what the peer sends in its socket."""
        if not self.is_unread:
            self.is_unread = True
            self._transport.pause_reading()

    def read_on(self) -> None:
        """Read what the peer sends again."""
        if self.is_unread and self.state.is_alive:
            self.is_unread = False
            self.seen_tick = self._edge.wheel.tick
            self._transport.resume_reading()

    # Outbound

    def send(self, answer: Answer) -> None:
        """Write a frame of the server's own."""
        if answer.type == "error":
            self._edge.tally.errors_out[str(answer.payload["code"])] += 1
        self.write(self.dialect.own(self._edge.stamped(answer)))

    def spill(self, data: bytes, taken: int) -> None:
        """Write what the socket did not take (called by the fan-out)."""
        self.write(data[taken:])

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        # What waits in the transport has to go before anything that is sent on the socket.
        is_free = not self._transport.get_write_buffer_size()
        if is_free is (self.number == NO_NUMBER):
            number = number_of(self._transport) if is_free else NO_NUMBER
            if number != self.number:
                self.number = number
                self._edge.hub.redirect()

    def pause_writing(self) -> None:
        """Become behind: above the high-water mark nothing more is queued (called by the transport)."""
        self.is_paused = True
        if self.lag is None and self.state is State.OPEN:
            fall_behind(self._edge, self)

    def resume_writing(self) -> None:
        """Go on: the socket has drained (called by the transport)."""
        self.is_paused = False
        if self.lag is not None:
            self.lag.progressed_at = asyncio.get_running_loop().time()
        self._edge.pump.schedule(self)

    def carry_on(self) -> None:
        """Take a turn: read on where it is behind, carry out commands that wait."""
        try:
            if self.state is State.OPENING and self.opening is not None:
                self.opening()
            if self.may_answer:
                take_turn(self._edge, self)
                serve_waiting(self._edge, self)
        except Exception:  # a bug of ours ends this connection, which comes back and resumes, and no other
            logger.exception("turn_failed", extra={"client_id": self.session.client_id})
            self.close(CloseCode.INTERNAL_ERROR, "the edge failed")

    # The end

    def cut(self, reason: str) -> None:
        """End a connection that does not read fast enough."""
        self.close(CloseCode.SLOW_CONSUMER, reason)

    def close(self, code: CloseCode, reason: str, *, retry_after_ms: int = 0) -> None:
        """Announce the end and send CLOSE; whoever does not answer in time is aborted by the sweep."""
        if not self.state.is_alive:
            return
        farewell = answers.disconnect(
            code, reason, reconnect=may_reconnect(code), retry_after_ms=retry_after_ms
        )
        last = self.dialect.own(self._edge.stamped(farewell))
        self._leave(int(code), last + close_frame(code, reason))

    def _answer_close(self, code: int) -> None:
        """Complete the closing handshake, whichever side began it (RFC 6455 section 5.5.1)."""
        if self.state.is_alive:
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
        edge.undecided.discard(self)
        edge.ahead.discard(self)
        edge.history.forget(self)
        edge.errands.end(self)
        edge.permissions.forget(self)
        self.asking = None
        self.opening = None
        self.inbox = self.tried = None
        self.write = _discard
        self.number = NO_NUMBER

    def abort(self) -> None:
        """Free the socket at once, whatever the peer does."""
        abort(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection (called by the transport, once)."""
        edge = self._edge
        self._forget()
        self.state = State.CLOSED
        if self._inbound is not None:
            self._inbound.release()
        edge.remove(self)
        reason = close_reason(self.close_code)
        edge.tally.connections_closed[reason] += 1
        edge.audit.closed(self, self.close_code, reason)
        self._report_end()

    def _report_end(self) -> None:
        fields = {"client_id": self.session.client_id, "code": self.close_code}
        if self.close_code == ABNORMAL:
            logger.warning("connection_closed_unexpectedly", extra=fields | {"reason": "lost"})
        else:
            logger.info("connection_closed", extra=fields | {"reason": close_reason(self.close_code)})
