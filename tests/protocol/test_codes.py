"""Close codes, error codes and refusals (PROTOCOL §2, §3, §5)."""

from typing import Any

import pytest

from fanwire_protocol.codes import CloseCode, ErrorCode, GapReason, HandshakeError, may_reconnect
from tests.protocol.vectors import load

VECTORS = load("codes")


@pytest.mark.parametrize("row", VECTORS["close"], ids=lambda row: row["code"])
def test_the_close_code_alone_decides_whether_to_come_back(row: dict[str, Any]) -> None:
    """Codes that the contract does not name mean: come back."""
    assert may_reconnect(row["code"]) is row["reconnect"]
    if row["name"] is not None:
        assert CloseCode[row["name"]] == row["code"]


def test_every_close_code_has_a_vector() -> None:
    """No code is added without saying whether clients come back after it."""
    named = {row["name"] for row in VECTORS["close"] if row["name"] is not None}
    assert named == set(CloseCode.__members__)


def test_error_codes_are_the_documented_ones() -> None:
    """Four of them count towards the row of ten that ends a connection."""
    expected = {row["code"]: row["mistake"] for row in VECTORS["errors"]}
    assert {code.value: code.is_protocol_mistake for code in ErrorCode} == expected


def test_refusals_have_their_status() -> None:
    """Every code of a refused upgrade comes with one HTTP status."""
    expected = {row["code"]: row["status"] for row in VECTORS["handshake"]}
    assert {code.value: code.status for code in HandshakeError} == expected


def test_gap_reasons_are_the_documented_ones() -> None:
    """A gap has one of four reasons."""
    assert [reason.value for reason in GapReason] == VECTORS["gaps"]
