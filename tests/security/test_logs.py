"""What peers send does not write in our logs, and makes no metrics. S37 and S38."""

from __future__ import annotations

import json
import os
import random
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fanwire_protocol.codes import CloseCode
from tests.edge.running import RunningEdge, running_edge, stop
from tests.edge.wire import CLOSE, Wire, upgrade_request
from tests.kit.redis_server import SharedRedis
from tests.kit.wait import eventually

LONG = "FANWIRE_TEST_LONG" in os.environ
STRANGERS = 10_000 if LONG else 300
# Another line, one in red, one written backwards, JSON that ends ours: each with a word to find it by.
INJECTIONS = [
    "x\r\nforged 2026-01-01T00:00:00.000+00:00 INFO edge_owned",
    "x\x1b[31mforged\x1b[0m\x07\x08",
    "x\u202edegrof forged\u2028forged\u0085forged",
    'x","event":"opened","forged":"',
    "x\0forged\x7f\x9b31m",
    "forged" * 20_000,
]
IDS = ["a line", "colours", "directions", "JSON", "zeros", "120 KB"]
# What a line of text looks like: behind the event come fields, each of which is JSON. Libraries' own lines,
# which only DEBUG shows, have a sentence instead.
TEXT_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 "
    r"(DEBUG   .*|(DEBUG  |INFO   |WARNING|ERROR  ) [a-z_]+( [a-z_]+=.*)?)"
)


def _latin(text: str) -> str:
    """Return *text* as it can stand in a header: its UTF-8 without control characters, at most 4 KB."""
    return re.sub("[\\x00-\\x1f\\x7f]", "", text)[:2000].encode().decode("latin-1")


async def _attack(edge: RunningEdge, text: str) -> None:
    """Put *text* wherever a peer may put something: before the door, in tokens, in commands, at the end."""
    # A token has to fit into a header.
    short = text[:500]
    token = f"Authorization: Bearer {edge.token()}"
    headers = [f"User-Agent: {_latin(text)}", f"Origin: {_latin(text)}", f"X-Forwarded-For: {_latin(text)}"]
    for claims in ({"sub": short}, {"tenant": short}, {"iss": short, "sub": None}):
        async with await edge.dial() as wire:
            bad = f"Authorization: Bearer {edge.token(**{'tenant': 'acme', **claims})}"
            assert (await wire.ask(upgrade_request(bad, *headers))).status == 401
    async with await edge.dial() as wire:
        # As it is: no HTTP, or the end of it and a little more.
        raw = upgrade_request(f"User-Agent: {text[:1000].encode().decode('latin-1')}")
        assert (await wire.ask(raw)).status in (400, 401)
    for query in (f"since={quote(short)}", f"client={quote(short)}&reject={quote(short)}"):
        async with await edge.dial() as wire:
            await wire.ask(upgrade_request(token, *headers, path=f"/ws?{query}"))
    async with await edge.dial() as wire:
        roles = f"Authorization: Bearer {edge.token(roles=[short], jti=short, channels=[short])}"
        await wire.open(roles, *headers)
        for command in ({"type": "subscribe"}, {"type": "unsubscribe"}, {"type": "presence"}):
            wire.send({**command, "channel": short})
            assert (await wire.message())["type"] == "error"
        wire.send({"type": short}, {"type": "subscribe", "channel": "tenant:globex:resource:orders:1"})
        await wire.messages(2)
        reason = text.encode()[:120].decode(errors="ignore").encode()
        wire.send_frame((4321).to_bytes(2, "big") + reason, CLOSE)
        await wire.closing()


def _assert_ours(line: str, *, is_json: bool) -> None:
    """Check that a line of the log is one that we wrote, in ASCII."""
    assert all(" " <= letter <= "~" for letter in line), ascii(line)
    if is_json:
        found = json.loads(line)
        assert {"time", "level", "event"} <= found.keys()
        assert found["level"] == "DEBUG" or re.fullmatch("[a-z_]+", found["event"]), line
        assert "forged" not in found
    else:
        assert TEXT_LINE.fullmatch(line), line


