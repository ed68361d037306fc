"""What the proxy does wrong in one direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_RATE_SLICES_PER_SECOND = 50


@dataclass(slots=True)
class Direction:
    """The faults of one direction.

    `swallow` reads bytes and the end of the stream and loses them for good; `hold` keeps them until it is
    taken back; `cut_after_bytes` closes both sides once so many more bytes have passed, and is then spent.
    """

    latency_seconds: float = 0.0
    rate_bytes_per_second: int | None = None
    slice_bytes: int | None = None
    slice_delay_seconds: float = 0.0
    swallow: bool = False
    hold: bool = False
    cut_after_bytes: int | None = None
    passed_bytes: int = 0
    swallowed_bytes: int = 0

    def heal(self) -> None:
        """Take every fault back; the counts stay."""
        self.latency_seconds, self.slice_delay_seconds = 0.0, 0.0
        self.rate_bytes_per_second = self.slice_bytes = self.cut_after_bytes = None
        self.swallow = self.hold = False

    def slices(self, data: bytes) -> Iterator[bytes]:
        """Split *data* as the faults want it written."""
        size = self.slice_bytes or len(data)
        if self.rate_bytes_per_second is not None:
            size = min(size, max(1, self.rate_bytes_per_second // _RATE_SLICES_PER_SECOND))
        for start in range(0, len(data), size):
            yield data[start : start + size]

    def pause_after(self, piece: bytes) -> float:
        """Return how many seconds to wait after writing *piece*."""
        rate = self.rate_bytes_per_second
        return self.slice_delay_seconds + (len(piece) / rate if rate else 0.0)
