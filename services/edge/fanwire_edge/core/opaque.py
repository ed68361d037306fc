"""Opaque credentials: texts that say nothing themselves (PROTOCOL §2)."""

from __future__ import annotations

import re

from fanwire_edge.core.principal import InvalidToken

__all__ = ["cookie_value", "opaque_token", "session_id"]

# What can stand in a header without ending it: printable ASCII without blanks.
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)
# RFC 6265 section 4.1.1: neither quotes, commas, semicolons nor backslashes.
_COOKIE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,4096}", re.ASCII)
# No colon, so that an id cannot lead to keys of another kind; too long to be guessed.
_SESSION_ID = re.compile(r"[A-Za-z0-9_.+/=-]{16,256}", re.ASCII)


def opaque_token(text: str) -> str:
    """Return *text* as it may be shown to others in a header; raises InvalidToken."""
    if not _TOKEN.fullmatch(text):
        raise InvalidToken("the token is not 1 to 8,192 printable characters without blanks")
    return text


def cookie_value(text: str) -> str:
    """Return *text* as it may be shown to others in a `Cookie` header; raises InvalidToken."""
    if not _COOKIE.fullmatch(text):
        raise InvalidToken("the cookie is not 1 to 4,096 of the characters that RFC 6265 allows")
    return text


def session_id(text: str) -> str:
    """Return *text* as it may stand in the name of a key; raises InvalidToken."""
    if not _SESSION_ID.fullmatch(text):
        raise InvalidToken("the session's id is not 16 to 256 of A-Z a-z 0-9 _ . + / = -")
    return text
