"""The `fanwire` command: finds the command named first and hands it the rest of the line."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TypeAlias

from fanwire_cli.failure import Failure
from fanwire_cli.terminal import visible

__all__ = ["COMMANDS", "main"]

Run: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], int]

# Every command is a module of this name (`_` for `-`) with `run(argv, environment)`. Only the one that is
# asked for is imported, so that `fanwire token` does not wait for what `fanwire dev` needs.
COMMANDS = {
    "dev": "broker, edge and a demo feed in one terminal; loopback only",
    "edge": "run an edge",
    "publish": "publish one event and print its position",
    "tail": "print what arrives on channels, one JSON line each",
    "token": "sign a token for development and tests",
    "doctor": "check broker, edge, token and channel, and say what to do",
    "check-history": "judge a recorded history of publishers and clients",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name in ("-V", "--version", "version"):
        print(f"fanwire {version('fanwire-cli')}, Python {platform.python_version()}")
        return 0
    try:
        return _command(name)(arguments[1:], os.environ)
    except Failure as failure:
        _complain(name, failure)
        return failure.status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who reads our output went away (`fanwire tail … | head`). Python would complain once more when it
        # flushes at exit, so there must be somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _command(name: str) -> Run:
    if name not in COMMANDS:
        raise Failure(f"no such command; there are {', '.join(COMMANDS)}", status=2)
    run: Run = importlib.import_module(f"fanwire_cli.{name.replace('-', '_')}").run
    return run


def _complain(name: str, failure: Failure) -> None:
    print(visible(f"fanwire {name}: {failure}"), file=sys.stderr)
    for line in failure.details:
        print(visible(f"  {line}"), file=sys.stderr)


def _overview() -> str:
    lines = (f"  {name:<13} {what}" for name, what in COMMANDS.items())
    return "\n".join(
        (
            "usage: fanwire COMMAND …",
            "",
            *lines,
            "",
            "`fanwire COMMAND --help` explains one of them; `fanwire --version` tells what this is.",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
