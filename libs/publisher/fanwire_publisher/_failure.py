"""What an error of redis-py means for an event on its way.

    error                                              again?   not in the log for certain?
    connection broken, reply missing, LOADING          yes      no
    connection refused                                 yes      yes
    READONLY, TRYAGAIN, CLUSTERDOWN, MASTERDOWN,       yes      yes
    NOREPLICAS, BUSY
    OOM, NOPERM, NOAUTH, WRONGPASS, WRONGTYPE,         no       yes
    MISCONF, MOVED and every other refusal

Those of the third row pass when a failover is over; those of the last only when somebody does something,
and until then each retry would only let more callers wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from redis import exceptions

__all__ = ["Failure", "failure_of"]

_PASSING = (
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
)
_PASSING_CODES = frozenset({"NOREPLICAS", "BUSY", "LOADING", "UNBLOCKED", "READONLY"})
# Subclasses of ConnectionError in redis-py, though Redis was reached and said no.
_DENIED = (exceptions.AuthenticationError, exceptions.AuthorizationError)
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, whether another may succeed, and whether this one certainly wrote nothing."""

    reason: str
    is_passing: bool
    is_refusal: bool


def failure_of(error: Exception) -> Failure:
    """Classify an error of redis-py or of the socket below it."""
    # Redis repeats arguments of a command that it does not know; they are the application's data.
    text = str(error).partition(", with args")[0][:_MAX_TEXT]
    reason = f"{type(error).__name__}: {text}"
    if isinstance(error, _DENIED):
        return Failure(reason, is_passing=False, is_refusal=True)
    if isinstance(error, exceptions.ResponseError):
        code = text.partition(" ")[0]
        return Failure(reason, isinstance(error, _PASSING) or code in _PASSING_CODES, is_refusal=True)
    never_connected = isinstance(error.__context__, ConnectionRefusedError)
    is_passing = isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError))
    return Failure(reason, is_passing, is_refusal=never_connected)
