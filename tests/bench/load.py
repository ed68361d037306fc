"""The load generator and the floor as the driver sees them; `load.c` and `floor.c` say what they do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bench.events import EVENT_PREFIX
from tests.bench.order import Order
from tests.bench.processes import NoAnswer, Process, poll_until
from tests.bench.programs import compile_program

__all__ = ["Clients", "Floor", "Load", "floor_line", "subscription"]

_SOURCES = 8  # addresses 127.0.0.1 to 127.0.0.8, so that 20,000 connections find free ports


@dataclass(frozen=True, slots=True)
class Clients:
    """How many connections to open, and what they do. *sample* of them measure latency.

    `%d` in *path*, *subscribe* and *channel* is the client's number (modulo *groups*, where that is not 0);
    each subscribes to *own* channels like *channel*. `load.c` says the rest.
    """

    count: int
    subscribe: str | None = None
    tokens: Path | None = None
    in_flight: int = 64
    sample: int = 100
    stalled: int = 0
    deadline_seconds: int = 60
    groups: int = 0
    own: int = 0
    channel: str | None = None
    dialect: str = "fanwire"
    path: str = "/ws"
    event_prefix: str = EVENT_PREFIX

    def arguments(self, port: int) -> list[str]:
        """Return the command line of the load generator."""
        numbers = {
            "port": port,
            "connections": self.count,
            "in-flight": self.in_flight,
            "sample": self.sample,
            "stalled": self.stalled,
            "deadline": self.deadline_seconds,
            "sources": _SOURCES,
            "groups": self.groups,
            "own": self.own,
        }
        texts = {
            "subscribe": self.subscribe,
            "tokens": self.tokens,
            "channel": self.channel,
            "dialect": self.dialect,
            "path": self.path,
            "event-prefix": self.event_prefix,
        }
        given = {**numbers, **{name: text for name, text in texts.items() if text is not None}}
        return [f"--{name}={value}" for name, value in given.items()]


def subscription(channels: Sequence[str]) -> str:
    """Return the command that subscribes to *channels*."""
    return json.dumps({"type": "subscribe", "channels": list(channels)}, separators=(",", ":"))


class Load(Process):
    """Clients of a server on a port of this machine, all open when the constructor returns."""

    def __init__(self, port: int, clients: Clients, core: int) -> None:
        super().__init__([compile_program("load"), *clients.arguments(port)], core)
        self.clients = clients
        self.opening: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Wait until every connection is open; raises NoAnswer where one is not."""
        self.opening = self.read(self.clients.deadline_seconds + 10.0)
        if self.opening["ready"] != self.clients.count:
            reasons = {name: self.opening[name] for name in ("refused", "errors", "closes")}
            self.close()
            raise NoAnswer(f"{self.opening['ready']} of {self.clients.count} connections opened: {reasons}")
        return self

    def go(self) -> None:
        """Count from zero."""
        self.ask("go")

    def report(self) -> dict[str, Any]:
        """Return what arrived since `go`."""
        return self.ask("report")

    def await_events(self, expected: int, deadline_seconds: float) -> dict[str, Any]:
        """Return the report once *expected* event frames have arrived; raises NoAnswer."""
        latest: dict[str, Any] = {}

        def is_complete() -> bool:
            latest.update(self.report())
            return bool(latest["events"] >= expected)

        try:
            poll_until(is_complete, "all deliveries", deadline_seconds)
        except NoAnswer as error:
            raise NoAnswer(f"{error}: {latest['events']} of {expected} arrived; {latest}") from error
        return latest


def floor_line(order: Order, channels: int = 1) -> str:
    """Return the line that makes the floor send the same to clients that are spread over *channels*."""
    return f"send {order.events} {order.rate} {order.batch} {order.frame_bytes} {channels}"


class Floor(Process):
    """The C program that sends events with a bare `send`."""

    def __init__(self, core: int) -> None:
        super().__init__([compile_program("floor")], core)
        self.port: int = self.read(10.0)["listening"]
