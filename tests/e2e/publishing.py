"""A core service in a process of its own: `python -m tests.e2e.publishing URL PREFIX PARTITIONS PLAN`.

PLAN is a file with one call of the publisher a line; each answers with the position on standard output.
Calls of a block of 16 run at the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fanwire_publisher import Publisher
from tests.e2e.truth import Written
from tests.kit.processes import Process

__all__ = ["Call", "publish_in_child"]

BLOCK = 16
DONE = "published everything"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method of the publisher, and what it must come to."""

    method: str
    arguments: Sequence[str | None]
    options: dict[str, Any]
    topic: str
    channels: tuple[str, ...]


async def publish_in_child(
    url: str, prefix: str, partitions: int, calls: Sequence[Call], directory: Path
) -> list[Written]:
    """Publish *calls* from another process and return what the log confirmed, in their order."""
    plan = directory / "plan"
    plan.write_text("".join(json.dumps(asdict(call)) + "\n" for call in calls))
    argv = (sys.executable, "-m", "tests.e2e.publishing", url, prefix, str(partitions), str(plan))
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))
    async with Process(argv, {"PYTHONPATH": path}) as process:
        await process.wait_for(lambda: DONE in process.output, 60)
        positions = process.output.splitlines()[: len(calls)]
    return [
        Written(call.topic, f"e-{number}", position, call.channels)
        for number, (call, position) in enumerate(zip(calls, positions, strict=True))
    ]


async def _run(url: str, prefix: str, partitions: int, plan: str) -> None:
    calls = [json.loads(line) for line in await asyncio.to_thread(_lines, plan)]
    async with Publisher.from_url(url, prefix=prefix, partitions=partitions, allow_system=True) as publisher:
        for start in range(0, len(calls), BLOCK):
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(_call(publisher, number, calls[number]))
                    for number in range(start, min(start + BLOCK, len(calls)))
                ]
            for task in running:
                _say(task.result())
    _say(DONE)
    # The parent reads the output of a process that runs, and ends it.
    await asyncio.Event().wait()


async def _call(publisher: Publisher, number: int, call: dict[str, Any]) -> str:
    options = {
        name: tuple(value) if isinstance(value, list) else value for name, value in call["options"].items()
    }
    method = getattr(publisher, call["method"])
    payload = {"number": number}
    return str(await method(*call["arguments"], "changed", payload, event_id=f"e-{number}", **options))


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    url, prefix, partitions, plan = sys.argv[1:]
    asyncio.run(_run(url, prefix, int(partitions), plan))
