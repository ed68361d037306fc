"""The link: keeps one connection up and carries between it, the session and the feeds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from fanwire_client._agenda import Agenda
from fanwire_client._backoff import Backoff
from fanwire_client._connection import Connection, Dialer, Lost, Unreachable
from fanwire_client._effects import (
    Complaint,
    Deliver,
    Effect,
    End,
    Ending,
    Expiring,
    Opened,
    Postponed,
    Ready,
    Shown,
)
from fanwire_client._errors import ConnectionRefused, Disconnected, FanwireError
from fanwire_client._feed import Feed, Gauge
from fanwire_client._limits import Limits
from fanwire_client._payloads import skipped_of
from fanwire_client._renewal import Renewal
from fanwire_client._session import Session
from fanwire_client._statistics import Statistics
from fanwire_protocol.codec import Encoding, InvalidData
from fanwire_protocol.frames import decode_frame

__all__ = ["Link"]

_log = logging.getLogger("fanwire.client")
# The server wants a ping at least every interval, so it is sent a little early.
_EARLY = 0.9


class Link:
    """What happens between a session and its server while a client is open."""

    def __init__(
        self,
        dialer: Dialer,
        limits: Limits,
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.error: FanwireError | None = None
        self._dialer = dialer
        self._limits = limits
        self._random = random
        self._sleep = sleep
        self._session = Session(limits.dedupe_events)
        self._backoff = Backoff()
        self._agenda = Agenda(random)
        self._renewal = Renewal(dialer.fresh_token, self._show, random, sleep)
        self._feeds: dict[int, Feed] = {}
        self._gauge = Gauge()
        self._settled = asyncio.Event()
        self._wake = asyncio.Event()
        self._connections = 0
        self._skipped_frames = 0
        self._conflated = 0

    def open(self, channels: tuple[str, ...]) -> tuple[int, Feed]:
        """Begin a subscription; return its number and its feed."""
        number = self._session.subscribe(channels)
        feed = self._feeds[number] = Feed(self._limits, self._gauge)
        if self.error is not None:
            self._end(number, self.error)
        elif self._session.is_ready(number):
            feed.ready()
        self._wake.set()
        return number, feed

    def release(self, number: int) -> None:
        """Give a subscription up, with what it has not read; one that is gone already is left alone."""
        feed = self._end(number, None)
        if feed is not None:
            feed.clear()
        self._wake.set()

    def statistics(self) -> Statistics:
        """Return the counters."""
        return Statistics(
            is_connected=self._session.is_connected,
            connections=self._connections,
            skipped_frames=self._skipped_frames,
            conflated=self._conflated,
            duplicates=self._session.duplicates,
            subscriptions=len(self._feeds),
            buffered_events=sum(map(len, self._feeds.values())),
        )

    async def settled(self) -> None:
        """Wait until the first attempt came to something, good or bad."""
        await self._settled.wait()

    async def run(self) -> None:
        """Connect, and come back, until that is refused for good or the task is cancelled."""
        try:
            while True:
                seconds = await self._attempt()
                self._settled.set()
                _log.info("fanwire_client.waiting", extra={"seconds": seconds})
                await self._sleep(seconds)
        except asyncio.CancelledError:
            raise
        except FanwireError as error:
            self.error = error
        except BaseException:
            self.error = FanwireError("the client failed; its `async with` raises the cause")
            raise
        finally:
            for number in list(self._feeds):
                self._end(number, self.error)
            self._settled.set()

    async def _attempt(self) -> float:
        """Connect and stay connected as long as it lasts; return the seconds to wait then."""
        try:
            connection = await self._dialer.dial(self._session.query())
        except Unreachable as failure:
            _log.warning("fanwire_client.unreachable", extra={"reason": str(failure)})
            return self._backoff.next_delay(self._random())
        except ConnectionRefused as refusal:
            if refusal.is_final:
                raise
            _log.warning("fanwire_client.refused", extra={"status": refusal.status, "code": refusal.code})
            return self._backoff.next_delay(self._random(), refusal.retry_after or 0.0)
        ending = await self._serve(connection)
        _log.info("fanwire_client.disconnected", extra={"code": ending.code, "reason": ending.reason})
        if not ending.may_return:
            raise Disconnected(ending.code, ending.reason)
        return self._backoff.next_delay(self._random(), ending.after_seconds, ending.window_seconds)

    async def _serve(self, connection: Connection) -> Ending:
        self._renewal.begin()
        self._agenda.clear()
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(self._send(connection))
            renewal = tasks.create_task(self._renewal.run())
            try:
                lost = await self._read(connection)
            finally:
                sender.cancel()
                renewal.cancel()
                await connection.close()
        return self._session.lost(lost.code, lost.reason)

    async def _read(self, connection: Connection) -> Lost:
        """Read until the connection is lost.

        Cancelling is safe: between the arrival of a frame and its place in the feeds nothing waits.
        """
        while True:
            await self._gauge.room()
            heartbeat = self._session.heartbeat.timeout_seconds
            seconds = heartbeat if self._session.is_connected else self._limits.connect_seconds
            try:
                data = await connection.receive(seconds)
            except Lost as lost:
                return lost
            self._take(data, connection.encoding)

    async def _send(self, connection: Connection) -> None:
        """Send what is due when it is, and a ping in every interval."""
        clock = asyncio.get_running_loop().time
        pinged_at = clock()
        while True:
            for command in self._session.commands(connection.encoding):
                if not await connection.send(command):
                    return
            ping_at = pinged_at + self._session.heartbeat.interval_seconds * _EARLY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(ping_at, self._agenda.next_due)):
                    await self._wake.wait()
                self._wake.clear()
            now = clock()
            for number in self._agenda.take(now):
                self._session.ask_again(number)
            if now >= ping_at:
                self._session.ping()
                pinged_at = now

    def _show(self, token: str) -> None:
        self._session.show(token)
        self._wake.set()

    def _take(self, data: bytes | None, encoding: Encoding) -> None:
        try:
            if data is None:
                raise InvalidData("the kind of frame is not the one agreed on")
            frame = decode_frame(data, encoding)
            effects = self._session.receive(frame)
        except InvalidData:
            self._skipped_frames += 1
            size_bytes = None if data is None else len(data)
            _log.warning(
                "fanwire_client.frame_skipped",
                extra={"size_bytes": size_bytes, "skipped": self._skipped_frames},
            )
            return
        if frame.type == "pong":
            self._conflated += skipped_of(frame)
        for effect in effects:
            self._apply(effect, len(data))
        if self._session.has_commands:
            self._wake.set()

    def _apply(self, effect: Effect, size_bytes: int) -> None:
        match effect:
            case Deliver(item, to):
                for number in to:
                    self._feeds[number].put(item, size_bytes)
            case Ready(number):
                self._feeds[number].ready()
            case End(number, error):
                self._end(number, error)
            case Complaint(code):
                _log.warning("fanwire_client.complaint", extra={"code": code})
            case Postponed(code=code):
                seconds = self._agenda.add(effect, asyncio.get_running_loop().time())
                _log.warning("fanwire_client.postponed", extra={"code": code, "seconds": round(seconds, 3)})
                self._wake.set()
            case Expiring(seconds):
                self._renew(seconds)
            case Shown(is_good):
                self._renewal.answer(is_good)
            case Opened():
                self._connections += 1
                self._backoff.succeed()
                self._settled.set()
                self._wake.set()  # the heartbeat's interval is known now
                _log.info("fanwire_client.connected", extra={"client": self._session.client_id})

    def _renew(self, seconds: float) -> None:
        if self._dialer.has_fresh_tokens:
            self._renewal.tell(seconds)

    def _end(self, number: int, error: FanwireError | None) -> Feed | None:
        self._session.unsubscribe(number)
        feed = self._feeds.pop(number, None)
        if feed is not None:
            feed.end(error)
        return feed
