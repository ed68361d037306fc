"""Rules that lead from a channel to the route of a REST API that knows about it: "template URL".

`tenant:{tenant}:resource:orders:{id} https://api/orders/{id}` is for every order of every tenant. A template
that ends in `*` is for that pattern and nothing else: its route tells whether somebody may read *every* one,
which a list route, that answers 200 with the caller's own rows, does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from fanwire_protocol.channels import Channel, InvalidChannel, parse_channel

__all__ = ["InvalidRule", "Rules", "Unaskable"]

_VARIABLE = re.compile(r"\{([a-z_]+)\}", re.ASCII)
# Scheme, host and port stand as they are: no channel chooses whom the edge asks.
_URL = re.compile(r"https?://[A-Za-z0-9.\-_~%\[\]:]+(/[!-~]*)?", re.ASCII)
_RESERVED = re.compile(r"[^A-Za-z0-9._~-]", re.ASCII)
# These are no names of anything in a path, but ways through it, percent-encoded too.
_WAYS = (".", "..")


class InvalidRule(ValueError):
    """The text is no rule; it says why."""


class Unaskable(Exception):
    """The channel has a rule, and yet no URL that stands for it and for nothing else."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A template by its segments behind `tenant` and `resource`, and the URL to fill."""

    parts: tuple[str, ...]
    url: str

    def values(self, parts: tuple[str, ...]) -> Mapping[str, str] | None:
        """Return what the template's variables stand for in a channel of *parts*, None where it is no fit.

        A pattern's `*` is a literal: only a template that says it too fits.
        """
        if len(parts) != len(self.parts):
            return None
        found: dict[str, str] = {}
        for mine, its in zip(self.parts, parts, strict=True):
            variable = _VARIABLE.fullmatch(mine)
            if variable is not None and its != "*":
                found[variable[1]] = its
            elif mine != its:
                return None
        return found

    def is_within(self, pattern: tuple[str, ...]) -> bool:
        """Tell whether the rule is for channels that *pattern* stands for."""
        pairs = zip(self.parts, pattern[:-1], strict=False)
        return all(mine == its or _VARIABLE.fullmatch(mine) for mine, its in pairs)


class Rules:
    """Rules in their order: the first whose template fits a channel is its rule. Raises InvalidRule."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._rules = [_parsed(text) for text in texts]

    def url(self, channel: Channel) -> str | None:
        """Return the URL to ask about *channel*, None where no rule is for it.

        Raises Unaskable for an id that would lead elsewhere, and for a pattern that no rule names though one
        is for channels that it stands for: nobody is asked then, and nobody permits it.
        """
        parts = _parts(channel.name)
        for rule in self._rules:
            values = rule.values(parts)
            if values is not None:
                return _filled(rule.url, values)
        if channel.is_pattern and any(rule.is_within(parts) for rule in self._rules):
            raise Unaskable("no rule names this pattern")
        return None


def _parts(name: str) -> tuple[str, ...]:
    tenant, _, *rest = name.split(":")[1:]
    return (tenant, *rest)


def _filled(url: str, values: Mapping[str, str]) -> str:
    used = {name: values[name] for name in _VARIABLE.findall(url)}
    if not set(_WAYS).isdisjoint(used.values()):
        raise Unaskable("an id that is a way through a path names nothing")
    return _VARIABLE.sub(lambda match: _encoded(used[match[1]]), url)


def _encoded(value: str) -> str:
    """Return *value*, a channel's segment, as one segment of a path."""
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", value)


def _parsed(text: str) -> _Rule:
    template, _, url = text.partition(" ")
    names = _VARIABLE.findall(template)
    try:
        channel = parse_channel(_VARIABLE.sub("x", template))
    except InvalidChannel as problem:
        _refuse(text, f"its channel: {problem}")
    if channel.is_server_joined:
        _refuse(text, "is for a channel that the server joins")
    if len(set(names)) != len(names):
        _refuse(text, "names a variable twice")
    parts = _parts(template)
    if any("{" in part and not _VARIABLE.fullmatch(part) for part in parts):
        _refuse(text, "has a variable that is not a whole segment")
    path = _URL.fullmatch(url)
    if path is None:
        _refuse(
            text, "has no URL behind one space, http(s)://host/path, without a user and without variables"
        )
    if "#" in url:
        _refuse(text, "has a URL with a fragment, which no server gets to see")
    unknown = sorted(set(_VARIABLE.findall(url)) - set(names))
    if unknown:
        _refuse(text, f"has a URL with {{{unknown[0]}}}, which its channel does not name")
    if re.search(r"[{}]", _VARIABLE.sub("", url)):
        _refuse(text, "has a URL with a brace that belongs to no variable")
    return _Rule(parts, url)


def _refuse(text: str, reason: str) -> NoReturn:
    example = "tenant:{tenant}:resource:orders:{id} https://api.example.com/orders/{id}"
    raise InvalidRule(f"{text!r} {reason}; for example {example!r}")
