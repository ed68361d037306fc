"""Every piece of Python and JavaScript in the documents does what the text says, against a real edge."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from fanwire_publisher import Publisher
from tests.docs.pages import Block, blocks, page
from tests.docs.parity import run_in_python
from tests.kit.edges import EdgeProcess
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import make_token
from tests.kit.wait import eventually

PATTERN = "tenant:acme:resource:orders:*"
CLAIMS: dict[str, Any] = {"channels": ["tenant:acme:resource:*"], "roles": ["admin"]}
# The contract shows what is not built yet too; what it shows is checked by its names below.
RUN = [block for block in blocks("python") if block.page != "docs/PROTOCOL.md"]
# Where the type of the event stands among the arguments of what publishes one.
TYPE_ARGUMENT = {
    "publish": 1,
    "publish_channel": 1,
    "Outgoing": 1,
    "send_to_user": 2,
    "send_to_role": 2,
    "send_to_connection": 2,
    "broadcast": 1,
}


@dataclass(slots=True)
class Scene:
    """An edge, its Redis, and a client beside the snippet that notes what arrives."""

    edge: EdgeProcess
    redis: RedisServer
    client_id: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    shown: list[object] = field(default_factory=list)

    def adapted(self, text: str) -> str:
        """Return *text* with the addresses of this scene in the place of the usual ones."""
        text = text.replace("redis://localhost:6379/0", self.redis.url)
        return re.sub(r"wss?://[\w.]+(:\d+)?/ws", self.edge.url, text)

    def names(self) -> dict[str, Any]:
        """Return what the text around the snippets takes for granted."""

        async def reload_orders() -> None:
            self.shown.append("gap")

        return {
            "reload_orders": reload_orders,
            "get_token": lambda: make_token(**CLAIMS),
            "token": make_token(**CLAIMS),
            "client_id": self.client_id,
            "orders": [{"id": str(number)} for number in range(3)],
            "print": lambda *values: self.shown.extend(values),
        }

    def arrived(self) -> set[str]:
        """Return the types of the events that the client beside has got."""
        return {frame["type"] for frame in self.seen}


@asynccontextmanager
async def _client(scene: Scene) -> AsyncIterator[None]:
    headers = {"Authorization": f"Bearer {make_token(**CLAIMS)}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(scene.edge.url, headers=headers) as client,
        asyncio.TaskGroup() as tasks,
    ):
        scene.client_id = (await client.receive_json(timeout=5))["payload"]["clientId"]
        await client.send_json({"type": "subscribe", "channel": PATTERN})
        assert (await client.receive_json(timeout=5))["type"] == "subscribed"

        async def note() -> None:
            async for message in client:
                scene.seen.append(message.json())

        noting = tasks.create_task(note())
        yield
        noting.cancel()


@pytest.fixture
async def scene(redis_server: RedisServer) -> AsyncIterator[Scene]:
    """The usual installation: default prefix, one edge."""
    async with EdgeProcess(redis_server.url) as edge:
        yield Scene(edge, redis_server)


def _as_function(source: str, names: dict[str, Any]) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return *source*, which may await at its top, as a function over *names*."""
    body = textwrap.indent(source, "    ")
    exec(compile(f"async def snippet():\n{body}", "<snippet>", "exec"), names)  # ours, from the documents
    snippet: Callable[[], Coroutine[Any, Any, None]] = names["snippet"]
    return snippet


async def _publish_until(redis: RedisServer, is_done: Callable[[], bool]) -> None:
    async with Publisher.from_url(redis.url) as publisher:

        async def published() -> bool:
            order = {"status": "shipped"}
            await publisher.publish(
                "orders", "order.updated", order, tenant="acme", resource=("orders", "42")
            )
            return is_done()

        await eventually(published, 10, "the snippet shows an event")


async def listen(scene: Scene, block: Block) -> None:
    """The snippet shows events that are published while it runs, and can be cancelled."""
    snippet = _as_function(scene.adapted(block.text), scene.names())
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(snippet())
        await _publish_until(scene.redis, lambda: bool(scene.shown) or running.done())
        running.cancel()
    assert any("order.updated" in repr(value) for value in scene.shown), scene.shown


async def publish(scene: Scene, block: Block) -> None:
    """Every event that the snippet publishes arrives at a client that may read it."""
    types = set(_published_types(ast.parse(block.text)))
    if not types:
        await order(scene, block)
        return
    async with _client(scene):
        async with asyncio.timeout(10):
            await _as_function(scene.adapted(block.text), scene.names())()
        await eventually(lambda: types <= scene.arrived(), 10, f"{types} arrive")


