"""`fanwire edge`: runs the edge, which is installed beside the command and found by its entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from fanwire_cli.failure import Failure

__all__ = ["run"]

_GROUP = "fanwire.services"


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Hand *argv* to the edge, which parses it and reads the environment itself."""
    service: Callable[[list[str]], int] = _find("edge").load()
    return service(list(argv))


def _find(name: str) -> EntryPoint:
    for found in entry_points(group=_GROUP, name=name):
        return found
    raise Failure(f"this installation holds no {name}; `make setup` in the checkout installs it")
