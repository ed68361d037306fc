"""How the doctor looks at a running installation: every probe has a deadline and returns facts."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fanwire_cli.broker import UNREADABLE, is_readable
from fanwire_cli.verdicts import BrokerFacts, HandshakeFacts

__all__ = ["ProbeFailed", "Visit", "ask_broker", "ask_ready", "knock"]

_DEADLINE_SECONDS = 5.0
_MAX_BODY_BYTES = 65_536


class ProbeFailed(Exception):
    """There was no answer to judge; the text says why and what to look at."""


async def ask_broker(url: str) -> BrokerFacts:
    """Ask the broker at *url* about itself; raises ProbeFailed."""
    if not is_readable(url):
        raise ProbeFailed(UNREADABLE)
    client = redis.asyncio.from_url(
        url,
        protocol=3,
        legacy_responses=False,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=_DEADLINE_SECONDS,
        socket_connect_timeout=_DEADLINE_SECONDS,
    )
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            await client.ping()
            info = await client.info()
    except (RedisError, OSError, TimeoutError) as error:
        raise ProbeFailed(_plain(error)) from error
    finally:
        await client.aclose()
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info.get("redis_version", "0"))
    return BrokerFacts(product, str(version), str(info.get("role")), str(info.get("maxmemory_policy")))


async def knock(host: str, port: int) -> None:
    """Open and close a TCP connection; raises ProbeFailed."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError as error:
        raise ProbeFailed("no answer at all; look at the firewall between here and there") from error
    except OSError as error:
        raise ProbeFailed(_plain(error)) from error
    writer.close()


async def ask_ready(url: str) -> tuple[int, str]:
    """Return status and body of the ops port's /readyz; raises ProbeFailed."""
    timeout = aiohttp.ClientTimeout(total=_DEADLINE_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            body = await answer.content.read(_MAX_BODY_BYTES)
            return answer.status, body.decode(errors="replace").strip()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ProbeFailed(_plain(error)) from error


class Visit:
    """A real connection to an edge. The token goes the way browsers send it, as a subprotocol."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._offer = ("bearer", token, "fanwire.v1.json") if token else ("fanwire.v1.json",)
        self._refusal = HandshakeFacts(0)
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Visit:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirect)
        trace.on_request_end.append(self._keep_refusal)
        self._session = aiohttp.ClientSession(trace_configs=[trace])
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()

    async def shake_hands(self) -> HandshakeFacts:
        """Open the connection and read `connected`; raises ProbeFailed where nothing answers."""
        assert self._session is not None
        close = aiohttp.ClientWSTimeout(ws_close=2.0)
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                self._socket = await self._session.ws_connect(self._url, protocols=self._offer, timeout=close)
        except aiohttp.WSServerHandshakeError as error:
            return self._refusal if self._refusal.status == error.status else HandshakeFacts(error.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ProbeFailed(_plain(error)) from error
        frame = await self._read("connected")
        return HandshakeFacts(101, connected=frame.get("payload") if frame else None)

    async def subscribe(self, channel: str) -> Mapping[str, Any] | None:
        """Subscribe to *channel* and return the edge's answer, None where it stays silent."""
        assert self._socket is not None
        await self._socket.send_str(json.dumps({"type": "subscribe", "channel": channel, "id": 1}))
        return await self._read("subscribed", "error")

    async def _read(self, *types: str) -> Mapping[str, Any] | None:
        assert self._socket is not None
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                async for message in self._socket:
                    frame = json.loads(message.data)
                    if frame.get("type") in types:
                        return dict(frame)
        except (TimeoutError, ValueError, TypeError, AttributeError):
            return None  # Silence, or something that speaks another language than an edge.
        return None

    async def _keep_refusal(self, _: object, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        answer = end.response
        if answer.status == 101:
            return
        body = await answer.content.read(_MAX_BODY_BYTES)
        try:
            error = json.loads(body)["error"]
            code, message = str(error["code"]), str(error["message"])
        except (ValueError, TypeError, LookupError):
            code, message = "", ""
        self._refusal = HandshakeFacts(answer.status, code, message, answer.headers.get("Retry-After", ""))


async def _refuse_redirect(_: object, __: object, told: aiohttp.TraceRequestRedirectParams) -> None:
    # The token, being a subprotocol, would follow to wherever it leads.
    told.response.close()
    raise ProbeFailed(f"the URL redirects ({told.response.status}); use the one it leads to")


def _plain(error: Exception) -> str:
    """Return the error in one line, without what may hold a password or a token."""
    # aiohttp's text of an unreadable answer shows the URL with its query; Redis repeats the arguments of a
    # command that it does not know, and a `HELLO` carries the password.
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    text = text.partition(", with args")[0]
    if "Connect call failed" in text:  # asyncio's words, which both libraries pass on
        return "nothing listens there"
    if isinstance(error, TimeoutError) or not text:
        return f"no answer within {_DEADLINE_SECONDS:.0f} s"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return f"the TLS certificate is not accepted: {text}"
    return text.splitlines()[0]
