"""Modules, files and names that the architecture page and the decisions speak of exist."""

from __future__ import annotations

import importlib
import re
import tomllib

import pytest

from tests.docs.pages import PAGES, ROOT, Page, page

EDGE = ROOT / "services" / "edge" / "fanwire_edge"
SPEAKING = [
    each
    for each in PAGES
    if each.name in ("docs/ARCHITECTURE.md", "services/edge/README.md") or each.name.startswith("docs/adr/")
]
SOURCES = [
    file.read_text(encoding="utf-8")
    for folder in ("libs", "services")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
_PATH = re.compile(r"(?:libs|services|tests|docs|deploy)/[\w./-]+|[\w/]+\.py")


@pytest.mark.parametrize("where", SPEAKING, ids=lambda where: where.name)
def test_modules_exist(where: Page) -> None:
    """`core/follower` is a module of the edge, in pictures too."""
    for name in re.findall(r"(?<![\w/])(?:core|adapters)/\w+", where.text):
        assert (EDGE / f"{name}.py").is_file(), f"{where.name} speaks of {name}"


@pytest.mark.parametrize("where", SPEAKING, ids=lambda where: where.name)
def test_paths_exist(where: Page) -> None:
    """A path in backticks is one below the root, or a file of the edge."""
    for text in filter(_PATH.fullmatch, where.inline):
        assert any((base / text).exists() for base in (ROOT, EDGE)), f"{where.name} speaks of {text}"


@pytest.mark.parametrize("where", SPEAKING, ids=lambda where: where.name)
def test_names_of_the_code_exist(where: Page) -> None:
    """`Class.member` is in the code, `package.module.Name` can be imported, `a_name` is a word of it."""
    for text in where.inline:
        if text.startswith("aiohttp."):
            module, _, name = text.rpartition(".")
            assert hasattr(importlib.import_module(module), name), text
        elif found := re.fullmatch(r"([A-Z]\w+)\.(\w+)", text):
            _check_member(where, *found.groups())
        elif re.fullmatch(r"\w+_\w+", text):
            assert any(re.search(rf"\b{text}\b", source) for source in SOURCES), f"{where.name}: {text}"


def _check_member(where: Page, owner: str, member: str) -> None:
    if owner == "RequestHandler":
        source = "\n".join(text for text in SOURCES if "aiohttp" in text)
        assert member in source, f"{where.name}: {owner}.{member}"
        return
    classes = [text for text in SOURCES if re.search(rf"^class {owner}\b", text, re.MULTILINE)]
    found = any(re.search(rf"\bdef {member}\b|\bself\.{member}\b", text) for text in classes)
    assert found, f"{where.name}: {owner}.{member}"


def test_adapters_of_the_table_are_those_there_are() -> None:
    """The row of the adapters names each of them, and no other."""
    row = re.search(r"adapters` \| ([^|]+) \|", page("docs/ARCHITECTURE.md").text)
    assert row is not None
    named = {name.lower().partition(" ")[0] for name in row[1].split(", ")}
    there = {file.stem.partition("_")[0] for file in (EDGE / "adapters").glob("[a-z]*.py")}
    assert named == there


def test_rooms_of_the_edge_are_those_there_are() -> None:
    """The table in the edge's README names each module beside core and adapters, and no other."""
    rows = re.findall(r"^\| (`\w.*?) \|", page("services/edge/README.md").section("Rooms"), re.MULTILINE)
    named = re.findall(r"`([\w.]+)/?`", " ".join(rows))
    there = {
        file.name for file in EDGE.iterdir() if re.match(r"[a-z]", file.name) and file.suffix != ".typed"
    }
    assert sorted(named) == sorted(there)


def test_aiohttp_is_pinned_as_the_decision_says() -> None:
    """ADR 0001 and the package give the same range."""
    project = tomllib.loads((EDGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pinned,) = [each for each in project["dependencies"] if each.startswith("aiohttp")]
    assert f"`{pinned.removeprefix('aiohttp')}`" in page("docs/adr/0001-takeover-of-the-transport.md").text
