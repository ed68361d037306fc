"""What `fanwire dev` prints: where things are, lines to paste, and a line per live event. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from fanwire_cli.feed import TENANT, USER
from fanwire_protocol import JsonValue

__all__ = ["PATTERN", "Place", "event_line", "greeting", "invocation", "last_words"]

PATTERN = f"tenant:{TENANT}:resource:*"
_LINE_WIDTH = 118


@dataclass(frozen=True, slots=True)
class Place:
    """Where a development installation can be found, and with which token.

    `broker_url` is None for a configured broker: its URL may hold a password and is not printed.
    """

    broker: str
    broker_url: str | None
    port: int
    ops_port: int
    token: str = field(repr=False)
    hours: int

    @property
    def url(self) -> str:
        """The WebSocket URL."""
        return f"ws://127.0.0.1:{self.port}/ws"


def invocation(argv0: str, executable: str) -> str:
    """Return how this command was called, ready to paste: the path of `fanwire`, or Python and the module."""
    if argv0.endswith(".py"):
        return f"{shlex.quote(executable)} -m fanwire_cli.main"
    return shlex.quote(argv0)


def greeting(place: Place, command: str) -> str:
    """Return what to print once everything runs; *command* is how to call fanwire."""
    frame = json.dumps({"type": "subscribe", "channel": PATTERN})
    url = "" if place.port == 8080 else f" --url {place.url}"
    browser = (
        f'ws = new WebSocket("{place.url}", ["bearer", "{place.token}"]); '
        f"ws.onopen = () => ws.send('{frame}'); ws.onmessage = (e) => console.log(e.data)"
    )
    setting = f"FANWIRE_BROKER__URL={place.broker_url} " if place.broker_url else ""
    publish = f"""orders order.updated '{{"status": "shipped"}}' --tenant {TENANT} --resource orders:42"""
    lines = (
        f"broker   {place.broker}",
        f"edge     {place.url}",
        f"ops      http://127.0.0.1:{place.ops_port}/readyz",
        f"token    {place.token}",
        f"         (user {USER} of tenant {TENANT}, {PATTERN}, {place.hours} h, for this run only)",
        "",
        "See live events in another terminal:",
        f"  {command} tail '{PATTERN}'{url} --token {place.token}",
        "or in the console of a browser:",
        f"  {browser}",
        "Publish one yourself:",
        f"  {setting}{command} publish {publish}",
        "",
        "Live events (Ctrl-C ends everything):",
    )
    return "\n".join(lines)


def event_line(time: str, type_: str, channel: str, payload: JsonValue) -> str:
    """Return an event as one line; *time* is RFC 3339, of which the time of day is shown."""
    subject = ":".join(channel.split(":")[2:])
    clock = time[11:23]
    line = f"{clock}  {type_:<16} {subject:<22} {json.dumps(payload, ensure_ascii=False)}"
    return line if len(line) <= _LINE_WIDTH else line[: _LINE_WIDTH - 1] + "…"


def last_words(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the last output of a child as details of a failure."""
    return ("its last output:", *lines) if lines else ("it printed nothing",)
