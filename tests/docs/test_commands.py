"""Every command in the documents does what the text beside it says.

A fenced block of a shell's language must have an entry in RUNS, by its page and first line; one that has
none fails. Commands in backticks and indented lists must exist, with their options.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import aiohttp
import pytest

from fanwire_cli.main import COMMANDS
from tests.cli.commands import fanwire
from tests.docs.pages import PAGES, ROOT, Block, Page, blocks, page
from tests.docs.parity import compare_with_rest
from tests.docs.sandbox import Sandbox
from tests.kit.edges import EdgeProcess
from tests.kit.processes import Process
from tests.kit.redis_server import RedisServer
from tests.kit.tokens import make_token

Run: TypeAlias = Callable[[Sandbox, Block], Awaitable[None]]

SHELL = blocks("sh", "bash", "shell", "console")
TESTED = {"sh", "console", "python", "js", "toml"}
# Looked at by tests/protocol/test_document.py; a picture.
TESTED_ELSEWHERE = {
    "docs/PROTOCOL.md": {"json", "http", "hex"},
    "docs/ARCHITECTURE.md": {""},
    # Lines of Redis, by tests/security/test_broker.py; a line of the audit log, by tests/edge/test_audit.py.
    "docs/guides/security.md": {"", "json"},
    # By the run of its commands, in tests/docs/parity.py.
    "docs/guides/rest-parity.md": {"toml parity", "text"},
}
EVENT = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}  (order|job)\.\w+ ", re.MULTILINE)


@pytest.fixture
def sandbox(tmp_path: Path, redis_server: RedisServer) -> Sandbox:
    """A place to run commands in."""
    return Sandbox(tmp_path, redis_server)


def _block(name: str, first_line: str) -> Block:
    (found,) = [block for block in page(name).blocks if block.first_line.startswith(first_line)]
    return found


async def show_live_events(sandbox: Sandbox, block: Block) -> None:
    """`make run` and `fanwire dev`: URL, token, lines to paste, events; Ctrl-C ends all of it."""
    text = re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE)
    # make itself ends by the signal.
    status = 130 if "make run" in text else 0
    async with sandbox.running(text, "ended; nothing is left running", status) as shell:
        await shell.wait_for(lambda: EVENT.search(shell.output), 30)
        shown = shell.output

    assert f"ws://127.0.0.1:{sandbox.port}/ws" in shown
    for promised in (r"^token +\S{60}", r"^  .*fanwire tail '", r"^  ws = new WebSocket\("):
        assert re.search(promised, shown, re.MULTILINE), promised


async def plan_make(sandbox: Sandbox, block: Block) -> None:
    """A target that is not run here (it would run these tests): it has something to do."""
    assert len(await sandbox.finished(block.text)) > 10


async def set_up(sandbox: Sandbox, block: Block) -> None:
    """After it the shell knows `fanwire`, from `.venv/bin`."""
    shown = await sandbox.finished(f"{block.text}\ncommand -v fanwire\nfanwire --help")
    assert f"{sandbox.folder}/.venv/bin/fanwire" in shown
    assert "usage: fanwire COMMAND" in shown


@asynccontextmanager
async def ready_edge(sandbox: Sandbox, block: Block) -> AsyncIterator[Process]:
    """Run an edge by the commands of *block*; Ctrl-C must end it in order."""
    async with sandbox.running(block.text, "edge_stopped") as shell:
        await shell.wait_for_http(sandbox.ready_url, 200, 20)
        yield shell


async def run_edge(sandbox: Sandbox, block: Block) -> None:
    """It becomes ready, ends with 0, and does not start without the key."""
    async with ready_edge(sandbox, block) as shell:
        assert "broker_reading" in shell.output
    (command,) = [line for line in block.text.splitlines() if line.startswith("fanwire edge")]
    refusal = await sandbox.finished(command, status=2)
    assert "FANWIRE_AUTH__JWT__SECRET" in refusal
    assert refusal.count("\n") == 1


async def watch_and_publish(sandbox: Sandbox, _: Block) -> None:
    """Three terminals: an edge, a watcher without a fault, and a publisher whose event it shows."""
    edge, watch = _block("README.md", "(umask"), _block("README.md", "export FANWIRE_AUTH")
    publish = _block("README.md", "fanwire publish")
    async with ready_edge(sandbox, edge), sandbox.running(watch.text) as watcher:

        async def shown() -> bool:
            # The first one may be earlier than the subscription.
            position = await sandbox.finished(publish.text)
            assert re.fullmatch(r"\d+-\d+~[0-9a-f]{8}\n", position)
            return '"type":"order.updated"' in watcher.output

        await watcher.wait_for(shown, 20)
        lines = [line for line in watcher.output.splitlines() if line.startswith("{")]
        doctor = watcher.output.partition("{")[0]
    assert json.loads(lines[0])["payload"] == {"status": "shipped"}
    assert "handshake" in doctor


async def publish_by_hand(sandbox: Sandbox, block: Block) -> None:
    """The record of the page, added with redis-cli, reaches a subscriber as the frame of the page."""
    found = list(page("docs/PROTOCOL.md").blocks)
    (record,) = [each.text for each in found if each.language == "hex"]
    (sandbox.folder / "record.hex").write_text(record)
    frame = json.loads(found[found.index(block) + 1].text)
    pattern = "tenant:acme:resource:orders:*"
    headers = {"Authorization": f"Bearer {make_token(channels=[pattern])}"}
    async with (
        EdgeProcess(sandbox.redis.url) as edge,
        aiohttp.ClientSession() as session,
        session.ws_connect(edge.url, headers=headers) as client,
    ):
        await client.send_json({"type": "subscribe", "channel": pattern})
        types = [(await client.receive_json(timeout=5))["type"] for _ in range(2)]
        assert types == ["connected", "subscribed"]
        await sandbox.finished(block.text)
        received = await client.receive_json(timeout=10)

    assert received.pop("offset").startswith("orders@")
    frame.pop("offset")
    assert received == frame


async def make_key(sandbox: Sandbox, block: Block) -> None:
    """The file lets an edge start, and the key that was shown, which is not in it, lets its owner in."""
    key = (await sandbox.finished(block.text)).strip()
    written = (sandbox.folder / "keys.toml").read_text()
    assert key not in written
    owner = re.findall(r'^(?:user|tenant) = "(.*)"$', written, re.MULTILINE)
    settings = {"AUTH__SOURCES": '["api_key"]', "AUTH__API_KEY__FILE": str(sandbox.folder / "keys.toml")}
    async with (
        EdgeProcess(
            sandbox.redis.url, **{f"FANWIRE_{name}": value for name, value in settings.items()}
        ) as edge,
        aiohttp.ClientSession() as session,
        session.ws_connect(edge.url, headers={"X-API-Key": key}) as client,
    ):
        payload = (await client.receive_json(timeout=5))["payload"]
    assert [payload["user"], payload["tenant"]] == owner


async def find_tests(sandbox: Sandbox, block: Block) -> None:
    """The tests that the command names are there."""
    assert "test_" in await sandbox.finished(block.text)


RUNS: Mapping[tuple[str, str], Run] = {
    ("README.md", "make run"): show_live_events,
    ("README.md", "make test"): plan_make,
    ("README.md", "make setup"): set_up,
    ("README.md", '(umask 077; openssl rand -hex 32 > "$HOME/fanwire-key")'): run_edge,
    ("README.md", 'export FANWIRE_AUTH__JWT__SECRET_FILE="$HOME/fanwire-key"'): watch_and_publish,
    ("README.md", _block("README.md", "fanwire publish").first_line): watch_and_publish,
    ("docs/PROTOCOL.md", "redis-cli SADD fanwire:topics orders"): publish_by_hand,
    ("docs/guides/security.md", 'key="fw_$(openssl rand -hex 32)"'): make_key,
    ("docs/guides/rest-parity.md", "pip install fanwire-parity"): compare_with_rest,
    ("libs/cli/README.md", _block("libs/cli/README.md", "$ make setup").first_line): show_live_events,
    ("services/edge/README.md", 'export FANWIRE_AUTH__JWT__SECRET="$(openssl rand -hex 32)"'): run_edge,
    ("services/edge/README.md", ".venv/bin/pytest -q tests/edge"): find_tests,
}


@pytest.mark.parametrize("block", SHELL, ids=str)
async def test_commands_of_a_block_do_what_the_text_says(block: Block, sandbox: Sandbox) -> None:
    """Each block of commands is run, in a way that this file knows."""
    run = RUNS.get((block.page, block.first_line))
    assert run is not None, f"{block}: say in RUNS how `{block.first_line}` is run and what it must do"
    await run(sandbox, block)


def test_no_entry_of_the_table_is_out_of_date() -> None:
    """What RUNS knows stands on its page."""
    assert set(RUNS) == {(block.page, block.first_line) for block in SHELL}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_in_languages_that_tests_know(page: Page) -> None:
    """A block in another language would be one that no test looks at."""
    known = TESTED | TESTED_ELSEWHERE.get(page.name, set())
    assert {block.language for block in page.blocks} <= known


def _mentions(*begin: str) -> dict[str, str]:
    """Return the commands in backticks and indented lists that start with *begin*, and where they stand."""
    return {
        text.replace("\\|", "|"): page.name
        for page in PAGES
        for text in page.inline
        if tuple(text.split()[: len(begin)]) == begin and text != " ".join(begin)
    }


def test_make_targets_exist() -> None:
    """`make x` anywhere is a target of the Makefile."""
    targets = {text.split()[1]: where for text, where in _mentions("make").items()}
    assert {"setup", "check", "test", "fmt", "faults", "bench"} <= targets.keys()
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target, where in targets.items():
        assert target in phony[0].split(), f"{where}: make {target}"
        # `-o`: a younger pyproject.toml is no reason to install anything, not even on paper.
        argv = ("make", "-n", "-C", str(ROOT), "-o", ".venv/.ready", target)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"{where}: make {target}: {done.stderr}"


# The contract describes version 1 as a whole and says itself what is not built yet.
TO_COME = re.findall(r"^\| §\d \| [^|]+ \| ([^|]+) \|$", page("docs/PROTOCOL.md").text, re.MULTILINE)
OPTIONS_TO_COME = {"--profile"}


def test_fanwire_commands_and_their_options_exist() -> None:
    """`fanwire x --option` anywhere is a command of the command line, with that option in its help."""
    mentions = _mentions("fanwire")
    assert len(mentions) > 10
    used: dict[str, set[str]] = {}
    for text in mentions:
        name = text.split()[1]
        used.setdefault(name, set()).update(re.findall(r"--[a-z-]+", text))
    for name, options in used.items():
        if name == "COMMAND" or any(f"`fanwire {name}`" in cell for cell in TO_COME):
            continue
        assert name in COMMANDS, mentions
        shown = set(re.findall(r"--[a-z-]+", fanwire(name, "--help").stdout))
        assert options - OPTIONS_TO_COME <= shown, name


def test_every_fanwire_command_is_described() -> None:
    """The changelog, the contract and the README of the command line name all commands."""
    for name in ("CHANGELOG.md", "docs/PROTOCOL.md", "libs/cli/README.md"):
        for command in COMMANDS:
            assert re.search(rf"`{command}`|fanwire {command}\b", page(name).text), f"{name}: {command}"


def test_python_programs_take_the_arguments_shown() -> None:
    """`.venv/bin/python -m x` anywhere names a program of ours, and options of its help."""
    for text, where in _mentions(".venv/bin/python", "-m").items():
        _, _, module, *arguments = shlex.split(text)
        done = subprocess.run(
            (sys.executable, "-m", module, "--help"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, f"{where}: {text}"
        for argument in arguments:
            assert re.search(rf"(?<![\w-]){argument}\b", done.stdout), f"{where}: {text}"
