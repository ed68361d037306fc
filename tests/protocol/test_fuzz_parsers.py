"""Any bytes lead each parser to a value or to its own refusal (tests/fuzz has what that means for each)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.rig import rounds
from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS

# Of the long form.
pytestmark = pytest.mark.timeout(600)
by_target = pytest.mark.parametrize("name", TARGETS)


@by_target
def test_every_seed_is_taken(name: str) -> None:
    """Where a search begins nothing is broken."""
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@by_target
@given(data=st.binary(max_size=400))
@settings(max_examples=rounds(100, 5_000))
def test_any_bytes_are_taken(name: str, data: bytes) -> None:
    """Whatever they are."""
    TARGETS[name](data)


@by_target
def test_what_is_almost_right_is_taken(name: str) -> None:
    """Inputs with something wrong in them, which come further than chance would."""
    random = Random(f"fuzz {name}")
    for _ in range(rounds(1_000, 30_000)):
        data = mutated(random, SEEDS[name], WORDS)
        try:
            TARGETS[name](data)
        except BaseException as problem:
            problem.add_note(f"the input was {data!r}")
            raise
