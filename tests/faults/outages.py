"""How long clients were away, and how many came back at once: read from a history, kept under `build/`."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["operations", "outage_seconds", "peak_per_second", "reconnects", "save", "share"]

FIGURES = Path(__file__).parents[2] / "build" / "faults"


def operations(path: Path) -> list[dict[str, Any]]:
    """Return every line of a history."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def outage_seconds(history: Sequence[Mapping[str, Any]], cut_at: int) -> list[float]:
    """Return for each client that lost its connection after *cut_at* (monotonic ns) how long after that it
    had an answer for all of its channels, sorted."""
    client_by_connection: dict[str, str] = {}
    away: set[str] = set()
    answered: dict[str, float] = {}
    for line in history:
        if line["op"] == "connect":
            client_by_connection[line["connection"]] = line["client"]
        elif line["op"] == "closed" and line["time"] >= cut_at:
            away.add(client_by_connection[line["connection"]])
        elif line["op"] == "subscribed" and client_by_connection[line["connection"]] in away:
            answered[client_by_connection[line["connection"]]] = (line["time"] - cut_at) / 1e9
    return sorted(answered[client] for client in away if client in answered)


def reconnects(history: Sequence[Mapping[str, Any]], after: int) -> list[int]:
    """Return when connections were opened after *after* (all monotonic ns), in order."""
    return sorted(line["time"] for line in history if line["op"] == "connect" and line["time"] >= after)


def peak_per_second(moments: Sequence[int]) -> int:
    """Return the most of sorted *moments* (ns) that lie within any one second."""
    return max(
        (bisect_left(moments, start + 1_000_000_000) - index for index, start in enumerate(moments)),
        default=0,
    )


def share(values: Sequence[float], part: float) -> float:
    """Return the value of sorted *values* below which *part* of them lie."""
    return round(values[min(len(values) - 1, int(part * len(values)))], 4)


def save(name: str, figures: Mapping[str, Any]) -> None:
    """Keep *figures* as JSON."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
