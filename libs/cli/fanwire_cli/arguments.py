"""Command lines: a parser whose errors are one line, and the types of arguments that commands share."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn
from urllib.parse import urlsplit

from fanwire_cli.failure import Failure

__all__ = ["Parser", "duration", "pair", "port", "websocket_url"]

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?", re.ASCII)
_SECONDS = (86_400, 3_600, 60, 1)


class Parser(argparse.ArgumentParser):
    """Parses a command line; a mistake raises Failure with status 2 instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message}; see `{self.prog} --help`", status=2)


def duration(text: str) -> int:
    """Return the seconds of a duration such as `90s`, `15m`, `1h30m`, `1d` or `3600`."""
    found = _DURATION.fullmatch(text)
    parts = found.groups() if found else (None,)
    if not any(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; for example 15m, 1h or 1h30m")
    return sum(int(part or 0) * seconds for part, seconds in zip(parts, _SECONDS, strict=True))


def port(text: str) -> int:
    """Return a TCP port, 1 to 65535."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; for example 8080")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Return the two halves of `TYPE:ID`; the id may hold further colons."""
    head, colon, tail = text.partition(":")
    if not (colon and head and tail):
        raise argparse.ArgumentTypeError(f"{text!r} is not TYPE:ID; for example orders:42")
    return head, tail


def websocket_url(text: str) -> str:
    """Return the URL of an edge, checked for scheme and host."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is no WebSocket URL; for example ws://localhost:8080/ws")
    return text
