"""The search for secrets finds them: in what processes write, in metrics, and in what tests log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.canaries import CANARIES, PAYLOAD_CANARY, Canaries, SecretShown
from tests.kit.processes import Process
from tests.kit.tokens import SECRET, make_token

ROOT = Path(__file__).parents[2]
SAY = ("-c", "import sys; print('before', sys.argv[1], 'behind'); print(*sys.argv[2:], file=sys.stderr)")


def _saying(text: str, *errors: str, may_show_secrets: bool = False) -> Process:
    return Process((sys.executable, *SAY, text, *errors), may_show_secrets=may_show_secrets)


@pytest.mark.parametrize(
    "secret",
    [make_token(), SECRET, PAYLOAD_CANARY, make_token(sub="u-2")[:-20]],
    ids=["token", "key", "payload", "part of a token"],
)
async def test_a_process_that_shows_a_secret_fails_the_test_that_ends_it(secret: str) -> None:
    """On either of its outputs; what stands around the secret does not hide it."""
    for words in (("", secret), (f"[Bearer={secret}, …]",)):
        with pytest.raises(SecretShown, match="the output of"):
            async with _saying(*words) as process:
                await process.wait_for_exit()


async def test_a_process_that_is_to_show_secrets_may() -> None:
    """A command that prints a token for its user."""
    async with _saying(make_token(), may_show_secrets=True) as process:
        await process.wait_for_exit()


async def test_a_process_that_keeps_its_secrets_is_left_alone() -> None:
    """The parts of a token that say who somebody is are no credential, and may be known."""
    head, claims, _ = make_token().split(".")
    async with _saying(f"{head}.{claims}", "canary", "fanwire-tests") as process:
        await process.wait_for_exit()


@given(st.text(alphabet="abcXYZ019_-", min_size=16, max_size=60), st.text(max_size=50), st.text(max_size=50))
def test_a_secret_is_found_wherever_it_stands(secret: str, before: str, behind: str) -> None:
    """Whatever stands around it, also letters that could be its own."""
    canaries = Canaries()
    assert canaries.shown_in(before + secret + behind) == []
    assert canaries.remember(secret) == secret

    assert canaries.shown_in(before + secret + behind) == [secret[:16]]


@pytest.mark.parametrize(
    "secret", ["short", "with a space in its middle of it", "ä" * 30, "fw:key:0123456789abcdef"]
)
def test_a_secret_of_any_letters_is_found(secret: str) -> None:
    """Where its beginning is none of a token's letters, all of it is looked for."""
    canaries = Canaries()
    canaries.remember(secret)

    assert canaries.shown_in(f"x{secret}x") == [secret]
    assert canaries.shown_in(secret[1:]) == []


def test_a_whole_token_is_known_by_its_end() -> None:
    """Not by its beginning, which every other token has too."""
    canaries = Canaries()
    token = canaries.remember(make_token())
    other = make_token(sub="u-2")

    assert canaries.shown_in(other) == []
    assert canaries.shown_in(f"Bearer {token}!") == [token[-16:]]


def test_the_search_says_where_a_secret_stands() -> None:
    """The line, so that one can see who wrote it."""
    with pytest.raises(SecretShown, match=r"(?s)^/metrics shows canary.*:\nb canary-"):
        CANARIES.check(f"a\nb {PAYLOAD_CANARY}\nc", "/metrics")


LEAKY = """
import logging
from tests.kit.tokens import make_token

def test_logs(): logging.getLogger("fanwire").warning("%s", make_token())
def test_prints(): print(make_token())
def test_is_quiet(): assert make_token()
"""


def test_a_test_that_logs_or_prints_a_secret_fails(tmp_path: Path) -> None:
    """What runs in the process of the tests itself is searched by a hook."""
    file = tmp_path / "test_leaky.py"
    file.write_text(LEAKY)
    options = ("-q", "-p", "tests.kit.canary_hook", "-p", "no:cacheprovider", "-c", "/dev/null")
    argv = (sys.executable, "-m", "pytest", *options, "--rootdir", str(tmp_path), str(file))
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "Captured log call shows" in done.stdout
    assert "Captured stdout call shows" in done.stdout
