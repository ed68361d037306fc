"""The configuration guide and the table of bounds are the code's own settings, metrics and limits."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.web_protocol import RequestHandler
from prometheus_client.parser import text_string_to_metric_families

from fanwire_edge import reception
from fanwire_edge.audit import MAX_WAITING_BYTES, MAX_WAITING_LINES
from fanwire_edge.broadcaster import SECOND_READ_WRITES
from fanwire_edge.config import load
from fanwire_edge.core.denials import LINES_EACH
from fanwire_edge.core.fanout import BATCH_BYTES
from fanwire_edge.core.revocations import MAX_BANS
from fanwire_edge.edge import DeliveryLimits
from fanwire_edge.entrypoints import load_entrypoints
from fanwire_edge.settings import Settings
from fanwire_protocol.commands import MAX_COMMAND_BYTES
from fanwire_protocol.settings import SettingError
from tests.docs.pages import Block, blocks, page
from tests.kit.edges import EdgeProcess
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import SECRET, make_token
from tests.kit.wait import eventually

GUIDE = page("docs/guides/configuration.md")
BOUNDS = page("docs/ARCHITECTURE.md").section("What is bounded")
UNITS = {"": 1, "KB": 1024, "MB": 1024 * 1024}


def _defaults(schema: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting below *schema* by its dotted name, with its default."""
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _defaults(hints[field.name], f"{path}{field.name}.")
        else:
            yield path + field.name, field.default


def _shown(default: Any) -> str:
    """Return how the guide writes a default: empty where there is none."""
    match default:
        case None | ():
            return ""
        case str():
            return f"`{default}`"
        case _:
            return f"`{json.dumps(default)}`"


def test_guide_has_every_setting_with_its_default_and_no_other() -> None:
    """The table of settings is the schema, in its order."""
    rows = re.findall(r"^\| `([\w.]+)` \| +(.*?) *\| [^|]+ \|$", GUIDE.section("Settings"), re.MULTILINE)
    rows = [(name, default.strip()) for name, default in rows]
    assert rows == [(name, _shown(default)) for name, default in _defaults(Settings)]


def test_other_pages_name_settings_that_exist() -> None:
    """A setting in backticks on the pages about the edge is one of the schema."""
    names = {name for name, _ in _defaults(Settings)}
    sections = "|".join(field.name for field in dataclasses.fields(Settings))
    for name in ("docs/ARCHITECTURE.md", "deploy/README.md", "services/edge/README.md"):
        named = re.findall(rf"`((?:{sections})\.\w+(?:\.\w+)?)`", page(name).text)
        assert {text for text in named if not text.endswith(".py")} <= names, name


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_example_loads(block: Block, tmp_path: Path) -> None:
    """An edge would start with it, once the file of the key is there, and a key if it has none."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    text = re.sub(r'(?<=secret_file = ")[^"]+', str(secret), block.text)
    file = tmp_path / "example.toml"
    file.write_text(text)
    given = tomllib.loads(text)
    if "entrypoint" in given:
        assert len(load_entrypoints(str(file), "/ws").paths) > 1
        return
    has_key = "jwt" in given.get("auth", {})

    settings = load({"config": str(file)}, {} if has_key else {"FANWIRE_AUTH__JWT__SECRET": SECRET})

    _assert_taken(settings, given)


def _assert_taken(section: Any, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        match value:
            case dict():
                _assert_taken(getattr(section, name), value)
            case list():
                assert getattr(section, name) == tuple(value)
            case _ if name == "secret_file":
                assert section.secret == SECRET
            case _:
                assert getattr(section, name) == value


def test_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    """The order that the guide's first sentence promises."""
    file = tmp_path / "edge.toml"
    file.write_text("[edge]\nport = 1001\nops_port = 1002\nmax_connections = 1003\n")
    environment = {
        "FANWIRE_EDGE__PORT": "2001",
        "FANWIRE_EDGE__OPS_PORT": "2002",
        "FANWIRE_AUTH__JWT__SECRET": SECRET,
        "FANWIRE_AUTH__SOURCES": '["authorization"]',
    }
    settings = load({"config": str(file), "port": 3001}, environment)

    edge = settings.edge
    assert (edge.port, edge.ops_port, edge.max_connections) == (3001, 2002, 1003)
    assert settings.auth.sources == ("authorization",)


@pytest.mark.parametrize(
    ("variable", "text"),
    [("FANWIRE_EDGE__PORT", "http"), ("FANWIRE_EDGE__PROT", "8080"), ("FANWIRE_EGDE__PORT", "8080")],
)
def test_wrong_settings_stop_the_start_with_one_line(variable: str, text: str) -> None:
    """What cannot work, and what does not exist, is named."""
    with pytest.raises(SettingError, match=variable) as caught:
        load({}, {variable: text, "FANWIRE_AUTH__JWT__SECRET": SECRET})
    assert "\n" not in str(caught.value)


