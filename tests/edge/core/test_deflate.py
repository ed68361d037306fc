"""permessage-deflate without context takeover (RFC 7692)."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanwire_edge.core.deflate import InvalidDeflate, TooLong, deflated, inflated, negotiate

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

OFFERS: list[tuple[str, str | None]] = [
    ("permessage-deflate", AGREED),
    ("permessage-deflate; client_max_window_bits", AGREED),
    ("permessage-deflate;client_max_window_bits=8 ;server_no_context_takeover", AGREED),
    ('permessage-deflate; client_max_window_bits="15"; client_no_context_takeover', AGREED),
    ("permessage-deflate; server_max_window_bits=15", f"{AGREED}; server_max_window_bits=15"),
    # A window that is not ours, then one that is.
    ("permessage-deflate; server_max_window_bits=10, permessage-deflate", AGREED),
    ("x-webkit-deflate-frame, permessage-deflate", AGREED),
    ('other; a="permessage-deflate, b"; c, permessage-deflate', AGREED),
    ("permessage-deflate; server_max_window_bits=10", None),
    ("permessage-deflate; server_max_window_bits", None),
    ("permessage-deflate; server_max_window_bits=015", None),
    ("permessage-deflate; client_max_window_bits=7", None),
    ("permessage-deflate; client_max_window_bits=16", None),
    ("permessage-deflate; server_no_context_takeover=1", None),
    ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
    ("permessage-deflate; unheard_of", None),
    ("permessage-deflate; ", None),
    ("permessage-deflate; =", None),
    ("permessage-deflatex", None),
    ("", None),
    (", ,", None),
    ("permessage-deflate" + " " * 1024, None),
]


@pytest.mark.parametrize(("line", "answer"), OFFERS, ids=[row[0][:60] for row in OFFERS])
def test_what_is_agreed_on_is_without_context_both_ways(line: str, answer: str | None) -> None:
    """The first offer that is valid and leaves us our window; else none, and nothing is compressed."""
    assert negotiate([line]) == answer


def test_offers_may_stand_on_several_lines() -> None:
    """They mean what one joined line means; no line offers nothing."""
    assert negotiate(["other", "permessage-deflate; client_max_window_bits"]) == AGREED
    assert negotiate([]) is None


@given(st.lists(st.text(max_size=60) | st.sampled_from([offer for offer, _ in OFFERS]), max_size=4))
def test_any_offer_is_answered_or_not(lines: list[str]) -> None:
    """Parsing is total."""
    assert negotiate(lines) in (None, AGREED, f"{AGREED}; server_max_window_bits=15")


@given(st.binary(max_size=3000) | st.text(max_size=2000).map(str.encode))
def test_a_message_comes_back(payload: bytes) -> None:
    """Each by itself, without what the flush leaves behind."""
    packed = deflated(payload)

    assert not packed.endswith(b"\x00\x00\xff\xff")
    assert inflated(packed, len(payload)) == inflated(bytearray(packed), len(payload)) == payload


def test_the_rfcs_examples_are_understood() -> None:
    """Section 7.2.3: a compressed block, a stored one, one that is marked as the last, and several."""
    examples = [
        "f248cdc9c90700",
        "000500faff48656c6c6f00",
        "f348cdc9c9070000",
        "f24805000000ffffcac9c90700",
    ]
    assert [inflated(bytes.fromhex(each), 5) for each in examples] == [b"Hello"] * 4


def test_a_message_has_a_longest_length_however_short_it_came() -> None:
    """Exactly the limit passes; a bomb is given up at the first byte beyond it."""
    bomb = deflated(bytes(100_000_000))

    assert len(bomb) < 110_000
    assert len(inflated(deflated(b"x" * 4096), 4096)) == 4096
    for data in (bomb, deflated(b"x" * 4097)):
        with pytest.raises(TooLong, match="at most 4096 bytes"):
            inflated(data, 4096)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_told_apart(data: bytes) -> None:
    """Decompression is total; what is cut off gives what there was of it."""
    try:
        assert len(inflated(data, 100)) <= 100
    except (InvalidDeflate, TooLong):
        pass


def test_what_is_no_deflate_is_invalid() -> None:
    """A block type that does not exist, and zlib's own format."""
    for data in (b"\xff\xff", zlib.compress(b"x" * 100)):
        with pytest.raises(InvalidDeflate):
            inflated(data, 4096)
