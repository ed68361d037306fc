"""Which pages may open a WebSocket (PROTOCOL §2).

A browser says in `Origin` from which page a request comes, and no script can change that. What is compared
is the whole text: every rule that would make two texts the same is one that somebody finds a way through.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ["is_allowed", "is_origin"]

# As browsers write it (RFC 6454 section 6.2): in small letters, without a path.
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII,
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def is_allowed(lines: Sequence[str], allowed: Collection[str], *, is_required: bool) -> bool:
    """Tell whether a request with these *lines* of `Origin` may go on.

    Where nothing is *allowed* no Origin is looked at, unless one *is_required*. One that is given twice is
    never allowed: whoever is in between may have seen the other.
    """
    if not lines or not allowed:
        return not is_required
    return len(lines) == 1 and lines[0] in allowed


def is_origin(text: str) -> bool:
    """Tell whether a browser could send *text*; `null` says of a page only that it has no name."""
    match = _ORIGIN.fullmatch(text)
    return match is not None and match["port"] != _DEFAULT_PORTS.get(match["scheme"], "")
