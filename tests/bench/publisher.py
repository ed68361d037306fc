"""Publishes on a fixed schedule, as a process: `python -m tests.bench.publisher KIND ADDRESS`.

Open loop: an event carries the time at which it was meant to be sent, so a publisher, a broker or a server
that falls behind shows up as latency instead of hiding it (coordinated omission). KIND says how events are
written (`sinks.py`). Each line of the input

    send EVENTS RATE BATCH BYTES RESOURCES KIND id|type

publishes EVENTS events in groups of BATCH (one write), RATE groups per second, to RESOURCES resources in turn
(0: to everyone of the tenant), and is answered by a line of JSON; `order.py` has the rest.
"""

from __future__ import annotations

import gc
import json
import sys
import time

from tests.bench.order import Order
from tests.bench.sinks import Sink, sink

__all__ = ["Order", "Publisher"]


class Publisher:
    """Sends what an order says. Ids are numbered on, so no event is a duplicate of another."""

    def __init__(self, target: Sink) -> None:
        self._target = target
        self._number = 0

    def publish(self, order: Order) -> list[int]:
        """Carry out *order* and return how many ns late each group was sent; raises WireBroke."""
        late_ns = []
        began_ns = time.monotonic_ns()
        for first in range(0, order.events, order.batch):
            due_ns = began_ns + first // order.batch * 1_000_000_000 // order.rate
            messages = [self._message(order, due_ns) for _ in range(min(order.batch, order.events - first))]
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            late_ns.append(time.monotonic_ns() - due_ns)
            self._target.wire.send(messages)
        return late_ns

    def _message(self, order: Order, due_ns: int) -> bytes:
        self._number += 1
        return self._target.message(self._number, due_ns, order)


def main(kind: str, address: str) -> None:
    """Publish what the lines of the standard input say, until it ends."""
    publisher = Publisher(sink(kind, address))
    # A collection in mid-run would make events late that the server has nothing to do with.
    gc.disable()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        late_us = sorted(ns / 1e3 for ns in publisher.publish(Order.parse(line)))
        answer = {"groups": len(late_us), "late_p99_us": late_us[len(late_us) * 99 // 100]}
        print(json.dumps(answer), flush=True)
        gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