def _documented_metrics() -> dict[str, frozenset[str]]:
    """Return the metrics of the guide's table with their labels."""
    table = re.findall(r"^\| (`fanwire_.*?) \|", GUIDE.section("Metrics"), re.MULTILINE)
    found = re.findall(r"`(fanwire_\w+)(?:\{(\w+)\})?`", " ".join(table))
    return {name: frozenset(label.split()) for name, label in found}


async def test_metrics_of_the_guide_are_those_of_an_edge(redis_server: RedisServer) -> None:
    """After a refusal, a mistake, a resume, an end and a gap, names and labels are the table's."""
    async with EdgeProcess(redis_server.url) as edge, aiohttp.ClientSession() as session:
        async with session.get(f"{edge.public_url}/ws") as refused:
            assert refused.status == 426
        headers = {"Authorization": f"Bearer {make_token()}"}
        async with session.ws_connect(edge.url, headers=headers) as client:
            await client.send_str("no JSON")
            unknown = '"since": "direct@1-0~00000000"'
            await client.send_str(f'{{"type": "subscribe", "channel": "tenant:acme:all", {unknown}}}')
            await eventually(lambda: edge.metric('fanwire_resumes_total{result="partial"}'))
        edge.pause()
        for _ in range(3):
            redis_server.execute("XADD", "fanwire:direct:0", "*", "e", "x")
        redis_server.execute("XTRIM", "fanwire:direct:0", "MAXLEN", 0)
        edge.resume()
        await eventually(lambda: edge.metric('fanwire_gaps_total{reason="trimmed"}'))
        await eventually(lambda: edge.metric('fanwire_connections_closed_total{reason="normal"}'))
        async with session.get(f"{edge.ops_url}/metrics") as answer:
            families = list(text_string_to_metric_families(await answer.text()))

    shown = {
        f"{family.name}_total" if family.type == "counter" else family.name: frozenset(
            label for sample in family.samples for label in sample.labels if label != "le"
        )
        for family in families
    }
    assert shown == _documented_metrics()


async def test_health_answers_as_the_guide_says(redis_server: RedisServer) -> None:
    """Both ports have /healthz; /readyz follows the broker, and the edge outlives it."""
    async with EdgeProcess(redis_server.url) as edge:
        for base in (edge.public_url, edge.ops_url):
            await edge.process.wait_for_http(f"{base}/healthz", 200)
        await edge.process.wait_for_http(f"{edge.public_url}/readyz", 404)
        redis_server.kill()
        await edge.process.wait_for_http(f"{edge.ops_url}/readyz", 503)
        await edge.process.wait_for_output("broker_lost")
        redis_server.start()
        await edge.process.wait_for_http(f"{edge.ops_url}/readyz", 200)


def _number(text: str) -> float:
    number, unit = re.fullmatch(r"([\d,.]+) ?(\w*)", text).groups()  # type: ignore[union-attr]
    return float(number.replace(",", "")) * UNITS[unit]


def test_bounds_name_the_settings_and_their_defaults() -> None:
    """`setting` (number) in the table of bounds is a setting with this default."""
    defaults = dict(_defaults(Settings))
    named = re.findall(r"`(\w+\.\w+)` \(([^)]+)\)", BOUNDS)
    assert len(named) >= 7
    assert BOUNDS.count("`") == 2 * len(named) + BOUNDS.count("`limit_exceeded`") * 2
    for name, text in named:
        assert _number(text) == defaults[name], name


HEADER_BYTES = inspect.signature(RequestHandler).parameters["max_line_size"].default


@pytest.mark.parametrize(
    ("row", "bound"),
    [
        ("a command", f"{MAX_COMMAND_BYTES:,} bytes"),
        ("commands waiting on a connection", f"{reception.MAX_WAITING}"),
        ("revocations in force", f"{MAX_BANS:,} users"),
        ("a batch", f"{BATCH_BYTES // 1024} KB of frames"),
        ("lines of the audit log that wait", f"{MAX_WAITING_LINES:,}, {MAX_WAITING_BYTES // UNITS['MB']} MB"),
        ("refusals in the audit log", f"{LINES_EACH} lines a minute"),
        ("request headers", f"{Settings().edge.upgrade_seconds:g} s, {HEADER_BYTES:,} bytes a line"),
        ("how far behind", f"then abort after {DeliveryLimits(1, 1, 1).close_seconds:g} s"),
    ],
)
def test_bounds_without_a_setting_are_the_codes_own(row: str, bound: str) -> None:
    """Numbers that nobody configures stand in the table as they stand in the code."""
    (line,) = re.findall(rf"^\| {re.escape(row)} \|.*$", BOUNDS, re.MULTILINE)
    assert re.search(rf"(?<![\d,]){re.escape(bound)}(?![\d,])", line), line


def test_second_read_is_worth_as_many_writes_as_the_page_says() -> None:
    """Step 4 of "One event" has the broadcaster's number."""
    assert f"more than {SECOND_READ_WRITES} writes" in page("docs/ARCHITECTURE.md").section("One event")
