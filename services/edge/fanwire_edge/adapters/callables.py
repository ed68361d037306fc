"""Functions of the operator's own: one that tells whose a token is, one that tells what somebody may read.

They are named in the settings as `package.module:function`, loaded at the start, and may be sync or async. A
sync one runs in a thread, of which there are few: a function that hangs costs itself its threads and the
edge nothing. Whatever goes wrong in one of them means that nobody can tell, never a pass.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self

from fanwire_edge.core.claims import ClaimReader, ClaimRules, MalformedClaims
from fanwire_edge.core.decision import Asker, Decision
from fanwire_edge.core.opaque import opaque_token
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.channels import Channel
from fanwire_protocol.settings import SettingError

__all__ = ["CallableAuthorizer", "CallableVerifier", "Function", "FunctionFailed"]

MAX_THREADS = 16
MAX_KINDS = 100
# Calls for one command at once, so that one who asks for a hundred channels leaves threads to others.
AT_ONCE = 8
# What Python has beside JSON's lists.
_LISTS = (tuple, set, frozenset)
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)

logger = logging.getLogger("fanwire.callables")


class FunctionFailed(Exception):
    """The function raised, or did not answer in time; the text says which and shows no argument."""


class Function:
    """A function that the setting *setting* names, with a deadline for each call.

    Failures are logged once for each kind. What an exception says is not: it may repeat an argument.
    """

    def __init__(self, setting: str, function: Callable[..., Any], deadline_seconds: float) -> None:
        self._setting = setting
        self._function = function
        self._deadline_seconds = deadline_seconds
        self._threads = None if _is_async(function) else _Threads(MAX_THREADS)
        self._told: set[str] = set()

    @classmethod
    def load(cls, setting: str, path: str, deadline_seconds: float) -> Self:
        """Import what *path* names, `package.module:function`; raises SettingError."""
        return cls(setting, _loaded(setting, path), deadline_seconds)

    async def call(self, *arguments: Any) -> Any:
        """Return what the function returns. Raises FunctionFailed. Cancelling is safe."""
        try:
            async with asyncio.timeout(self._deadline_seconds):
                result, error = await self._carried_out(arguments)
        except TimeoutError:
            raise self._failed(f"did not answer within {self._deadline_seconds:g} s") from None
        if error is not None:
            raise self._failed(f"raised {type(error).__name__}", error.__traceback__)
        return result

    async def _carried_out(self, arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
        if self._threads is not None:
            result, error = await self._threads.run(self._function, arguments)
            if error is not None or not inspect.isawaitable(result):
                return result, error
        else:
            result = self._function(*arguments)
        try:
            return await result, None
        except Exception as problem:  # noqa: BLE001  # Not our code: it may raise anything.
            return None, problem

    def _failed(self, kind: str, traceback: TracebackType | None = None) -> FunctionFailed:
        if kind not in self._told and len(self._told) < MAX_KINDS:
            self._told.add(kind)
            fields = {"setting": self._setting, "reason": kind, "where": _place(traceback)}
            logger.warning("callable_failed", extra=fields)
        return FunctionFailed(f"{self._setting}: the function {kind}")


class CallableVerifier:
    """Asks *function* whose a token is; it returns claims by the names of `auth.claims`, None for nobody."""

    def __init__(self, function: Function, rules: ClaimRules, clock: Callable[[], float]) -> None:
        self._function = function
        self._reader = ClaimReader(rules)
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        """Return whose *token* is; raises InvalidToken, and VerifierUnavailable."""
        try:
            found = await self._function.call(opaque_token(token))
        except FunctionFailed as problem:
            raise VerifierUnavailable(str(problem)) from None
        if found is None:
            raise InvalidToken("the function of auth.callable does not know the token")
        if not isinstance(found, Mapping):
            raise VerifierUnavailable(
                f"auth.callable: returned {type(found).__name__}, neither a map nor None"
            )
        claims = {name: list(value) if isinstance(value, _LISTS) else value for name, value in found.items()}
        try:
            return self._reader.read(claims, self._clock())
        except MalformedClaims as problem:
            raise VerifierUnavailable(f"auth.callable: {problem.reason}") from None


class CallableAuthorizer:
    """Asks *function* whether a principal, given as a map, may read a channel: True, False, or None where
    that is for others to say."""

    def __init__(self, function: Function) -> None:
        self._function = function

    async def decide(self, asker: Asker, channels: Sequence[Channel]) -> Mapping[str, Decision]:
        """Return what the function says of each of *channels*."""
        found: dict[str, Decision] = {}
        left = iter(channels)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(channels))):
                tasks.create_task(self._decide_on(asker.principal, left, found))
        return found

    async def _decide_on(
        self, principal: Principal, left: Iterator[Channel], found: dict[str, Decision]
    ) -> None:
        for channel in left:
            try:
                answer = await self._function.call(_shown(principal), channel.name)
            except FunctionFailed:
                found[channel.name] = Decision.UNAVAILABLE
            else:
                found[channel.name] = _opinion(answer)


def _opinion(answer: Any) -> Decision:
    """Only True permits: a function that returns something else was not written for this."""
    if answer is None:
        return Decision.UNDECIDED
    if answer is True:
        return Decision.PERMITTED
    return Decision.FORBIDDEN if answer is False else Decision.UNAVAILABLE


def _shown(principal: Principal) -> dict[str, Any]:
    return {
        "user": principal.user,
        "tenant": principal.tenant,
        "roles": list(principal.roles),
        "permissions": sorted(principal.permissions),
        "channels": list(principal.patterns),
        "token_id": principal.token_id,
    }


class _Threads:
    """At most *most* threads, started when they are needed; the end of the process waits for none."""

    def __init__(self, most: int) -> None:
        self._places = asyncio.Semaphore(most)
        self._work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._busy = 0
        self._started = 0

    async def run(
        self, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> tuple[Any, BaseException | None]:
        """Return what *function* returned or raised; who is cancelled leaves its thread to itself."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def finish(result: Any, error: BaseException | None) -> None:
            self._busy -= 1
            self._places.release()
            if not outcome.done():
                outcome.set_result((result, error))

        def work() -> None:
            result, error = _attempt(function, arguments)
            try:
                loop.call_soon_threadsafe(finish, result, error)
            except RuntimeError:
                pass  # The loop has ended, and nobody waits.

        self._busy += 1
        if self._busy > self._started:
            self._started += 1
            Thread(target=self._labour, name=f"fanwire-callable-{self._started}", daemon=True).start()
        self._work.put(work)
        return await outcome

    def _labour(self) -> None:
        while True:
            self._work.get()()


def _attempt(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return function(*arguments), None
    except BaseException as problem:  # noqa: BLE001  # Not our code, and its thread must live on.
        return None, problem


def _is_async(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004  # An object's method, which may be async.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _place(traceback: TracebackType | None) -> str | None:
    """Return the file and line where an exception began."""
    place = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename.rpartition("/")[2]
        place, traceback = f"{file}:{traceback.tb_lineno}", traceback.tb_next
    return place


def _loaded(setting: str, path: str) -> Callable[..., Any]:
    if not _PATH.fullmatch(path):
        raise SettingError(f"{setting}: {path!r} names no function; for example shop.realtime:verify")
    module_name, _, names = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001  # Not our code: it may raise anything while it is imported.
        text = f": {error}" if isinstance(error, ImportError) else ""
        raise SettingError(
            f"{setting}: importing {module_name} failed with {type(error).__name__}{text}; install it where "
            "the edge is installed, or name its folder in PYTHONPATH"
        ) from None
    for name in names.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise SettingError(f"{setting}: {module_name} has no function {names}; for example verify")
    function: Callable[..., Any] = found
    return function