async def order(scene: Scene, block: Block) -> None:
    """Every order that the snippet gives reaches the edge."""
    given = len(re.findall(r"publisher\.(?:revoke|disconnect)\(", block.text))
    assert given
    async with asyncio.timeout(10):
        await _as_function(scene.adapted(block.text), scene.names())()

    async def arrived() -> bool:
        found = await scene.edge.metrics()
        series = [f'fanwire_orders_total{{operation="{name}"}}' for name in ("revoke", "disconnect")]
        return sum(found[name] for name in series) == given

    await eventually(arrived, 10, f"{given} orders at the edge")


def _published_types(tree: ast.AST) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and (name := _name(call.func)) in TYPE_ARGUMENT:
            argument = call.args[TYPE_ARGUMENT[name]]
            assert isinstance(argument, ast.Constant)
            yield str(argument.value)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


async def show_values(scene: Scene, block: Block) -> None:
    """The value of an expression is the one in the comment behind it."""
    names: dict[str, Any] = {}
    lines = block.text.splitlines()
    checked = 0
    for node in ast.parse(block.text).body:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), str(block), "exec"), names)
            continue
        value = eval(compile(ast.Expression(node.value), str(block), "eval"), names)
        comment = lines[(node.end_lineno or 0) - 1].partition("#")[2]
        assert value == ast.literal_eval(comment.strip()), f"{block}: {ast.unparse(node)}"
        checked += 1
    assert checked


async def compare(scene: Scene, block: Block) -> None:
    """The edge agrees with an API that permits what the token permits, and with no other."""
    await run_in_python(block.text, scene.edge, scene.names())


KINDS = {
    "fanwire_publisher": publish,
    "fanwire_client": listen,
    "fanwire_protocol": show_values,
    "fanwire_parity": compare,
}


@pytest.mark.parametrize("block", RUN, ids=str)
async def test_python_does_what_the_text_says(block: Block, scene: Scene) -> None:
    """A snippet publishes, listens or shows values; one that does nothing of it fails here."""
    found = [run for package, run in KINDS.items() if f"from {package} import" in block.text]
    assert len(found) == 1, f"{block}: say in KINDS how it is run"
    await found[0](scene, block)


@pytest.mark.parametrize("block", blocks("js"), ids=str)
async def test_javascript_listens(block: Block, scene: Scene) -> None:
    """The URL, the subprotocols and the message of the snippet, spoken by another client, bring events."""
    text = scene.adapted(block.text)
    opened = re.search(r'new WebSocket\("([^"]+)", \["(\w+)", token\]\)', text)
    message = re.search(r"send\(JSON\.stringify\((\{.*?\})\)\)", text)
    assert opened is not None
    assert message is not None
    command = json.loads(re.sub(r"(\w+): ", r'"\1": ', message[1]))
    # aiohttp would refuse to offer the token, so the header is written by hand.
    headers = {"Sec-WebSocket-Protocol": f"{opened[2]}, {make_token(**CLAIMS)}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(opened[1], headers=headers) as client,
    ):
        await client.send_json(command)
        got = [(await client.receive_json(timeout=5))["type"] for _ in range(2)]
        await _publish_until(scene.redis, lambda: True)
        got.append((await client.receive_json(timeout=5))["type"])

    assert got == ["connected", "subscribed", "order.updated"]


def test_python_of_the_contract_names_what_there_is_or_what_is_to_come() -> None:
    """Methods that docs/PROTOCOL.md calls exist, or its table of what is to come names them."""
    contract = page("docs/PROTOCOL.md")
    (to_come,) = re.findall(r"^\| §8 \| [^|]+ \| ([^|]+) \|$", contract.text, re.MULTILINE)
    called = {
        _name(call.func)
        for block in contract.blocks
        if block.language == "python" and "fanwire_publisher" in block.text
        for call in ast.walk(ast.parse(block.text))
        if isinstance(call, ast.Call)
    }
    missing = {name for name in called - {"Publisher"} if not hasattr(Publisher, name)}
    assert called >= set(TYPE_ARGUMENT) - {"Outgoing"}
    assert missing == set(re.findall(r"`(\w+)`", to_come)) - {"SyncPublisher"}
