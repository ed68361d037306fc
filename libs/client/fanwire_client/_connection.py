"""One WebSocket connection: the dial, and what aiohttp says about its end.

No exception of aiohttp leaves this module: its handshake errors carry the request's headers, and with
them the token. Errors are raised outside of `except`, so that they are not even kept as a context.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias

import aiohttp
from yarl import URL

from fanwire_client._errors import ConnectionRefused, InvalidToken
from fanwire_client._limits import Limits
from fanwire_protocol.codec import Encoding, InvalidData, decode_json
from fanwire_protocol.codes import CloseCode
from fanwire_protocol.handshake import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL

__all__ = ["Address", "Connection", "Dialer", "Lost", "Token", "Unreachable"]

Token: TypeAlias = str | Callable[[], str | Awaitable[str]] | None
_NO_STATUS, _ABNORMAL = 1005, 1006
_BODY_BYTES = 4096
# A list in a header is split at commas; everything else that is visible stands in a token somewhere.
_TOKEN = re.compile(r"[!-+\--~]+", re.ASCII)


class Unreachable(Exception):
    """No answer came, or none that a server of ours gives; another attempt may succeed."""


class Lost(Exception):
    """The connection is over; *code* is the close frame's, or 1006 where none came."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and with what. Nothing of the credentials is in its `repr`."""

    url: URL = field(repr=False)
    token: Token = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ssl: SSLContext | None = field(default=None, repr=False)
    encoding: Encoding = "json"

    def __str__(self) -> str:
        return str(self.url.with_user(None).with_query(None).with_fragment(None))


class Dialer:
    """Opens connections to one address; lives as long as its client."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._dialed_with: str | None = None
        self._http = aiohttp.ClientSession(
            # A token in a subprotocol would follow a redirect to wherever it leads.
            trace_configs=[_refusals()],
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """Release everything."""
        await self._http.close()

    async def dial(self, query: Sequence[tuple[str, str]]) -> Connection:
        """Open a connection, asking for a token anew. Cancelling is safe.

        Raises ConnectionRefused where an HTTP answer refuses, Unreachable where none came in time or the
        token could not be fetched, InvalidToken.
        """
        failure: str
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                self._dialed_with = token = await self._token()
                return Connection(await self._connect(query, token), self._limits)
        except aiohttp.WSServerHandshakeError as error:
            failure = f"the answer is no WebSocket handshake: {error.message}"
        except TimeoutError:
            failure = f"no answer within {self._limits.connect_seconds:g} s"
        except (aiohttp.ClientError, OSError) as error:
            # Only the system's errors are known to name nothing but the host and the port.
            failure = str(error) if isinstance(error, OSError) else type(error).__name__
        raise Unreachable(failure)

    @property
    def has_fresh_tokens(self) -> bool:
        """Whether there is somebody to ask for another token."""
        return callable(self._address.token)

    async def fresh_token(self) -> str | None:
        """Return another token than the one of the last dial, None where there is none. Cancelling is safe.

        Raises Unreachable where it could not be fetched, InvalidToken.
        """
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                token = await self._token()
        except TimeoutError:
            return None
        return None if token == self._dialed_with else token

    async def _token(self) -> str | None:
        token = self._address.token
        if callable(token):
            token = await _ask(token)
        if token is not None and _TOKEN.fullmatch(token) is None:
            raise InvalidToken
        return token

    async def _connect(
        self, query: Sequence[tuple[str, str]], token: str | None
    ) -> aiohttp.ClientWebSocketResponse[Any]:
        # A server that speaks JSON only takes what comes second.
        wanted = [MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL][self._address.encoding == "json" :]
        return await self._http.ws_connect(
            self._address.url.extend_query(query),
            protocols=wanted if token is None else [*wanted, "bearer", token],
            headers=self._address.headers,
            ssl=self._address.ssl or True,
            max_msg_size=self._limits.frame_bytes,
            decode_text=False,
            compress=0,
        )


async def _ask(fetch: Callable[[], str | Awaitable[str]]) -> str:
    """Return the token of the user's callable; raises Unreachable where that raises anything."""
    try:
        found = fetch()
        return await found if inspect.isawaitable(found) else found
    except Exception as error:  # noqa: BLE001  # The user's code may raise anything, and say the token in it.
        kind = type(error).__name__
    raise Unreachable(f"the token's callable raised {kind}")


