"""The opening of a connection: subprotocols and the credential among them (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["JSON_SUBPROTOCOL", "MSGPACK_SUBPROTOCOL", "Offer", "bearer_of", "parse_offer"]

JSON_SUBPROTOCOL = "fanwire.v1.json"
MSGPACK_SUBPROTOCOL = "fanwire.v1.msgpack"
_OURS = "fanwire."
_BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client offers in `Sec-WebSocket-Protocol`.

    `names` are the entries beside the credential, `bearer` the word that introduced the token as the client
    spelt it. No `repr` shows the token, nor `names`, where a clumsy client may have put one.
    """

    names: tuple[str, ...] = field(default=(), repr=False)
    bearer: str | None = None
    token: str | None = field(default=None, repr=False)

    def choose(self, supported: Iterable[str]) -> str | None:
        """Return the one value to echo: the first offered one that is supported, else `bearer`, else None."""
        known = set(supported)
        ours = (name for name in self.names if name in known)
        # Browsers give up on a connection whose offer is not answered, also where no token followed.
        words = (name for name in self.names if name.lower() == _BEARER)
        return next(ours, self.bearer or next(words, None))

    @property
    def versions(self) -> tuple[str, ...]:
        """The `fanwire.*` entries."""
        return tuple(name for name in self.names if name.startswith(_OURS))


def parse_offer(lines: Iterable[str]) -> Offer:
    """Parse all lines of `Sec-WebSocket-Protocol`, joined in order (RFC 6455 section 11.3.4).

    The credential is what follows the first `bearer` (any case) that is followed by an entry other than
    `fanwire.*`; a later pair is not tried.
    """
    entries = [entry for line in lines for part in line.split(",") if (entry := part.strip(" \t"))]
    for index, entry in enumerate(entries[:-1]):
        if entry.lower() == _BEARER and not entries[index + 1].startswith(_OURS):
            names = entries[:index] + entries[index + 2 :]
            return Offer(tuple(names), entry, entries[index + 1])
    return Offer(tuple(entries))


def bearer_of(header: str | None, prefix: str = "Bearer") -> str | None:
    """Return the token of an `Authorization` header, or None where it carries none.

    With an empty *prefix* the whole header is the token.
    """
    if not prefix:
        return (header or "").strip() or None
    scheme, _, token = (header or "").strip().partition(" ")
    token = token.strip()
    return token if token and scheme.lower() == prefix.lower() else None