@pytest.mark.parametrize("is_json", [False, True], ids=["text", "json"])
async def test_s37_nothing_that_a_peer_sends_writes_a_line(
    shared_redis: SharedRedis, tmp_path: Path, is_json: bool
) -> None:
    """Whatever stands in a claim, a header, the query, a channel or a close reason: every line of the log is
    ours, and the audit log has one line for each event."""
    path = tmp_path / "audit.jsonl"
    settings: dict[str, Any] = {
        "AUDIT__TARGET": "file",
        "AUDIT__PATH": str(path),
        "EDGE__TRUSTED_PROXIES": '["127.0.0.1"]',
    }
    async with running_edge(
        shared_redis, LOGGING__JSON=str(is_json).lower(), LOGGING__LEVEL="DEBUG", **settings
    ) as edge:
        for text in INJECTIONS:
            await _attack(edge, text)
        await eventually(lambda: _count(path, "closed") == _count(path, "opened") >= len(INJECTIONS))
        assert await stop(edge) == 0
        output = edge.process.output
    lines = output.splitlines()
    assert len(lines) == output.count("\n") > 5 * len(INJECTIONS)
    for line in lines:
        _assert_ours(line, is_json=is_json)

    audit = path.read_bytes()
    records = [json.loads(line) for line in audit.splitlines()]
    assert len(records) == audit.count(b"\n")
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in audit)
    assert {record["event"] for record in records} == {"opened", "closed", "denied"}
    assert all("forged" not in record for record in records)
    opened = [record["client_id"] for record in records if record["event"] == "opened"]
    assert len(opened) == len(set(opened))
    denied = [record for record in records if record["event"] == "denied"]
    assert sum(record.get("count") or record["code"] == "forbidden" for record in denied) >= len(INJECTIONS)


def _count(path: Path, event: str) -> int:
    return path.read_text().count(f'"event":"{event}"') if path.exists() else 0


async def test_s37_a_name_of_100_kb_is_cut_in_the_audit_log(
    shared_redis: SharedRedis, tmp_path: Path
) -> None:
    """A header may be 8 KB, a line has at most 4."""
    path = tmp_path / "audit.jsonl"
    async with (
        running_edge(shared_redis, AUDIT__TARGET="file", AUDIT__PATH=str(path)) as edge,
        await edge.dial() as wire,
    ):
        answer = await wire.ask(upgrade_request(f"Origin: https://{'a' * 8000}", "Authorization: Bearer x"))
        assert answer.status == 401
        await eventually(lambda: _count(path, "denied") == 1)
    (line,) = path.read_bytes().splitlines()

    assert len(line) < 1000
    assert json.loads(line)["origin"].endswith("…")


def _series(families: Mapping[str, Mapping[Any, float]]) -> set[tuple[str, Any]]:
    return {(name, labels) for name, samples in families.items() for labels in samples}


def _word() -> str:
    return "".join(random.choices(string.ascii_lowercase, k=12))


async def _visit(edge: RunningEdge, code: int) -> None:
    """Come as a tenant that nobody knows, ask for channels that nobody knows, leave with any code."""
    tenant = _word()
    async with await edge.dial() as wire:
        token = edge.token(tenant, sub=_word(), roles=[_word()], channels=[f"tenant:{tenant}:resource:*"])
        lines = (f"Authorization: Bearer {token}", f"User-Agent: {_word()}", f"Origin: https://{_word()}.com")
        await wire.open(*lines)
        await _ask(wire, tenant)
        wire.send_frame(code.to_bytes(2, "big") + _word().encode(), CLOSE)
        await wire.closing()


async def _ask(wire: Wire, tenant: str) -> None:
    channels = [f"tenant:{tenant}:resource:{_word()}:{_word()}", f"tenant:{_word()}:all", _word()]
    wire.send({"type": "subscribe", "channels": channels}, {"type": _word()})
    await wire.messages(4)


async def test_s38_strangers_make_no_metrics(shared_redis: SharedRedis) -> None:
    """As many series after thousands of tenants, users, channels, pages, programs and close codes as after a
    few: labels are ours."""
    random.seed(38)
    async with running_edge(shared_redis, EDGE__ADMISSION_PER_SECOND="100000") as edge:
        # A peer may send our own codes, too; all others are one.
        codes = [*map(int, CloseCode), 1001, 1005, 3000, 4000, 4999]
        for code in codes:
            await _visit(edge, code)
        async with await edge.dial() as wire:
            await wire.ask(upgrade_request("Authorization: Bearer x"))
        before = _series(await edge.families())
        for number in range(STRANGERS):
            await _visit(edge, random.choice(codes) if number % 2 else random.randrange(3000, 5000))
            if number % 10 == 0:
                async with await edge.dial() as wire:
                    await wire.ask(upgrade_request(f"Authorization: Bearer {_word()}"))
        await eventually(lambda: _is_empty(edge))
        after = _series(await edge.families())

    assert after == before


async def _is_empty(edge: RunningEdge) -> bool:
    return await edge.metric("connections_active") == 0
