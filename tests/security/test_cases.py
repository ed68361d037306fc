"""The list of attacks is complete: in the tests, and in the guide."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import page

CASES = [f"S{number:02}" for number in range(1, 46)]


def test_every_case_has_a_test_of_its_name() -> None:
    """And no test names a case that there is not."""
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))

    found = re.findall(r"^(?:async )?def test_(s\d\d)_", sources, re.MULTILINE)

    assert sorted({case.upper() for case in found}) == CASES


def test_the_guide_tells_the_outcome_of_every_case() -> None:
    """In order, each once."""
    section = page("docs/guides/security.md").section("Attacks, case by case")

    assert re.findall(r"^\| (S\d\d) \|", section, re.MULTILINE) == CASES
