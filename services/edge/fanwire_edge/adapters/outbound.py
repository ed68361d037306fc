"""How the edge asks other services over HTTP: briefly, a few at a time, and not while they are down.

Nothing that an answer says leads anywhere else: redirects are answers, cookies are forgotten, proxies of the
environment are not used, compressed bodies are not unpacked. Each origin has places, a queue and a breaker
of its own, so that one that hangs does not keep the edge from asking the others.

A breaker counts what tells that a service is away: no connection, no answer in time, 502, 503 and 504. A 500
is not counted, nor is a body that is too long: one user's strange resource would shut out everybody's.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from fanwire_edge.core.breaker import Breaker
from fanwire_edge.ports import OutboundFailed, OutboundReply
from fanwire_protocol.settings import SettingError

__all__ = ["Outbound", "OutboundFailed", "OutboundLimits", "OutboundReply"]

DEFAULT_MAX_BYTES = 65_536
# Origins come out of the configuration; a template that names hosts by channel must not fill the memory.
MAX_ORIGINS = 256
AWAY = frozenset({502, 503, 504})
# A connection with TLS that breaks stays open (CPython issue 118950) unless somebody looks after it.
LEAKS_TLS = sys.version_info < (3, 12, 8)

logger = logging.getLogger("fanwire.outbound")


@dataclass(frozen=True, slots=True)
class OutboundLimits:
    """Seconds for an answer; for each origin requests at once, waiting ones, and when it is left alone."""

    timeout_seconds: float = 2.0
    max_concurrent: int = 64
    max_waiting: int = 1024
    breaker_failures: int = 5
    breaker_seconds: float = 5.0


class _NotAsked(OutboundFailed):
    """No request was sent."""


class _TooLong(Exception):
    """The body is longer than was asked for."""


class _Origin:
    """A service, by scheme, host and port."""

    def __init__(self, limits: OutboundLimits) -> None:
        self.breaker = Breaker(limits.breaker_failures, limits.breaker_seconds)
        self.places = asyncio.Semaphore(limits.max_concurrent)
        self.waiting = 0


class Outbound:
    """Asks services; of one event loop, the first that it is used on. A `ports.Companion`."""

    def __init__(
        self,
        limits: OutboundLimits,
        clock: Callable[[], float],
        *,
        ca_file: str | None = None,
        counts: Counter[str] | None = None,
    ) -> None:
        """Prepare; *ca_file* is trusted beside the system's, *counts* counts requests by their result.

        Raises SettingError where the file cannot be trusted.
        """
        self._limits = limits
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._clock = clock
        self._trust = True if ca_file is None else _trust(ca_file)
        self._session: aiohttp.ClientSession | None = None
        self._origins: OrderedDict[URL, _Origin] = OrderedDict()

    async def get(
        self, url: str, headers: Mapping[str, str], max_bytes: int = DEFAULT_MAX_BYTES
    ) -> OutboundReply:
        """Return the answer of *url*, whatever its status; with `max_bytes` 0 its body does not matter.

        Waits at most `timeout_seconds`, for a place and the answer together. Raises OutboundFailed, whose
        text has the origin and nothing else of the URL. Cancelling is safe.
        """
        try:
            reply = await self._get(url, headers, max_bytes)
        except _NotAsked:
            self._counts["not_asked"] += 1
            raise
        except OutboundFailed:
            self._counts["failed"] += 1
            raise
        self._counts["answered"] += 1
        return reply

    async def start(self) -> None:
        """Connect when something is asked, not before."""

    async def run(self) -> None:
        """Return at once: there is nothing to be done meanwhile."""

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            # A connection with TLS takes some turns of the loop until its socket is closed.
            for _ in range(5):
                await asyncio.sleep(0)

    async def _get(self, url: str, headers: Mapping[str, str], max_bytes: int) -> OutboundReply:
        try:
            address = URL(url)
            name = address.origin()
        except ValueError:
            raise _NotAsked("the URL has no scheme and host, or cannot be read") from None
        origin = self._origin(name)
        deadline = asyncio.get_running_loop().time() + self._limits.timeout_seconds
        await self._take_place(origin, name, deadline)
        try:
            return await self._watched(origin.breaker, name, deadline, self._ask(address, headers, max_bytes))
        finally:
            origin.places.release()

    async def _take_place(self, origin: _Origin, name: URL, deadline: float) -> None:
        if origin.places.locked() and origin.waiting >= self._limits.max_waiting:
            raise _NotAsked(f"{name}: too many requests wait for it")
        origin.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await origin.places.acquire()
        except TimeoutError:
            raise _NotAsked(f"{name}: no place among the requests to it within its time") from None
        finally:
            origin.waiting -= 1

    async def _watched(
        self, breaker: Breaker, name: URL, deadline: float, asking: Coroutine[Any, Any, OutboundReply]
    ) -> OutboundReply:
        """Await *asking* and let the breaker know how it went."""
        entered = breaker.enter(self._clock())
        if entered is None:
            asking.close()
            raise _NotAsked(f"{name}: does not answer, and is left alone for a while")
        was_open = breaker.is_open
        try:
            async with asyncio.timeout_at(deadline):
                reply = await asking
        except aiohttp.InvalidURL:
            raise OutboundFailed(f"{name}: is no service over HTTP") from None
        except (aiohttp.ClientError, OSError) as error:
            # Its text may show the whole URL. A deadline is a TimeoutError, which is an OSError.
            problem = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            breaker.failed(entered, self._clock())
            self._tell(name, breaker, problem, was_open=was_open)
            raise OutboundFailed(f"{name}: {problem}") from None
        except ValueError:
            raise OutboundFailed(f"{name}: the request cannot be written") from None
        except _TooLong:
            breaker.succeeded(entered)
            raise OutboundFailed(f"{name}: the answer is too long") from None
        else:
            if reply.status in AWAY:
                breaker.failed(entered, self._clock())
            else:
                breaker.succeeded(entered)
            self._tell(name, breaker, f"status {reply.status}", was_open=was_open)
            return reply
        finally:
            # Says nothing where one of the others was called.
            breaker.gave_up(entered)

    def _tell(self, name: URL, breaker: Breaker, problem: str, *, was_open: bool) -> None:
        if breaker.is_open and not was_open:
            logger.warning("service_away", extra={"service": str(name), "reason": problem})
        elif was_open and not breaker.is_open:
            logger.info("service_back", extra={"service": str(name)})

    async def _ask(self, address: URL, headers: Mapping[str, str], max_bytes: int) -> OutboundReply:
        session = self._session
        if session is None:
            session = self._session = self._opened()
        async with session.get(address, headers=headers, allow_redirects=False, ssl=self._trust) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > (max_bytes or DEFAULT_MAX_BYTES):
                    # What is not read must not stay in a connection that is used again.
                    response.close()
                    if max_bytes:
                        raise _TooLong
                    break
            return OutboundReply(response.status, bytes(body) if max_bytes else b"")

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # Places are counted here, not in the connector.
            connector=aiohttp.TCPConnector(limit=0, enable_cleanup_closed=LEAKS_TLS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            headers={"Accept-Encoding": "identity", "User-Agent": "fanwire-edge"},
            auto_decompress=False,
            trust_env=False,
        )

    def _origin(self, name: URL) -> _Origin:
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = _Origin(self._limits)
            if len(self._origins) > MAX_ORIGINS:
                self._origins.popitem(last=False)
        self._origins.move_to_end(name)
        return origin


def _trust(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        # An SSLError is one too: a file that holds no certificate.
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingError(
            f"outbound.ca_file: cannot use {ca_file}: {reason}; give a file of certificates in PEM"
        ) from None
    return context
