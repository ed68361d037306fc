"""`fanwire doctor`: looks at broker, edge, token and channel in turn and says what to do about each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fanwire_cli.arguments import Parser, websocket_url
from fanwire_cli.broker import shown_url
from fanwire_cli.credential import Credential, read_credential
from fanwire_cli.probes import ProbeFailed, Visit, ask_broker, ask_ready, knock
from fanwire_cli.settings import Settings, read_settings
from fanwire_cli.verdicts import (
    Verdict,
    broker_verdicts,
    credential_verdict,
    handshake_verdict,
    subscription_verdict,
)

__all__ = ["run"]

_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class _Case:
    url: str
    channel: str | None
    token: str | None = field(repr=False)
    settings: Settings


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print a line per check; the exit code is 1 where one failed."""
    options = _parser().parse_args(argv)
    token = options.token or environment.get("FANWIRE_TOKEN")
    case = _Case(options.url, options.channel, token, read_settings(environment, options.config))
    return asyncio.run(_examine(case))


async def _examine(case: _Case) -> int:
    failed = False
    async for verdict in _checks(case):
        print(verdict, flush=True)
        failed = failed or verdict.ok is False
    return 1 if failed else 0


async def _checks(case: _Case) -> AsyncIterator[Verdict]:
    async for verdict in _check_broker(case.settings.broker.url):
        yield verdict
    credential = None
    if case.token:
        credential = read_credential(case.token, case.settings.auth, time.time())
        yield credential_verdict(credential)
    port = await _check_port(case.url)
    yield port
    yield await _check_ready(case)
    if port.ok:
        async for verdict in _check_connection(case, credential):
            yield verdict


async def _check_broker(url: str) -> AsyncIterator[Verdict]:
    shown = shown_url(url)
    try:
        facts = await ask_broker(url)
    except ProbeFailed as error:
        advice = "start Redis, or correct FANWIRE_BROKER__URL"
        yield Verdict("broker", False, f"{shown} cannot be reached: {error}; {advice}")
        return
    yield Verdict("broker", True, f"{shown} answers")
    for verdict in broker_verdicts(facts):
        yield verdict


async def _check_port(url: str) -> Verdict:
    parts = urlsplit(url)
    host, port = parts.hostname or "localhost", parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        await knock(host, port)
    except ProbeFailed as error:
        return Verdict("edge port", False, f"{host}:{port}: {error}; start `fanwire edge`, or correct --url")
    return Verdict("edge port", True, f"{host}:{port} is open")


async def _check_ready(case: _Case) -> Verdict:
    edge = case.settings.edge
    if urlsplit(case.url).hostname not in _LOCAL and edge.ops_host in _LOCAL:
        return Verdict("edge /readyz", None, "the ops port answers on the edge's own machine only")
    url = f"http://{edge.ops_host}:{edge.ops_port}/readyz"
    try:
        status, body = await ask_ready(url)
    except ProbeFailed as error:
        return Verdict("edge /readyz", False, f"{url}: {error}; is FANWIRE_EDGE__OPS_PORT right?")
    if status == 200:
        return Verdict("edge /readyz", True, f"{url} answers 200")
    return Verdict("edge /readyz", False, f"{url} answers {status}: {body[:200]}")


async def _check_connection(case: _Case, credential: Credential | None) -> AsyncIterator[Verdict]:
    async with Visit(case.url, case.token) as visit:
        try:
            facts = await visit.shake_hands()
        except ProbeFailed as error:
            yield Verdict("handshake", False, f"{error}; is an edge listening at this URL?")
            return
        yield handshake_verdict(facts, credential)
        if case.channel is None:
            return
        if facts.connected is None:
            yield Verdict(
                f"subscribe {case.channel}", False, "needs a connection, so a token that is accepted"
            )
        else:
            yield subscription_verdict(case.channel, await visit.subscribe(case.channel), credential)


def _parser() -> Parser:
    parser = Parser(
        prog="fanwire doctor",
        description="Check broker, edge, token and channel; a line each, exit code 1 where one failed.",
        epilog="The token may also stand in FANWIRE_TOKEN, where other users cannot see it.",
    )
    parser.add_argument(
        "--url",
        type=websocket_url,
        default="ws://localhost:8080/ws",
        help="the edge's WebSocket URL (default: %(default)s)",
    )
    parser.add_argument("--token", help="the token to connect with; never printed")
    parser.add_argument("--channel", help="a channel or pattern to subscribe to")
    parser.add_argument("--config", metavar="FILE", help="TOML file; the environment wins")
    return parser
