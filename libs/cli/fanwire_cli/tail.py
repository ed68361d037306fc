"""`fanwire tail`: prints what arrives on channels, one JSON line for each event or gap, until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence

from fanwire_cli.arguments import Parser, websocket_url
from fanwire_cli.failure import Failure
from fanwire_cli.lines import json_line
from fanwire_cli.terminal import visible
from fanwire_client import Client, FanwireError
from fanwire_protocol import InvalidChannel, parse_channel
from fanwire_protocol.codec import Encoding

__all__ = ["run"]

# What the client's log says of an event that helps who watches.
_TOLD = ("reason", "status", "code", "seconds", "client", "skipped")


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Print events until Ctrl-C, which ends it with 0; raises Failure where the edge refuses."""
    options = _parser().parse_args(argv)
    token = options.token or environment.get("FANWIRE_TOKEN")
    if not token:
        raise Failure("needs a token: --token, or FANWIRE_TOKEN (`fanwire token` signs one)", status=2)
    for channel in options.channels:
        _check(channel)
    _show_troubles()
    try:
        asyncio.run(_tail(options.url, token, options.channels, options.encoding))
    except KeyboardInterrupt:
        return 0
    except FanwireError as error:
        raise Failure(f"{error}; `fanwire doctor` says more") from error
    return 0


async def _tail(url: str, token: str, channels: Sequence[str], encoding: Encoding) -> None:
    async with Client(url, token=token, encoding=encoding) as client:
        if not client.statistics().is_connected:
            print(f"fanwire tail: {url} does not answer yet; trying again", file=sys.stderr, flush=True)
        async for item in client.subscribe(*channels):
            print(json_line(item), flush=True)


def _show_troubles() -> None:
    """Say on standard error that the connection is in trouble: a quiet channel is not a broken one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Events())
    log = logging.getLogger("fanwire.client")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.WARNING)


class _Events(logging.Formatter):
    """The client's log events, as sentences with what they were given."""

    def format(self, record: logging.LogRecord) -> str:
        event = record.getMessage().rpartition(".")[2]
        told = [f"{name} {value}" for name in _TOLD if (value := vars(record).get(name)) not in (None, "")]
        return visible(f"fanwire tail: {event}" + (f": {', '.join(told)}" if told else ""))


def _check(channel: str) -> None:
    try:
        parse_channel(channel)
    except InvalidChannel as error:
        # An edge may know aliases, whose names are its own; a word with `*` or `tenant:` is none of them.
        if channel.startswith(("tenant:", "system:")) or "*" in channel:
            raise Failure(f"{channel!r}: {error}", status=2) from error


def _parser() -> Parser:
    parser = Parser(
        prog="fanwire tail",
        description="Print what arrives on channels, one JSON line for each event or gap, until Ctrl-C.",
        epilog="Quote patterns: fanwire tail 'tenant:acme:resource:orders:*'. The token may also stand in "
        "FANWIRE_TOKEN, where other users cannot see it.",
    )
    parser.add_argument("channels", nargs="+", metavar="CHANNEL", help="a channel or pattern")
    parser.add_argument(
        "--url",
        type=websocket_url,
        default="ws://localhost:8080/ws",
        help="the edge's WebSocket URL (default: %(default)s)",
    )
    parser.add_argument("--token", help="the token to connect with")
    parser.add_argument(
        "--encoding",
        choices=("json", "msgpack"),
        default="json",
        help="what the edge is asked to send (default: %(default)s); what is printed is the same",
    )
    return parser
