"""Errors of the client.

FanwireError
├── ConnectionRefused    the server did not accept the connection, and trying again would not help
├── Disconnected         the server closed the connection for good
├── SubscriptionRefused  the server refused one channel of a subscription
├── SubscriptionEnded    the server ended a subscription that it had accepted
├── InvalidToken         the token cannot be sent
└── ClientClosed         the client is used outside its `async with`

No error holds a token. Each one can be copied from its fields, because one cause ends many iterators
and each of them raises an error of its own.
"""

from __future__ import annotations

__all__ = [
    "ClientClosed",
    "ConnectionRefused",
    "Disconnected",
    "FanwireError",
    "InvalidToken",
    "SubscriptionEnded",
    "SubscriptionRefused",
]

_TRANSIENT_STATUS = frozenset({408, 425, 429})


class FanwireError(Exception):
    """Anything this package raises on purpose."""


class ConnectionRefused(FanwireError):
    """The upgrade was answered with an HTTP *status*; *code* and *message* are the server's.

    `retry_after` is in seconds, None where the server named none.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, code, message, retry_after)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"the server refused the connection: {self.status} {self.code}: {self.message}"

    @property
    def is_final(self) -> bool:
        """Whether the same attempt would be refused again."""
        return self.status < 500 and self.status not in _TRANSIENT_STATUS


class Disconnected(FanwireError):
    """The connection was closed with a code after which a client does not come back."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection was closed for good with code {self.code}: {self.reason or 'no reason given'}"


class SubscriptionRefused(FanwireError):
    """The server refused *channel*; *code* is one of the protocol's error codes."""

    def __init__(self, code: str, channel: str, message: str) -> None:
        super().__init__(code, channel, message)
        self.code = code
        self.channel = channel
        self.message = message

    def __str__(self) -> str:
        return f"the server refused {self.channel}: {self.code}: {self.message}"


class SubscriptionEnded(FanwireError):
    """The server ended the subscription to *channel*; *reason* is `revoked`."""

    def __init__(self, channel: str, reason: str) -> None:
        super().__init__(channel, reason)
        self.channel = channel
        self.reason = reason

    def __str__(self) -> str:
        return f"the server ended the subscription to {self.channel}: {self.reason}"


class InvalidToken(FanwireError):
    """The token, which is not shown, cannot be sent as a subprotocol."""

    def __str__(self) -> str:
        return "the token must be visible ASCII characters without a comma"


class ClientClosed(FanwireError):
    """The client is not open; subscribe inside its `async with`."""

    def __str__(self) -> str:
        return "the client is not open; use it inside `async with Client(…) as client`"
