"""The golden vectors of `tests/vectors`, which the tests of every language read."""

import json
from pathlib import Path
from typing import Any

from fanwire_protocol.event import Event

ROOT = Path(__file__).parents[2]


def load(name: str) -> Any:
    """Return the content of one file of vectors."""
    return json.loads((ROOT / "tests" / "vectors" / f"{name}.json").read_text(encoding="ascii"))


def joined(parts: list[Any]) -> str:
    """Return the text that *parts* stand for: strings and `[string, times]` pairs."""
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)


def event_of(record: dict[str, Any]) -> Event:
    """Return the event that a record in JSON form stands for."""
    fields = {name: value for name, value in record.items() if name != "v"}
    for name in ("resource", "to", "aggregate"):
        if name in fields:
            fields[name] = tuple(fields[name])
    return Event(**fields)
