"""Channels and patterns: what a client may subscribe to (PROTOCOL §1).

Theory of operation. A channel is a colon-separated name. Parsing is one pass over its segments, with no
backtracking, so a hostile name costs no more than its length. A pattern is a `resource` channel whose
last segment is `*`. The patterns that match a published channel are a function of its own segments
(`matching_patterns`, at most two), so matching is a handful of dictionary look-ups and never depends on
how many patterns exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = [
    "MAX_NAME_BYTES",
    "SYSTEM_ALL",
    "Channel",
    "ChannelKind",
    "InvalidChannel",
    "all_channel",
    "connection_channel",
    "covers",
    "is_segment",
    "matching_patterns",
    "parse_channel",
    "resource_channel",
    "role_channel",
    "user_channel",
]

MAX_NAME_BYTES = 255
SYSTEM_ALL = "system:all"
_SEGMENT = re.compile(r"[A-Za-z0-9_.@+|~=-]{1,128}", re.ASCII)


class InvalidChannel(ValueError):
    """The name is not a channel of PROTOCOL §1; the text says which rule it breaks."""


class ChannelKind(Enum):
    """What a channel addresses."""

    RESOURCE = "resource"
    USER = "user"
    ROLE = "role"
    CONNECTION = "connection"
    ALL = "all"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Channel:
    """A parsed channel or pattern.

    `type` and `id` are None where a pattern leaves them open; `tenant` is None for `system:all` only.
    """

    name: str
    kind: ChannelKind
    tenant: str | None = None
    type: str | None = None
    id: str | None = None

    @property
    def is_pattern(self) -> bool:
        """Whether the name ends in the wildcard."""
        return self.kind is ChannelKind.RESOURCE and self.id is None

    @property
    def is_server_joined(self) -> bool:
        """Whether only the server puts connections on it."""
        return self.kind is not ChannelKind.RESOURCE


def is_segment(text: str) -> bool:
    """Tell whether *text* can stand between two colons of a channel."""
    return _SEGMENT.fullmatch(text) is not None


def parse_channel(name: str) -> Channel:
    """Parse a channel or pattern.

    Raises InvalidChannel, saying which rule the name breaks.
    """
    if len(name) > MAX_NAME_BYTES:
        raise InvalidChannel(f"a channel has at most {MAX_NAME_BYTES} characters")
    if name == SYSTEM_ALL:
        return Channel(name, ChannelKind.SYSTEM)
    parts = name.split(":")
    if parts[0] != "tenant" or not 3 <= len(parts) <= 5:
        raise InvalidChannel("a channel is `system:all` or begins with `tenant:{tenant}:`")
    wildcard = parts[-1] == "*"
    if not all(map(is_segment, parts[1:-1] if wildcard else parts[1:])):
        raise InvalidChannel(
            "a segment is 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -, and `*` stands last or nowhere"
        )
    return _classify(name, parts[1], parts[2], parts[3:], wildcard)


def _classify(name: str, tenant: str, kind: str, rest: list[str], wildcard: bool) -> Channel:
    match kind, rest:
        case "resource", ["*"]:
            return Channel(name, ChannelKind.RESOURCE, tenant)
        case "resource", [type_, "*"]:
            return Channel(name, ChannelKind.RESOURCE, tenant, type_)
        case "resource", [type_, id_]:
            return Channel(name, ChannelKind.RESOURCE, tenant, type_, id_)
        case "all", []:
            return Channel(name, ChannelKind.ALL, tenant)
        case (("user" | "role" | "connection"), [id_]) if not wildcard:
            return Channel(name, ChannelKind(kind), tenant, None, id_)
    raise InvalidChannel(
        "after the tenant comes resource:{type}:{id|*}, resource:*, user:{id}, role:{role}, "
        "connection:{id} or all"
    )


def matching_patterns(name: str) -> tuple[str, ...]:
    """Return the patterns that a valid concrete channel matches, narrowest first."""
    parts = name.split(":")
    if len(parts) == 5 and parts[2] == "resource":
        head = f"tenant:{parts[1]}:resource:"
        return (f"{head}{parts[3]}:*", f"{head}*")
    return ()


def covers(pattern: str, name: str) -> bool:
    """Tell whether every channel that valid *name* stands for is one that valid *pattern* stands for."""
    if pattern == name:
        return True
    return pattern.endswith(":*") and name.startswith(pattern[:-1])


def resource_channel(tenant: str, type_: str, id_: str) -> str:
    """Return the channel of one resource."""
    return f"tenant:{tenant}:resource:{type_}:{id_}"


def user_channel(tenant: str, user: str) -> str:
    """Return the channel of one user's connections."""
    return f"tenant:{tenant}:user:{user}"


def role_channel(tenant: str, role: str) -> str:
    """Return the channel of everyone who holds *role*."""
    return f"tenant:{tenant}:role:{role}"


def connection_channel(tenant: str, client_id: str) -> str:
    """Return the channel of one connection."""
    return f"tenant:{tenant}:connection:{client_id}"


def all_channel(tenant: str) -> str:
    """Return the channel of everyone of the tenant."""
    return f"tenant:{tenant}:all"
