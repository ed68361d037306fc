"""Waiting for what must become true: the one place where tests poll."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
POLL_SECONDS = 0.01


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]], deadline_seconds: float = ..., message: str = ...
) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], deadline_seconds: float = ..., message: str = ...) -> T: ...
async def eventually(
    predicate: Callable[[], Any],
    deadline_seconds: float = 15.0,
    message: str = "",
) -> Any:
    """Poll *predicate*, plain or async, until it is true, and return what it returned.

    An AssertionError inside the predicate counts as "not yet". Raises AssertionError after
    *deadline_seconds*, also where one async call of the predicate hangs that long.
    """
    last: object = None
    why: AssertionError | None = None
    try:
        async with asyncio.timeout(deadline_seconds):
            while True:
                try:
                    last, why = await _call(predicate), None
                except AssertionError as error:
                    why = error
                if why is None and last:
                    return last
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        what = message or getattr(predicate, "__qualname__", repr(predicate))
        state = f"last failure: {why}" if why else f"last value: {last!r}"
        raise AssertionError(f"not within {deadline_seconds} s: {what} ({state})") from why


async def _call(predicate: Callable[[], Any]) -> object:
    value = predicate()
    return await value if inspect.isawaitable(value) else value