class Connection:
    """An open WebSocket, which speaks the `encoding` that the server chose."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any], limits: Limits) -> None:
        self._socket = socket
        self._limits = limits
        is_packed = socket.protocol == MSGPACK_SUBPROTOCOL
        self.encoding: Encoding = "msgpack" if is_packed else "json"
        self._kind = aiohttp.WSMsgType.BINARY if is_packed else aiohttp.WSMsgType.TEXT

    async def receive(self, timeout: float) -> bytes | None:
        """Return the next frame, None for one of the wrong kind; *timeout* is in seconds. Raises Lost."""
        try:
            message = await self._socket.receive(timeout)
        except TimeoutError:
            raise Lost(CloseCode.HEARTBEAT_TIMEOUT, f"nothing received for {timeout:g} s") from None
        if message.type is self._kind:
            data: bytes = message.data
            return data
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return None
        raise _lost(message)

    async def send(self, command: bytes) -> bool:
        """Send a command; False where the connection is over, which `receive` explains.

        It waits while the server does not read. That wait ends with the connection at the latest.
        """
        try:
            await self._socket.send_frame(command, self._kind)
        except (aiohttp.ClientError, OSError):
            return False
        return True

    async def close(self) -> None:
        """Say goodbye with 1000 and release the socket, within the limit for it."""
        try:
            async with asyncio.timeout(self._limits.close_seconds):
                await self._socket.close(code=CloseCode.NORMAL)
        except TimeoutError:
            pass  # aiohttp has dropped the socket, which is all that is left to do


def _lost(message: aiohttp.WSMessage) -> Lost:
    # `close_code` is no guide: aiohttp makes 1000 of a connection that ends without a close frame.
    if message.type is aiohttp.WSMsgType.CLOSE:
        return Lost(message.data or _NO_STATUS, message.extra or "")
    if isinstance(message.data, aiohttp.WebSocketError):
        return Lost(message.data.code, "the server broke the WebSocket protocol or sent too long a frame")
    return Lost(_ABNORMAL, "the connection was cut")


def _refusals() -> aiohttp.TraceConfig:
    """Return hooks that turn an HTTP answer into ConnectionRefused while its body can still be read."""
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_on_redirect)
    trace.on_request_end.append(_on_answer)
    return trace


async def _on_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, told: aiohttp.TraceRequestRedirectParams
) -> None:
    told.response.close()
    _refuse(told.response, "redirected", "the URL redirects; use the URL it leads to")


async def _on_answer(
    session: aiohttp.ClientSession, context: SimpleNamespace, told: aiohttp.TraceRequestEndParams
) -> None:
    if told.response.status == 101:
        return
    body = b""
    try:
        while len(body) < _BODY_BYTES and (part := await told.response.content.readany()):
            body += part
    finally:
        told.response.close()
    _refuse(told.response, *_read_error(body))


def _refuse(response: aiohttp.ClientResponse, code: str, message: str) -> NoReturn:
    after = response.headers.get("Retry-After", "")
    # The form that is a date is left to the backoff: two clocks would have to agree on it.
    seconds = float(after) if after.isascii() and after.isdigit() and len(after) < 10 else None
    raise ConnectionRefused(response.status, code, message, seconds)


def _read_error(body: bytes) -> tuple[str, str]:
    try:
        document = decode_json(body)
    except InvalidData:
        document = None
    match document:
        case {"error": {"code": str(code), "message": str(message)}}:
            return code, message
    return "unknown", "the answer is not one of Fanwire's"
