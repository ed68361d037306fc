"""What to publish: how many events, how fast, for which channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Order"]

# Coprime with the numbers of channels in use, so that neighbouring events are of channels far apart.
_STRIDE = 7919
_NUMBERS = 5


@dataclass(frozen=True, slots=True)
class Order:
    """*rate* counts groups of *batch* events per second; the events go to *resources* of a kind in turn.

    With one resource that is number 1; with none (0) everyone of the tenant. With *by_type* the events are of
    as many types of resources (`kind` and a number) instead.
    """

    events: int
    rate: int
    batch: int = 1
    frame_bytes: int = 204
    resources: int = 1
    kind: str = "b"
    by_type: bool = False

    @classmethod
    def parse(cls, line: str) -> Order:
        """Read a `send` line; raises ValueError."""
        word, *rest = line.split()
        numbers, texts = rest[:_NUMBERS], rest[_NUMBERS:]
        if word != "send" or len(numbers) != _NUMBERS or len(texts) != 2:
            raise ValueError(f"send EVENTS RATE BATCH BYTES RESOURCES KIND id|type, not {line!r}")
        events, rate, batch, frame_bytes, resources = map(int, numbers)
        return cls(events, rate, batch, frame_bytes, resources, texts[0], texts[1] == "type")

    def __str__(self) -> str:
        spread = "type" if self.by_type else "id"
        numbers = (self.events, self.rate, self.batch, self.frame_bytes, self.resources)
        return " ".join(["send", *map(str, numbers), self.kind, spread])

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.events / self.batch / self.rate

    @property
    def events_per_second(self) -> int:
        return self.rate * self.batch

    def of(self, events: float) -> Order:
        """Return the same with another number of events, whole batches and at least one."""
        batches = max(1, round(events / self.batch))
        return replace(self, events=batches * self.batch)

    def resource(self, number: int) -> tuple[str, str] | None:
        """Return the type and id of the resource that event *number* is about; None for everyone."""
        if self.resources == 0:
            return None
        place = "1" if self.resources == 1 else str(number * _STRIDE % self.resources)
        return (f"{self.kind}{place}", "1") if self.by_type else (self.kind, place)
