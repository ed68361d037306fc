"""Entrypoints: which of them a request came to, and whether somebody may come through it (PROTOCOL §2)."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from aiohttp import web

from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.entrypoint import (
    Entry,
    Entrypoint,
    InvalidEntrypoint,
    InvalidParameter,
    choose,
    parse_entrypoints,
)
from fanwire_edge.core.room import Room
from fanwire_edge.edge import Edge
from fanwire_edge.refusal import Refused
from fanwire_protocol.codes import HandshakeError
from fanwire_protocol.settings import SettingError

__all__ = ["Entrypoints", "entry_of", "load_entrypoints", "room_of"]

# The same whether it is not there or not permitted.
NO_ACCESS = "it does not exist, or is not permitted"


class Entrypoints:
    """The paths at which the door opens: the *plain* one, where nothing more is joined, and *found* ones."""

    def __init__(self, plain: str, found: Iterable[Entrypoint] = ()) -> None:
        self._plain = plain
        self._by_path: dict[str, list[Entrypoint]] = {plain: []}
        for entrypoint in found:
            self._by_path.setdefault(entrypoint.path, []).append(entrypoint)
        self._is_plain_only = len(self._by_path) == 1 and not self._by_path[plain]

    @property
    def paths(self) -> Sequence[str]:
        """All paths, with their parameters as aiohttp's router writes them."""
        return tuple(self._by_path)

    def of(self, request: web.Request) -> Entrypoint | None:
        """Return the entrypoint that *request* came to, None for the plain path; raises Refused."""
        if self._is_plain_only:
            return None
        resource = request.match_info.route.resource
        path = self._plain if resource is None else resource.canonical
        entrypoints = self._by_path[path]
        found = choose(entrypoints, request.query.keys())
        if found is not None:
            return found
        names = sorted({name for each in entrypoints for name in each.query})
        if path == self._plain and not any(name in request.query for name in names):
            return None
        raise Refused(HandshakeError.BAD_REQUEST, f"the query needs {', '.join(names)}")


def load_entrypoints(file: str | None, plain: str) -> Entrypoints:
    """Read the entrypoints of a TOML file; raises SettingError."""
    if file is None:
        return Entrypoints(plain)
    try:
        return Entrypoints(plain, parse_entrypoints(tomllib.loads(Path(file).read_text(encoding="utf-8"))))
    except OSError as problem:
        raise SettingError(
            f"edge.entrypoints: cannot read {file}: {problem.strerror}; give a file that it may read"
        ) from problem
    except InvalidEntrypoint as problem:
        raise SettingError(f"edge.entrypoints: {file}: {problem}") from problem
    except ValueError as problem:
        raise SettingError(f"edge.entrypoints: {file} is no TOML file: {problem}") from problem


def entry_of(request: web.Request, entrypoint: Entrypoint) -> Entry:
    """Return *entrypoint* with the parameters of *request*; raises Refused where one is malformed."""
    query = {name: request.query.getall(name, []) for name in entrypoint.query}
    try:
        return entrypoint.entry(request.match_info, query)
    except InvalidParameter as problem:
        raise Refused(HandshakeError.BAD_REQUEST, str(problem)) from problem


async def room_of(edge: Edge, entry: Entry, asker: Asker) -> Room:
    """Return what *asker* joins by *entry*; raises Refused where it may not, or nobody can tell."""
    try:
        channels = entry.channels_for(asker.principal)
    except InvalidParameter as problem:
        raise Refused(HandshakeError.BAD_REQUEST, str(problem)) from problem
    if not entry.entrypoint.is_open_to(asker.principal):
        raise Refused(HandshakeError.FORBIDDEN, NO_ACCESS)
    decided_at = time.monotonic()
    found = await edge.permissions.decide(asker, channels)
    decisions = [found.get(channel.name, Decision.UNAVAILABLE) for channel in channels]
    if all(decision is Decision.PERMITTED for decision in decisions):
        return Room(tuple(channel.name for channel in channels), entry.fields, decided_at)
    if Decision.UNAUTHENTICATED in decisions:
        raise Refused(HandshakeError.UNAUTHENTICATED, "the credential is not accepted for it any more")
    if any(decision not in (Decision.PERMITTED, Decision.UNAVAILABLE) for decision in decisions):
        raise Refused(HandshakeError.FORBIDDEN, NO_ACCESS)
    raise Refused(HandshakeError.UNAVAILABLE, "nobody can tell now whether it is permitted")
