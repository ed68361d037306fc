"""The kit's polling, tokens and HTTP waiting do what they say."""

from __future__ import annotations

import asyncio
import sys

import jwt
import pytest

from tests.kit.processes import Process, free_port, http_status
from tests.kit.tokens import SECRET, make_token
from tests.kit.wait import eventually


async def test_predicates_may_be_plain_async_or_assert() -> None:
    """What the predicate returned in the end is returned; an assertion means "not yet"."""
    calls = iter(range(100))

    async def third() -> int:
        number = next(calls)
        assert number >= 2
        return number

    assert await eventually(third) == 2
    assert await eventually(lambda: "now") == "now"


async def test_what_never_comes_is_reported_with_the_last_state() -> None:
    """After the deadline an AssertionError says what was waited for, even where a call hangs."""
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: a fish \(last value: 0\)"):
        await eventually(lambda: 0, 0.05, "a fish")
    with pytest.raises(AssertionError, match="hang"):
        await eventually(asyncio.Event().wait, 0.05, "hang")


def test_token_has_defaults_that_claims_replace_or_remove() -> None:
    """Without arguments a token is valid; a claim of None is left out."""
    decoded = jwt.decode(make_token(roles=["admin"], tenant=None), SECRET, ["HS256"])

    assert decoded.pop("exp") > 0
    assert decoded == {"sub": "u-1", "roles": ["admin"]}


async def test_process_is_waited_for_by_http() -> None:
    """wait_for_http returns when the child answers with the status, and fails for a dead port."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/no-such-file"
    assert http_status(url) is None
    argv = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port))
    async with Process(argv) as process:
        await process.wait_for_http(url, 404)
        process.kill()

        assert await process.wait_for_exit() == -9
