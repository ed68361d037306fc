"""One event of the audit log is one line of JSON in ASCII, whatever a peer sent."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.audit import MAX_LINE_BYTES, AuditRecord, line_of
from tests.docs.pages import page

DENIED = AuditRecord(
    1_772_143_200.1234,
    "denied",
    client_id="c-1",
    user="u-1",
    tenant="acme",
    session="s-1",
    ip="192.0.2.7",
    origin="https://app.example.com",
    where="subscribe",
    channel="tenant:acme:resource:orders:42",
    code="forbidden",
    reason="no claim of the token permits it",
)
TEXTS = [field.name for field in fields(AuditRecord) if field.name not in ("time", "event", "count")]


def test_a_line_holds_all_that_is_known() -> None:
    """In a fixed order, the time in UTC with milliseconds."""
    assert line_of(DENIED) == (
        b'{"time":"2026-02-26T22:00:00.123Z","event":"denied","client_id":"c-1","user":"u-1",'
        b'"tenant":"acme","session":"s-1","ip":"192.0.2.7","origin":"https://app.example.com",'
        b'"where":"subscribe","channel":"tenant:acme:resource:orders:42","code":"forbidden",'
        b'"reason":"no claim of the token permits it"}\n'
    )


def test_what_is_not_known_is_null_and_what_cannot_be_is_left_out() -> None:
    """Only a refusal has a place and a channel, only a count a number."""
    assert line_of(AuditRecord(0.0, "closed", client_id="c-1", code=1000)) == (
        b'{"time":"1970-01-01T00:00:00.000Z","event":"closed","client_id":"c-1","user":null,'
        b'"tenant":null,"session":null,"ip":null,"origin":null,"code":1000,"reason":null}\n'
    )
    assert json.loads(line_of(AuditRecord(0.0, "lost", count=7)))["count"] == 7


def test_the_line_of_the_guide_is_one_of_ours() -> None:
    """To the byte."""
    (block,) = [each for each in page("docs/guides/security.md").blocks if each.language == "json"]
    shown = json.loads(block.text)
    time = datetime.fromisoformat(shown.pop("time")).timestamp()

    assert line_of(AuditRecord(time=time, **shown)).decode() == block.text


NASTY = [
    ("an end of line", "a\r\nb", "a\r\nb"),
    ("colours", "\x1b[31mred", "\x1b[31mred"),
    ("an override of direction", "x\u202ey", "x\u202ey"),
    ("ends of line of JavaScript", "x\u2028y\u2029z", "x\u2028y\u2029z"),
    ("a zero and a delete", "\0\x7f", "\0\x7f"),
    ("beyond the first plane", "😀", "😀"),
    ("half of a pair", "x\ud800y", "x\\ud800y"),
    ("bytes that are no text", b"\xff".decode("utf-8", "surrogateescape"), "\\udcff"),
    ("JSON", '","event":"opened', '","event":"opened'),
]


@pytest.mark.parametrize(("text", "read"), [row[1:] for row in NASTY], ids=[row[0] for row in NASTY])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_begins_no_line_and_comes_back_as_it_was(name: str, text: str, read: str) -> None:
    """All but halves of surrogate pairs, which JSON's readers refuse: those are spelled out."""
    line = line_of(replace(DENIED, **{name: text}))  # type: ignore[arg-type]

    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert json.loads(line)[name] == read


@pytest.mark.parametrize("letter", ["x", "ä", "😀", "\0", "\ud800", '"'])
def test_a_long_text_is_cut(letter: str) -> None:
    """A name of 100 KB leaves room for the others, and shows that it goes on."""
    line = line_of(replace(DENIED, channel=letter * 100_000))

    assert len(line) < MAX_LINE_BYTES / 2
    shown = json.loads(line)["channel"]
    assert shown.endswith("…")
    assert len(shown) > 60


@pytest.mark.parametrize(("size", "is_cut"), [(254, False), (255, True), (256, True), (257, True)])
def test_what_fits_is_not_cut(size: int, is_cut: bool) -> None:
    """Quotes count: 256 bytes is all that a text takes."""
    shown = json.loads(line_of(replace(DENIED, user="x" * size)))["user"]

    assert shown == ("x" * (len(shown) - 1) + "…" if is_cut else "x" * size)
    assert len(shown) >= 240


@given(st.dictionaries(st.sampled_from(TEXTS), st.text(st.characters(), max_size=2000)))
def test_any_record_is_one_short_line(texts: dict[str, str]) -> None:
    """Whatever stands in all of its fields."""
    line = line_of(replace(DENIED, count=10**12, **texts))  # type: ignore[arg-type]

    assert len(line) <= MAX_LINE_BYTES
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert set(json.loads(line)) >= {"time", "event", *texts}


def test_the_longest_record_is_one_short_line() -> None:
    """All fields beyond their limits, of what takes most room."""
    line = line_of(replace(DENIED, count=10**12, event="e" * 500, **dict.fromkeys(TEXTS, "😀" * 5000)))  # type: ignore[arg-type]

    assert len(line) <= MAX_LINE_BYTES
