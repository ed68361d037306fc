"""A small shop: a REST API, an edge that asks it, and a table that says who may see which order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fanwire_parity import Row, Table
from tests.kit.edges import EdgeProcess
from tests.kit.redis_server import SharedRedis
from tests.kit.rest_api import RestApi
from tests.kit.tokens import make_token

__all__ = ["PATTERN", "STATUSES", "World", "edge_of"]

ORDER = "tenant:acme:resource:orders:{id}"
PATTERN = "tenant:acme:resource:orders:*"
# What the API answers: by user, for each order, and for the list of all orders.
STATUSES: Mapping[str, Mapping[str, int]] = {
    "alice": {"/orders/1": 200, "/orders/2": 200, "/orders/3": 404, "/orders/4": 204, "/orders/all": 200},
    "bob": {"/orders/1": 403, "/orders/2": 200, "/orders/3": 404, "/orders/4": 503, "/orders/all": 403},
    "carol": {"/orders/1": 401, "/orders/2": 401, "/orders/3": 302, "/orders/4": 429, "/orders/all": 401},
}


@dataclass(frozen=True, slots=True)
class World:
    """The API, with the table of `STATUSES`, and everybody's token."""

    api: RestApi
    tokens: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, api: RestApi) -> World:
        """Fill the table of *api*."""
        tokens = {user: make_token(sub=user) for user in STATUSES}
        for user, statuses in STATUSES.items():
            for path, status in statuses.items():
                api.table[f"Bearer {tokens[user]}", path] = status
        return cls(api, tokens)

    def change(self, user: str, path: str, status: int) -> None:
        """Let the API answer otherwise from now on."""
        self.api.table[f"Bearer {self.tokens[user]}", path] = status

    def table(self, edge_url: str) -> Table:
        """Return the table of all users and orders, and of somebody without a token."""
        rows = [*Row.each(ORDER, "/orders/{id}", id="1234"), Row(PATTERN, "/orders/all")]
        return Table(self.api.url("").rstrip("/"), edge_url, {**self.tokens, "nobody": None}, rows)

    def file(self, folder: Path, edge: EdgeProcess) -> tuple[Path, Mapping[str, str]]:
        """Write the same as a file, and return it with the environment that holds the tokens."""
        path = folder / "orders.parity.toml"
        path.write_text("\n".join(self._lines(edge)))
        return path, {f"{user.upper()}_TOKEN": token for user, token in self.tokens.items()}

    def _lines(self, edge: EdgeProcess) -> Iterator[str]:
        yield f'api = "{self.api.url("").rstrip("/")}"'
        yield f'edge = "{edge.url}"'
        yield "[users]"
        for user in self.tokens:
            yield f'{user} = {{ token_env = "{user.upper()}_TOKEN" }}'
        yield "nobody = {}"
        yield f'[[rows]]\nchannel = "{ORDER}"\nroute = "/orders/{{id}}"\nid = ["1", "2", "3", "4"]'
        yield f'[[rows]]\nchannel = "{PATTERN}"\nroute = "/orders/all"\nusers = ["alice", "bob"]'


def edge_of(redis: SharedRedis, api: RestApi, **settings: str) -> EdgeProcess:
    """Return an edge that asks *api* about orders."""
    routes = [f"tenant:{{tenant}}:resource:orders:{id_} {api.url(path)}" for id_, path in _ROUTES]
    asking = {
        "FANWIRE_AUTHORIZATION__MODE": "http",
        "FANWIRE_AUTHORIZATION__ROUTES": json.dumps(routes),
        **settings,
    }
    return EdgeProcess(redis.url, redis.prefix, **asking)


_ROUTES = (("{id}", "/orders/{id}"), ("*", "/orders/all"))
