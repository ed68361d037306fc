"""The Autobahn test suite's groups 1 to 7, as a table of our own, against a real edge (RFC 6455).

docs/guides/websocket.md lists the cases that an edge answers otherwise than the suite asks for, and why.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fanwire_protocol.codes import ErrorCode
from tests.edge.autobahn.case import HEAR, Case, Heard, chopped, close, command, frame, said
from tests.edge.autobahn.closing import CLOSES
from tests.edge.autobahn.framing import FRAGMENTS, OPCODES, PINGS, RESERVED_BITS, SIZES
from tests.edge.autobahn.text import TEXTS
from tests.edge.running import RunningEdge
from tests.edge.wire import CLOSE, PING, PONG, TEXT, Wire

CASES: list[Case] = [*SIZES, *PINGS, *RESERVED_BITS, *OPCODES, *FRAGMENTS, *TEXTS, *CLOSES]
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "websocket.md"
# How many cases each group of the suite has.
COUNTS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_the_edge_answers_a_case_of_the_suite(edge: RunningEdge, case: Case) -> None:
    """With a text repeated, a PONG or an error, in order; then with the code of a CLOSE, the last frame."""
    await _run(edge, case)


# What the suite does not ask for.
UNMASKED = frame(command("x"), masked=False)
BEGIN, END = frame("", fin=False), frame("", 0)
FURTHER = [
    Case("an unmasked text", [UNMASKED], code=1002),
    Case("an unmasked text in pieces", chopped(UNMASKED), code=1002),
    Case("an unmasked PING", [frame("x", PING, masked=False)], code=1002),
    Case("an unmasked empty PING", [frame("", PING, masked=False)], code=1002),
    Case("an unmasked CLOSE", [frame(b"\x03\xe8", CLOSE, masked=False)], code=1002),
    Case("an unmasked frame behind another", [said("y") + UNMASKED], ["y"], 1002),
    Case("an unmasked fragment", [frame("{", fin=False) + frame("}", 0, masked=False)], code=1002),
    Case("a message behind an empty begin", [BEGIN + said("x")], code=1002),
    Case("a begin behind an empty begin", [BEGIN * 2], code=1002),
    Case("an end behind an end", [BEGIN + END * 2], [ErrorCode.INVALID_JSON], 1002),
    Case(
        "a PING behind an empty begin",
        [BEGIN + frame("y", PING) + END + close()],
        [b"y", ErrorCode.INVALID_JSON],
    ),
]


@pytest.mark.parametrize("case", FURTHER, ids=lambda case: case.id)
async def test_the_edge_is_strict_where_the_suite_does_not_look(edge: RunningEdge, case: Case) -> None:
    """RFC 6455 section 5.1: a frame that is not masked ends the connection; 5.4: messages do not overlap."""
    await _run(edge, case)


def test_the_table_is_complete_and_its_deviations_are_the_page_s() -> None:
    """Every case once, and each that deviates in a row of the page with the reason."""
    ids = [case.id for case in CASES]
    rows = re.findall(r"^\| (`\d+\.[^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = [id_ for row in rows for id_ in re.findall(r"`([\d.]+)`", row)]

    assert len(set(ids)) == len(ids)
    assert Counter(id_.partition(".")[0] for id_ in ids) == COUNTS
    assert listed == [case.id for case in CASES if case.deviates]


async def _run(edge: RunningEdge, case: Case) -> None:
    async with edge.client() as client:
        heard: list[Heard] = []
        for step in case.steps:
            if step is HEAR:
                heard.append(_heard(await client.frame()))
            else:
                client.writer.write(step)
                await asyncio.sleep(0)
        heard += await _until_close(client, case.code)

        assert heard == list(case.heard)


async def _until_close(client: Wire, code: int) -> list[Heard]:
    """Return what comes before the CLOSE, which has *code*, without an edge's `disconnect`."""
    heard: list[Heard] = []
    while True:
        opcode, payload = found = await client.frame()
        if opcode == CLOSE:
            break
        heard.append(_heard(found))
    assert int.from_bytes(payload[:2], "big") == code
    if heard and heard[-1] == f"disconnect {code}":
        # It has stopped reading, and waits for the client to leave.
        heard.pop()
    else:
        assert await client.rest() == b""
    return heard


def _heard(found: tuple[int, bytes]) -> Heard:
    opcode, payload = found
    if opcode == PONG:
        return payload
    assert opcode == TEXT

    message: dict[str, Any] = json.loads(payload)
    match message["type"]:
        case "pong":
            reply_to: str | int = message["replyTo"]
            return reply_to
        case "error":
            return ErrorCode(message["payload"]["code"])
    return f"{message['type']} {message['payload']['code']}"
