"""The table: users with their credentials, and channels with the routes that mirror them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeAlias

__all__ = ["Credential", "InvalidTable", "Row", "Table"]

# A bearer token, headers of any kind, a function (plain or async) that returns either, or nothing at all.
Headers: TypeAlias = Mapping[str, str]
Shown: TypeAlias = str | Headers | None
Credential: TypeAlias = Shown | Callable[[], Shown | Awaitable[Shown]]

_VARIABLE = re.compile(r"\{(\w+)\}")


class InvalidTable(ValueError):
    """The table cannot be compared; the text says what is wrong and where, and shows no credential."""


@dataclass(frozen=True, slots=True)
class Row:
    """A channel, and the path of the REST API that shows the same; *users* is empty for all of them."""

    channel: str
    route: str
    users: tuple[str, ...] = ()

    @classmethod
    def each(cls, channel: str, route: str, users: Sequence[str] = (), **values: Sequence[str]) -> list[Self]:
        """Return a row for each combination of *values*, which stand for `{name}` in both texts.

        Raises InvalidTable where a variable has no values, or a value no variable.
        """
        wanted = set(_VARIABLE.findall(channel)) | set(_VARIABLE.findall(route))
        if wanted != values.keys():
            odd = ", ".join(sorted(wanted ^ values.keys()))
            raise InvalidTable(
                f"row {channel}: {odd} stands either in the texts or among the values; give both"
            )
        rows = []
        for combination in itertools.product(*values.values()):
            filled = dict(zip(values, combination, strict=True))
            rows.append(cls(_fill(channel, filled), _fill(route, filled), tuple(users)))
        return rows


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values[found[1]], text)


@dataclass(frozen=True, slots=True)
class Table:
    """Who is to see what, and where to ask: base URL of the *api* (`http://…`), URL of the *edge* (`ws://…`).

    *origin* is sent to the edge where given; *timeout_seconds* is how long each answer may take. Raises
    InvalidTable.
    """

    api: str
    edge: str
    users: Mapping[str, Credential] = field(repr=False)
    rows: Sequence[Row]
    origin: str | None = None
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.api.startswith(("http://", "https://")):
            raise InvalidTable(
                f"api: {self.api!r} is no URL of a REST API; for example http://localhost:8000"
            )
        if not self.edge.startswith(("ws://", "wss://")):
            raise InvalidTable(
                f"edge: {self.edge!r} is no URL of an edge; for example ws://localhost:8080/ws"
            )
        if not self.users or not self.rows:
            raise InvalidTable("users, rows: one of them is empty, so that nothing would be compared")
        for row in self.rows:
            if not row.route.startswith("/"):
                raise InvalidTable(f"row {row.channel}: the route {row.route!r} does not begin with /")
            unknown = set(row.users) - self.users.keys()
            if unknown:
                raise InvalidTable(f"row {row.channel}: {', '.join(sorted(unknown))} is not among the users")

    def rows_of(self, user: str) -> list[Row]:
        """Return the rows that are asked for *user*, each once."""
        return list(dict.fromkeys(row for row in self.rows if not row.users or user in row.users))

    def only(self, user: str) -> Table:
        """Return the part of the table that is about *user*."""
        rows = [Row(row.channel, row.route, (user,)) for row in self.rows_of(user)]
        return Table(self.api, self.edge, {user: self.users[user]}, rows, self.origin, self.timeout_seconds)
