"""The fan-out of a batch: one write for each connection, in log order across its channels (DESIGN).

Theory of operation. The frames that somebody wants are numbered in log order and become bits. Where one
key is touched, its members all get the same bytes. Else each touched key's members get the key's bits
or-ed into their mask and are collected on their first bit; one walk over the collected then writes to
each the frames of its mask, joined once per distinct mask. Or-ing makes a frame that matches several
subscriptions of a connection one frame. Writing key by key instead would lose events: TCP delivers a
prefix, and the client would resume from a later entry of another channel.

All this happens once for each dialect that is spoken here, nearly always one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fanwire_edge.core.dialect import Dialect
from fanwire_edge.core.hub import Hub, Member, Sink, Sinks, sink_of
from fanwire_edge.core.record import Record

__all__ = ["BATCH_BYTES", "Delivery", "batches", "reach", "wanted"]

BATCH_BYTES = 64 * 1024
# Connections written to between two looks at the clock.
_STRIDE = 512


def wanted(hub: Hub, records: Iterable[Record]) -> list[Record]:
    """Return those of *records* that somebody here is to get, live or behind."""
    found = [by_key.keys() for by_key in hub.by_dialect.values()]
    if len(found) == 1:
        [keys] = found
        return [record for record in records if not keys.isdisjoint(record.keys)]
    return [record for record in records if not all(keys.isdisjoint(record.keys) for keys in found)]


def reach(hub: Hub, records: Iterable[Record]) -> int:
    """Return about how many writes *records* will cause: members of all touched keys, counted doubly
    where they are on several."""
    keys = {key for record in records for key in record.keys}
    return sum(len(by_key[key]) for by_key in hub.by_dialect.values() for key in keys if key in by_key)


class Delivery:
    """One batch on its way to the connections of one dialect."""

    __slots__ = ("_bits", "_by_key", "_frames", "_hub", "_wire", "deliveries", "size_bytes", "written_bytes")

    def __init__(self, hub: Hub, dialect: Dialect, by_key: Sinks) -> None:
        self._hub = hub
        self._wire = dialect.wire
        self._by_key = by_key
        self._frames: list[bytes] = []
        self._bits: dict[str, int] = {}
        self.size_bytes = 0
        self.deliveries = 0
        self.written_bytes = 0

    @property
    def frames(self) -> int:
        """How many frames somebody wants."""
        return len(self._frames)

    def add(self, record: Record) -> None:
        """Take the frames of *record* that somebody here wants."""
        by_key = self._by_key
        for slot in record.slots:
            wanted = [key for key in slot.keys if key in by_key]
            if wanted:
                data = self._wire(record, slot)
                bit = 1 << len(self._frames)
                self._frames.append(data)
                self.size_bytes += len(data)
                for key in wanted:
                    self._bits[key] = self._bits.get(key, 0) | bit

    def run(self) -> Iterator[None]:
        """Write to every connection; suspends now and then, between connections only."""
        if len(self._bits) == 1:
            [key] = self._bits
            yield from self._write_same(self._by_key.get(key, {}))
        elif self._bits:
            yield from self._write_masked(self._collect())

    def _write_same(self, sinks: Mapping[Member, Sink]) -> Iterator[None]:
        hub, data = self._hub, b"".join(self._frames)
        size = len(data)
        members, calls = tuple(sinks), tuple(sinks.values())
        changes = hub.changes
        for start in range(0, len(members), _STRIDE):
            if hub.changes != changes:
                # While others had their turn somebody left, or became behind or level.
                calls, changes = tuple(map(sink_of, members)), hub.changes
            chunk = members[start : start + _STRIDE]
            behind = sum(member.lag is not None for member in chunk) if hub.held else 0
            # The loop that everything is about: nothing in it but the call, unless a socket is full.
            for member, call in zip(chunk, calls[start : start + _STRIDE], strict=True):
                try:
                    taken = call(data)
                except OSError:
                    taken = 0
                if taken != size and taken is not None:
                    member.spill(data, taken)
            self._count(len(chunk) - behind, len(self._frames), len(data))
            yield

    def _collect(self) -> list[Member]:
        collected: list[Member] = []
        for key, bits in self._bits.items():
            # Whoever was on it may have left while another dialect had its turn.
            for member in self._by_key.get(key, ()):
                if not member.mask:
                    collected.append(member)
                member.mask |= bits
        return collected

    def _write_masked(self, members: Sequence[Member]) -> Iterator[None]:
        joined: dict[int, bytes] = {}
        for start in range(0, len(members), _STRIDE):
            for member in members[start : start + _STRIDE]:
                mask = member.mask
                member.mask = 0
                data = joined.get(mask)
                if data is None:
                    joined[mask] = data = self._join(mask)
                if member.lag is None:
                    _write(member, data)
                    self._count(1, mask.bit_count(), len(data))
                else:
                    member.lag.hold(data)
            yield

    def _count(self, members: int, frames: int, size_bytes: int) -> None:
        self.deliveries += members * frames
        self.written_bytes += members * size_bytes

    def _join(self, mask: int) -> bytes:
        return b"".join(frame for bit, frame in enumerate(self._frames) if mask >> bit & 1)


def _write(member: Member, data: bytes) -> None:
    try:
        taken = member.write(data)
    except OSError:
        taken = 0
    if taken != len(data) and taken is not None:
        member.spill(data, taken)


def batches(hub: Hub, records: Sequence[Record]) -> Iterator[tuple[Sequence[Delivery], int]]:
    """Split *records* into batches of at most about 64 KB of frames: a delivery for each dialect.

    Gives each with the number of the record behind its last one.
    """
    by_dialect = hub.by_dialect
    deliveries: list[Delivery] = []
    is_full = True
    for record in records:
        if is_full:
            deliveries = [Delivery(hub, dialect, by_key) for dialect, by_key in by_dialect.items()]
            is_full = False
        for delivery in deliveries:
            delivery.add(record)
            if delivery.size_bytes >= BATCH_BYTES:
                is_full = True
        if is_full or record is records[-1]:
            yield deliveries, record.seq + 1
