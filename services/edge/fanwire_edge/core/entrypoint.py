"""Entrypoints: paths that stand for channels, with what whoever comes through them needs (PROTOCOL §2)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanwire_edge.core.principal import Principal
from fanwire_protocol.channels import Channel, InvalidChannel, is_segment, parse_channel
from fanwire_protocol.settings import nearest

__all__ = ["Entry", "Entrypoint", "InvalidEntrypoint", "InvalidParameter", "choose", "parse_entrypoints"]

_KEYS = ("path", "channels", "names", "required_permissions", "required_roles", "reject")
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}", re.ASCII)
_STEP = r"(?:[A-Za-z0-9_.~-]+|\{[a-z][a-z0-9_]*\})"
_PATH = re.compile(rf"(?:/{_STEP})+", re.ASCII)
_PAIR = re.compile(r"([A-Za-z0-9_.~-]+)=\{([a-z][a-z0-9_]*)\}", re.ASCII)
_OF_THE_PRINCIPAL = ("tenant", "user")
# Parameters that every entrypoint has.
_RESERVED_QUERY = frozenset({"since", "client", "reject", "token"})
# What `connected` says in any case.
_RESERVED_FIELDS = frozenset(
    {
        "clientId",
        "user",
        "tenant",
        "authenticated",
        "channels",
        "positions",
        "recovered",
        "heartbeat",
        "reconnect",
    }
)
_HEAD = "tenant:{tenant}:resource:"


class InvalidEntrypoint(ValueError):
    """An entrypoint cannot be what somebody wrote; the text says which, why, and what would work."""


class InvalidParameter(ValueError):
    """A request's parameter is missing, there twice, or no segment of a channel; the text names it."""


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """A path with `{parameters}` in it or in its `query` (name there to parameter), and its channels.

    `names` are the fields of `connected` that tell the parameters, `reject` how a refusal is told, None for
    the edge's own way.
    """

    path: str
    query: Mapping[str, str]
    channels: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    required_permissions: frozenset[str] = frozenset()
    required_roles: frozenset[str] = frozenset()
    reject: str | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters."""
        return (*_VARIABLE.findall(self.path), *self.query.values())

    def entry(self, steps: Mapping[str, str], query: Mapping[str, Sequence[str]]) -> Entry:
        """Return what a request gives: the parameters of its path in *steps*, all values of its *query*.

        Raises InvalidParameter.
        """
        values = dict(steps)
        for name, parameter in self.query.items():
            given = query.get(name, ())
            if len(given) != 1:
                raise InvalidParameter(f"{name}: is needed, once")
            values[parameter] = given[0]
        for name, value in values.items():
            if not is_segment(value):
                raise InvalidParameter(f"{name}: is not 1 to 128 of A-Z a-z 0-9 _ . @ + | ~ = -")
        return Entry(self, values)

    def is_open_to(self, principal: Principal) -> bool:
        """Tell whether *principal* has every permission and, where any is named, one of the roles."""
        has_role = not self.required_roles or not self.required_roles.isdisjoint(principal.roles)
        return has_role and self.required_permissions <= principal.permissions


@dataclass(frozen=True, slots=True)
class Entry:
    """An entrypoint with the parameters that a client came with."""

    entrypoint: Entrypoint
    values: Mapping[str, str]

    @property
    def fields(self) -> Mapping[str, str]:
        """What the greeting says of the parameters."""
        names = self.entrypoint.names
        return {names.get(name, name): value for name, value in self.values.items()}

    def channels_for(self, principal: Principal) -> tuple[Channel, ...]:
        """Return the channels that *principal* is to join, each once; raises InvalidParameter."""
        values = {**self.values, "tenant": principal.tenant, "user": principal.user}
        names = dict.fromkeys(_filled(template, values) for template in self.entrypoint.channels)
        try:
            return tuple(parse_channel(name) for name in names)
        except InvalidChannel as problem:
            raise InvalidParameter(f"the parameters make no channel: {problem}") from None


def choose(entrypoints: Sequence[Entrypoint], given: Collection[str]) -> Entrypoint | None:
    """Return which of the entrypoints of one path is meant by a query that has the names *given*.

    The one that asks for most of them; None where each lacks one.
    """
    fitting = [each for each in entrypoints if all(name in given for name in each.query)]
    return max(fitting, key=lambda each: len(each.query), default=None)


def parse_entrypoints(document: Mapping[str, Any]) -> tuple[Entrypoint, ...]:
    """Return the entrypoints of a document with `[[entrypoint]]` tables; raises InvalidEntrypoint."""
    tables = document.get("entrypoint")
    if set(document) != {"entrypoint"} or not isinstance(tables, list):
        raise InvalidEntrypoint("holds [[entrypoint]] tables and nothing else")
    found: dict[tuple[str, frozenset[str]], Entrypoint] = {}
    for table in tables:
        entrypoint = _parsed(table)
        # A router could not tell apart what differs only in the names of parameters.
        key = _VARIABLE.sub("{}", entrypoint.path), frozenset(entrypoint.query)
        if key in found:
            raise InvalidEntrypoint(
                f"path: {entrypoint.path!r} is there twice; for example add ?kind={{kind}}"
            )
        found[key] = entrypoint
    return tuple(found.values())


def _parsed(table: Any) -> Entrypoint:
    if not isinstance(table, Mapping):
        raise InvalidEntrypoint("holds [[entrypoint]] tables and nothing else")
    for key in table:
        if key not in _KEYS:
            raise InvalidEntrypoint(f"{key}: no such key; {nearest(key, _KEYS)}")
    reject = table.get("reject")
    if reject not in (None, "http", "close"):
        raise InvalidEntrypoint(f"reject: {reject!r} is none of http, close; for example close")
    path, query = _parsed_path(table.get("path"))
    entrypoint = Entrypoint(
        path,
        query,
        _texts(table, "channels", "tenant:{tenant}:resource:sessions:{session}"),
        _names(table.get("names", {})),
        frozenset(_texts(table, "required_permissions", "sessions:read")),
        frozenset(_texts(table, "required_roles", "admin")),
        reject,
    )
    _check_names(entrypoint)
    _check_channels(entrypoint)
    return entrypoint


def _parsed_path(text: Any) -> tuple[str, Mapping[str, str]]:
    wrong = InvalidEntrypoint(
        f"path: {text!r} is no path with parameters; "
        "for example /api/sessions/{session}/live, or /ws?job-id={job}"
    )
    if not isinstance(text, str):
        raise wrong
    path, separator, rest = text.partition("?")
    pairs = [_PAIR.fullmatch(pair) for pair in rest.split("&")] if separator else []
    if not _PATH.fullmatch(path) or path == "/healthz" or None in pairs:
        raise wrong
    query = [(match[1], match[2]) for match in pairs if match]
    reserved = _RESERVED_QUERY.intersection(name for name, _ in query)
    if reserved:
        raise InvalidEntrypoint(f"path: ?{min(reserved)}= means something at any path; take another name")
    names = [*_VARIABLE.findall(path), *(parameter for _, parameter in query)]
    if len({*names, *_OF_THE_PRINCIPAL}) < len(names) + 2 or len(dict(query)) < len(query):
        raise InvalidEntrypoint(
            f"path: {text!r} has a name twice, or names tenant or user, which are the credential's; "
            "give each parameter its own name, for example /api/sessions/{session}/live"
        )
    return path, dict(query)


def _texts(table: Mapping[str, Any], key: str, example: str) -> tuple[str, ...]:
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise InvalidEntrypoint(f'{key}: is no list of strings; for example ["{example}"]')
    return tuple(values)


def _names(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(name, str) and name for name in value.values()):
        raise InvalidEntrypoint(
            'names: is no map of parameters to fields; for example { session = "sessionId" }'
        )
    return value


def _check_names(entrypoint: Entrypoint) -> None:
    names, parameters = entrypoint.names, entrypoint.parameters
    fields = [names.get(name, name) for name in parameters]
    is_unique = len(set(fields)) == len(fields) and not _RESERVED_FIELDS.intersection(fields)
    if not is_unique or not set(names) <= set(parameters):
        raise InvalidEntrypoint(
            f"names: {', '.join(fields) or 'none'} are not fields of parameters, each its own beside those "
            'of `connected`; for example { session = "sessionId" }'
        )


def _check_channels(entrypoint: Entrypoint) -> None:
    values = dict.fromkeys((*entrypoint.parameters, *_OF_THE_PRINCIPAL), "x")
    for template in entrypoint.channels:
        unknown = [name for name in _VARIABLE.findall(template) if name not in values]
        if unknown:
            raise InvalidEntrypoint(
                f"channels: {template!r} has {{{unknown[0]}}}; known here: {', '.join(sorted(values))}"
            )
        try:
            parse_channel(_filled(template, values))
        except InvalidChannel as problem:
            raise InvalidEntrypoint(f"channels: {template!r}: {problem}") from None
        if not template.startswith(_HEAD):
            raise InvalidEntrypoint(
                f"channels: {template!r} is no resource channel of the client's tenant; "
                "for example tenant:{tenant}:resource:sessions:{session}"
            )


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: values[match[1]], template)
