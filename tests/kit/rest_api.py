"""A small REST API for tests: who may see what is a table, and it can misbehave in every way."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.kit.web_server import Answer, WebServer

__all__ = ["Answer", "Asked", "RestApi"]

CREDENTIAL_HEADERS = ("Authorization", "Cookie", "X-API-Key")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived; `path` with its query, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)

    @property
    def credential(self) -> str | None:
        """The value of the header that shows who asks."""
        shown = (self.headers.get(name.lower()) for name in CREDENTIAL_HEADERS)
        return next((value for value in shown if value is not None), None)


class RestApi(WebServer):
    """Answers by `table`: (value of the credential's header, path) to an Answer, a status, or a body as JSON.

    A credential of None is anybody's. What is not in the table is 401 without a credential that stands in it
    anywhere, and 404 with one. `fault`, while it is set, is the answer to everything. All of it may be
    changed at any time. `requests` holds what was asked.
    """

    def __init__(self, table: Mapping[tuple[str | None, str], Any] | None = None) -> None:
        super().__init__()
        self.table: dict[tuple[str | None, str], Any] = dict(table or {})
        self.fault: Answer | int | None = None
        self.requests: list[Asked] = []
        self._lock = threading.Lock()

    def count(self, path: str | None = None, credential: str | None = None) -> int:
        """Return how many requests came, for *path* and of *credential* where these are given."""
        with self._lock:
            asked = list(self.requests)
        return sum(
            (path is None or each.path == path) and (credential is None or each.credential == credential)
            for each in asked
        )

    def forget(self) -> None:
        """Forget what was asked."""
        with self._lock:
            self.requests.clear()

    def answer(self, request: web.BaseRequest) -> Answer:
        """Record the request and look it up."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.raw_path, headers)
        with self._lock:
            self.requests.append(asked)
        return _answer(self._found(asked) if self.fault is None else self.fault)

    def _found(self, asked: Asked) -> Any:
        for credential in (asked.credential, None):
            if (credential, asked.path) in self.table:
                return self.table[credential, asked.path]
        is_known = any(credential == asked.credential for credential, _ in list(self.table))
        return 404 if is_known and asked.credential is not None else 401


def _answer(found: Any) -> Answer:
    if isinstance(found, Answer):
        return found
    return Answer(found, {}) if isinstance(found, int) else Answer(200, found)
