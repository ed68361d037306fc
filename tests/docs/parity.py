"""What the guide on REST parity tells: its table, its commands and its report, with an API of orders."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import jwt
from aiohttp import web

from tests.docs.pages import Block, page
from tests.docs.sandbox import Sandbox
from tests.kit.edges import EdgeProcess
from tests.kit.tokens import SECRET
from tests.kit.web_server import Answer, WebServer

__all__ = ["OrdersApi", "compare_with_rest", "run_in_python"]

GUIDE = page("docs/guides/rest-parity.md")
_STATUSES = {
    "alice": {"/orders/41": 200, "/orders/42": 200, "/orders/export": 200},
    "bob": {"/orders/41": 200, "/orders/42": 403, "/orders/export": 403},
}
_PYTEST = """#!/bin/sh
exec {python} -W ignore -m pytest -p no:cacheprovider -c /dev/null --rootdir . "$@"
"""


class OrdersApi(WebServer):
    """Answers by user and path; 401 without a token, 404 to what is in no table."""

    def __init__(self, statuses: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__()
        self.statuses = statuses

    def answer(self, request: web.BaseRequest) -> Answer:
        """Look up the user of the token, which is taken at its word."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return Answer(401)
        user = jwt.decode(token, options={"verify_signature": False})["sub"]
        return Answer(self.statuses.get(user, {}).get(request.raw_path, 404))


@dataclass(frozen=True, slots=True)
class _Scene:
    """The API that is right, the one that the edge asks, and the edge."""

    api: OrdersApi
    asked: OrdersApi
    edge: EdgeProcess = field(repr=False)

    def adapted(self, text: str) -> str:
        """Return *text* with our addresses in the place of the guide's."""
        text = text.replace("http://localhost:8000", self.api.url("").rstrip("/"))
        return text.replace("ws://localhost:8080/ws", self.edge.url)


async def compare_with_rest(sandbox: Sandbox, block: Block) -> None:
    """All agree where the edge asks the API; where it asks one that lets Bob see more, the report says so."""
    lenient = {**_STATUSES, "bob": dict.fromkeys(_STATUSES["bob"], 200)}
    for statuses, status in ((_STATUSES, 0), (lenient, 1)):
        with OrdersApi(_STATUSES) as api, OrdersApi(statuses) as asked:
            routes = [
                f"tenant:{{tenant}}:resource:orders:{{id}} {asked.url('/orders/{id}')}",
                f"tenant:{{tenant}}:resource:orders:* {asked.url('/orders/export')}",
            ]
            async with EdgeProcess(
                sandbox.redis.url,
                FANWIRE_AUTHORIZATION__MODE="http",
                FANWIRE_AUTHORIZATION__ROUTES=json.dumps(routes),
            ) as edge:
                await _run(sandbox, block, _Scene(api, asked, edge), status)


async def _run(sandbox: Sandbox, block: Block, scene: _Scene, status: int) -> None:
    (table,) = [each.text for each in GUIDE.blocks if each.language == "toml parity"]
    (report,) = [each.text for each in GUIDE.blocks if each.language == "text"]
    (sandbox.folder / "orders.parity.toml").write_text(scene.adapted(table))
    pytest = sandbox.folder / ".venv" / "bin" / "pytest"
    pytest.write_text(_PYTEST.format(python=sys.executable))
    shown = await sandbox.finished(f"export FANWIRE_AUTH__JWT__SECRET={SECRET}\n{block.text}", status)
    if status == 0:
        assert "3 passed" in shown
    else:
        assert "1 failed, 2 passed" in shown
        assert scene.adapted(report) in shown


async def run_in_python(text: str, edge: EdgeProcess, names: dict[str, object]) -> None:
    """Run a snippet that compares *edge*, whose tokens permit all orders, with an API that says the same.

    Tests that it defines are run. An API that says otherwise must be noticed.
    """
    with OrdersApi({"u-1": {f"/orders/{number}": 200 for number in (1, 2, 41, 42)}}) as api:
        adapted = _Scene(api, api, edge).adapted(text)
        await asyncio.to_thread(_execute, adapted, dict(names))
        api.statuses = {}
        try:
            await asyncio.to_thread(_execute, adapted, dict(names))
        except AssertionError as problem:
            assert re.match(r"2 of 4 answers of ws://", str(problem))  # noqa: PT017  # of both snippets
        else:
            raise AssertionError(f"nothing was noticed:\n{text}")


def _execute(text: str, names: dict[str, object]) -> None:
    exec(compile(text, "<snippet>", "exec"), names)  # ours, from the documents
    for name, value in list(names.items()):
        if name.startswith("test_") and callable(value):
            value()
