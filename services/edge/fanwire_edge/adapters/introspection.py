"""Introspection: another service tells whose a credential is, because it is asked with it (SYSTEMS Z11).

A GET of its route, in the bearer's own name: 2xx and a JSON object is somebody, 401 and 403 are nobody, and
anything else is no answer. What it says is read by the names of `auth.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fanwire_edge.core.claims import ClaimReader, ClaimRules, MalformedClaims
from fanwire_edge.core.opaque import cookie_value, opaque_token
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import Outbound, OutboundFailed, VerifierUnavailable
from fanwire_protocol.codec import InvalidData, decode_json

__all__ = ["Introspection", "bearer_header", "cookie_header"]

NOBODY = frozenset({401, 403})


def bearer_header(header: str, prefix: str) -> Callable[[str], tuple[str, str]]:
    """Return what shows a bearer token as the client did; its result raises InvalidToken."""

    def shown(token: str) -> tuple[str, str]:
        return header, f"{prefix} {opaque_token(token)}".strip()

    return shown


def cookie_header(name: str) -> Callable[[str], tuple[str, str]]:
    """Return what shows the cookie *name*; its result raises InvalidToken."""

    def shown(value: str) -> tuple[str, str]:
        return "Cookie", f"{name}={cookie_value(value)}"

    return shown


class Introspection:
    """Asks *url*; *shown* makes the header that shows a credential. *clock* is in seconds since the epoch."""

    def __init__(
        self,
        url: str,
        outbound: Outbound,
        shown: Callable[[str], tuple[str, str]],
        rules: ClaimRules,
        clock: Callable[[], float],
    ) -> None:
        self._url = url
        self._outbound = outbound
        self._shown = shown
        self._reader = ClaimReader(rules)
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        """Return whom the service names; raises InvalidToken, and VerifierUnavailable."""
        name, value = self._shown(token)
        try:
            reply = await self._outbound.get(self._url, {name: value, "Accept": "application/json"})
        except OutboundFailed as problem:
            raise VerifierUnavailable(str(problem)) from None
        if reply.status in NOBODY:
            raise InvalidToken("the service that knows the credentials refuses this one")
        if not 200 <= reply.status < 300:
            raise VerifierUnavailable(f"the service that knows the credentials answered {reply.status}")
        return self._principal(_fields(reply.body))

    def _principal(self, fields: Mapping[str, Any]) -> Principal:
        # RFC 7662 section 2.2; a record of a user who was switched off says the same.
        # Databases say it by a number. What is neither yes nor no lets nobody in.
        if "active" in fields and fields["active"] not in (True, 1):
            raise InvalidToken("the credential is not active")
        try:
            return self._reader.read(fields, self._clock())
        except MalformedClaims as problem:
            raise VerifierUnavailable(
                f"the answer of the service that knows the credentials is of no use: {problem.reason}"
            ) from None


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        fields = decode_json(body)
    except InvalidData:
        fields = None
    if not isinstance(fields, dict):
        raise VerifierUnavailable("the service that knows the credentials answered no JSON object")
    return fields
