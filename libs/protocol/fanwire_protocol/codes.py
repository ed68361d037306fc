"""Codes that server and clients agree on (PROTOCOL §2, §3, §5)."""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = ["CloseCode", "ErrorCode", "GapReason", "HandshakeError", "may_reconnect"]


class CloseCode(IntEnum):
    """Why a WebSocket ended. The numbers below 4000 are RFC 6455's (section 7.4.1)."""

    NORMAL = 1000
    PROTOCOL_VIOLATION = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    DRAINING = 1012
    TOKEN_EXPIRED = 4001
    PERMISSION_CHANGED = 4003
    SLOW_CONSUMER = 4008
    HEARTBEAT_TIMEOUT = 4009
    RATE_LIMITED = 4029
    UNAUTHENTICATED = 4501
    FORBIDDEN = 4502
    PERMISSION_REVOKED = 4503
    DISCONNECTED = 4504
    CONNECTION_LIMIT = 4505
    PROTOCOL_ERROR = 4506


class ErrorCode(StrEnum):
    """Codes of `error` frames; the connection stays."""

    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_CHANNEL = "invalid_channel"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    LIMIT_EXCEEDED = "limit_exceeded"
    NOT_SUBSCRIBED = "not_subscribed"
    NOT_FOUND = "not_found"

    @property
    def is_protocol_mistake(self) -> bool:
        """Whether it counts towards the row of ten that closes a connection with 4506."""
        return self in _MISTAKES


_MISTAKES = frozenset(
    {
        ErrorCode.INVALID_JSON,
        ErrorCode.INVALID_MESSAGE,
        ErrorCode.UNKNOWN_TYPE,
        ErrorCode.INVALID_CHANNEL,
    }
)


class GapReason(StrEnum):
    """Why events may be missing."""

    TRIMMED = "trimmed"
    FAILOVER = "failover"
    OVERFLOW = "overflow"
    UNKNOWN_POSITION = "unknown_position"


class HandshakeError(StrEnum):
    """Codes of answers that refuse an upgrade; `status` is the HTTP status each comes with."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    FORBIDDEN = "forbidden"
    UPGRADE_REQUIRED = "upgrade_required"
    RATE_LIMITED = "rate_limited"
    CONNECTION_LIMIT = "connection_limit"
    DRAINING = "draining"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self]


_STATUS = {
    HandshakeError.BAD_REQUEST: 400,
    HandshakeError.UNAUTHENTICATED: 401,
    HandshakeError.ORIGIN_NOT_ALLOWED: 403,
    HandshakeError.FORBIDDEN: 403,
    HandshakeError.UPGRADE_REQUIRED: 426,
    HandshakeError.RATE_LIMITED: 429,
    HandshakeError.CONNECTION_LIMIT: 429,
    HandshakeError.DRAINING: 503,
    HandshakeError.OVERLOADED: 503,
    HandshakeError.UNAVAILABLE: 503,
}

# Codes after which a client stops for good: it spoke wrongly (1003, 1007, 1009) or may not come back
# (4500 to 4999). Its own 1000 is the fourth. Every other code, known or not, means: come back.
_STOP = frozenset({1000, 1003, 1007, 1009})


def may_reconnect(code: int) -> bool:
    """Tell whether a client that was closed with *code* comes back by itself."""
    return code not in _STOP and not 4500 <= code <= 4999
