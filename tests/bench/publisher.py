"""Publishes on a fixed schedule, as a process: `python -m tests.bench.publisher REDIS_URL PREFIX`.

Open loop: an event carries the time at which it was meant to be sent, so a publisher or a broker that falls
behind shows up as latency instead of hiding it (coordinated omission). Each line of the input

    send EVENTS RATE BATCH BYTES RESOURCES

publishes EVENTS events in groups of BATCH (one pipeline), RATE groups per second, to RESOURCES resources in
turn (0: to everyone of the tenant), and is answered by a line of JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fanwire_protocol import encode_event
from fanwire_protocol.keys import ENTRY_FIELD, stream_key, topics_key
from tests.bench.events import TOPIC, EventShape

__all__ = ["Order", "Publisher"]

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to publish: *rate* counts groups of *batch* events per second."""

    events: int
    rate: int
    batch: int = 1
    frame_bytes: int = 204
    resources: int = 1

    @classmethod
    def parse(cls, line: str) -> Order:
        """Read a `send` line; raises ValueError."""
        word, *numbers = line.split()
        if word != "send" or len(numbers) != 5:
            raise ValueError(f"send EVENTS RATE BATCH BYTES RESOURCES, not {line!r}")
        return cls(*map(int, numbers))

    def __str__(self) -> str:
        return f"send {self.events} {self.rate} {self.batch} {self.frame_bytes} {self.resources}"

    @property
    def seconds(self) -> float:
        return self.events / self.batch / self.rate


class Publisher:
    """Writes entries as PROTOCOL §7 says. Ids are numbered on, so no event is a duplicate of another."""

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            protocol=3,
            legacy_responses=False,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_TIMEOUT_SECONDS,
        )
        self._stream = stream_key(prefix, TOPIC, 0)
        self._redis.sadd(topics_key(prefix), TOPIC)
        self._number = 0

    def publish(self, order: Order) -> list[int]:
        """Carry out *order* and return how many ns late each group was sent."""
        shape = EventShape(order.frame_bytes)
        late_ns = []
        began_ns = time.monotonic_ns()
        for first in range(0, order.events, order.batch):
            due_ns = began_ns + first // order.batch * 1_000_000_000 // order.rate
            group = range(first, min(first + order.batch, order.events))
            records = [self._record(shape, order, due_ns) for _ in group]
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            late_ns.append(time.monotonic_ns() - due_ns)
            self._append(records)
        return late_ns

    def _record(self, shape: EventShape, order: Order, due_ns: int) -> bytes:
        self._number += 1
        resource = {0: None, 1: "1"}.get(order.resources, str(self._number % max(1, order.resources)))
        return encode_event(shape.event(self._number, due_ns, resource))

    def _append(self, records: list[bytes]) -> None:
        if len(records) == 1:
            self._redis.xadd(self._stream, {ENTRY_FIELD: records[0]})
            return
        with self._redis.pipeline(transaction=False) as pipeline:
            for record in records:
                pipeline.xadd(self._stream, {ENTRY_FIELD: record})
            pipeline.execute()


def main(url: str, prefix: str) -> None:
    """Publish what the lines of the standard input say, until it ends."""
    publisher = Publisher(url, prefix)
    # A collection in mid-run would make events late that the edge has nothing to do with.
    gc.disable()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        late_us = sorted(ns / 1e3 for ns in publisher.publish(Order.parse(line)))
        answer = {"groups": len(late_us), "late_p99_us": late_us[len(late_us) * 99 // 100]}
        print(json.dumps(answer), flush=True)
        gc.collect()


if __name__ == "__main__":
    main(*sys.argv[1:])
