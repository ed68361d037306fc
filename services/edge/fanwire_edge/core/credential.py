"""What a client shows to say who it is, and where it shows it (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fanwire_protocol.handshake import Offer, bearer_of

__all__ = ["IN_BAND", "SOURCES", "Credential", "Sources", "select", "shown_in_band"]

IN_BAND = "in_band"
SOURCES = ("subprotocol", "authorization", "query", "cookie", "api_key", IN_BAND)
QUERY_NAME = "token"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential and the source that it came from; `forward` is the HTTP header that shows it to others.

    Neither the text nor the header is in any `repr`.
    """

    source: str
    text: str = field(repr=False)
    forward: tuple[str, str] = field(repr=False)

    @property
    def is_sound(self) -> bool:
        """Whether the text can stand in a header; a query may bring line ends along, or blanks."""
        # Of ASCII that is everything but control characters.
        return self.text.isascii() and self.text.isprintable() and " " not in self.text


@dataclass(frozen=True, slots=True)
class Sources:
    """Where credentials may stand, in the order of looking, and what the places are called."""

    names: tuple[str, ...]
    header: str = "Authorization"
    prefix: str = "Bearer"
    cookie: str = "session"
    key_header: str = "X-API-Key"

    @property
    def is_in_band(self) -> bool:
        """Whether a client may come in without one and show it later."""
        return IN_BAND in self.names


def select(
    sources: Sources, offer: Offer, headers: Mapping[str, str], query: Mapping[str, str]
) -> Credential | None:
    """Return the credential of the first source that carries one, good or not, or None where none does."""
    for source in sources.names:
        text = _text(source, sources, offer, headers, query)
        if text is not None:
            return Credential(source, text, _forward(source, sources, text))
    return None


def shown_in_band(sources: Sources, token: str) -> Credential:
    """Return the credential that a client shows by `authenticate`."""
    return Credential(IN_BAND, token, _forward(IN_BAND, sources, token))


def _text(
    source: str, sources: Sources, offer: Offer, headers: Mapping[str, str], query: Mapping[str, str]
) -> str | None:
    match source:
        case "subprotocol":
            return offer.token
        case "authorization":
            return bearer_of(headers.get(sources.header), sources.prefix)
        case "query":
            return query.get(QUERY_NAME) or None
        case "cookie":
            return _cookie(headers.get("Cookie", ""), sources.cookie)
        case "api_key":
            return headers.get(sources.key_header, "").strip() or None
    return None


def _cookie(header: str, name: str) -> str | None:
    """Return the value of the first cookie *name*, as it was sent.

    Where one stands twice, browsers put the one of the narrower path first (RFC 6265 section 5.4).
    """
    for part in header.split(";"):
        found, _, value = part.strip(" \t").partition("=")
        if found == name:
            return value.strip(" \t") or None
    return None


def _forward(source: str, sources: Sources, text: str) -> tuple[str, str]:
    match source:
        case "cookie":
            return "Cookie", f"{sources.cookie}={text}"
        case "api_key":
            return sources.key_header, text
    return sources.header, f"{sources.prefix} {text}"
