"""The client: one connection at a time, shared by any number of iterators."""

from __future__ import annotations

import asyncio
import contextlib
import random as randomness
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ssl import SSLContext
from types import TracebackType
from typing import Self

from yarl import URL

from fanwire_client._connection import Address, Dialer, Token
from fanwire_client._errors import ClientClosed
from fanwire_client._limits import Limits
from fanwire_client._link import Link
from fanwire_client._statistics import Statistics
from fanwire_client._subscription import Subscription
from fanwire_protocol.channels import MAX_NAME_BYTES
from fanwire_protocol.codec import Encoding

__all__ = ["Client"]

_DEFAULT_LIMITS = Limits()


class Client:
    """A connection to Fanwire that comes back by itself, resumes where it stopped and drops duplicates.

    *token* is a string, or a callable (plain or async) that is asked before every attempt; where it
    raises, the attempt has failed and the next one asks again. *headers* go with the upgrade request.
    *encoding* is what it asks to speak, `json` or `msgpack` (smaller frames); events are the same.
    *random* (0 to 1) and *sleep* (seconds) time the reconnects.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        encoding: Encoding = "json",
        random: Callable[[], float] = randomness.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        address = URL(url)
        if address.scheme not in ("ws", "wss", "http", "https") or not address.host:
            raise ValueError("the URL must have the form ws://host:port/path or wss://host/path")
        if encoding not in ("json", "msgpack"):
            raise ValueError("the encoding is json or msgpack")
        self._address = Address(address, token, dict(headers or {}), ssl, encoding)
        self._limits = limits
        self._random = random
        self._sleep = sleep
        self._link: Link | None = None
        self._stack = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        return f"Client({str(self._address)!r})"

    def subscribe(self, *channels: str) -> Subscription:
        """Subscribe to *channels* (names, patterns or aliases) and return the iterator of their events.

        Without channels it yields what the server joins this connection to by itself. The subscription
        begins now, not with the first iteration, and is made anew after every reconnect. Raises
        ClientClosed outside of `async with`, ValueError for a name that cannot be sent.
        """
        if self._link is None:
            raise ClientClosed
        for channel in channels:
            if not 0 < len(channel.encode()) <= MAX_NAME_BYTES:
                raise ValueError(f"a channel's name has 1 to {MAX_NAME_BYTES} bytes")
        number, feed = self._link.open(channels)
        return Subscription(channels, feed, partial(self._link.release, number))

    def statistics(self) -> Statistics:
        """Return the counters. Raises ClientClosed outside of `async with`."""
        if self._link is None:
            raise ClientClosed
        return self._link.statistics()

    async def __aenter__(self) -> Self:
        """Start connecting, and wait until the first attempt came to something.

        Raises ConnectionRefused, Disconnected or InvalidToken where trying again would not help; anything
        transient goes on being tried in the background.
        """
        if self._link is not None:
            raise RuntimeError("the client is open already; one client is entered once at a time")
        async with contextlib.AsyncExitStack() as stack:
            dialer = Dialer(self._address, self._limits)
            stack.push_async_callback(dialer.close)
            # Left by hand, because `async with` would wrap an exception of the user's block in a group.
            tasks = await asyncio.TaskGroup().__aenter__()
            stack.push_async_callback(tasks.__aexit__, None, None, None)
            link = Link(dialer, self._limits, self._random, self._sleep)
            stack.callback(tasks.create_task(link.run()).cancel)
            await link.settled()
            if link.error is not None:
                raise link.error
            self._link, self._stack = link, stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection; iterators that are still held end."""
        self._link = None
        await self._stack.aclose()
