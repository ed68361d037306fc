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

from collections.abc import Iterable, Iterator, Sequence

from fanwire_edge.core.crowd import Crowd
from fanwire_edge.core.dialect import Dialect
from fanwire_edge.core.hub import Hub, Member, Members, Sender
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

    __slots__ = (
        "_bits",
        "_by_key",
        "_dialect",
        "_frames",
        "_hub",
        "_wire",
        "deliveries",
        "size_bytes",
        "written_bytes",
    )

    def __init__(self, hub: Hub, dialect: Dialect, by_key: Members) -> None:
        self._hub = hub
        self._dialect = dialect
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
                if not data:
                    continue  # Its event breaks a rule.
                bit = 1 << len(self._frames)
                self._frames.append(data)
                self.size_bytes += len(data)
                for key in wanted:
                    self._bits[key] = self._bits.get(key, 0) | bit

    def run(self) -> Iterator[None]:
        """Write to every connection; suspends now and then, between connections only."""
        if len(self._bits) == 1:
            [key] = self._bits
            members = self._by_key.get(key, {})
            send = self._hub.send if len(members) >= self._hub.crowd_from else None
            if send is None:
                yield from self._write_same(tuple(members), b"".join(self._frames))
            else:
                yield from self._send_same(key, send, b"".join(self._frames))
        elif self._bits:
            yield from self._write_masked(self._collect())

    def _send_same(self, key: str, send: Sender, data: bytes) -> Iterator[None]:
        hub = self._hub
        crowd, changes, start = hub.crowd(self._dialect, key), hub.changes, 0
        others = list(crowd.others)
        while start < len(crowd.members):
            stop = min(start + _STRIDE, len(crowd.members))
            for place, taken in send(crowd.numbers, start, stop, data):
                crowd.members[place].spill(data, taken)
            self._count(stop - start, len(self._frames), len(data))
            yield
            start = stop
            if hub.changes != changes:
                # While others had their turn somebody left, or became behind or level.
                crowd, changes, start = Crowd(crowd.members[stop:]), hub.changes, 0
                others += crowd.others
        yield from self._write_same(others, data)

    def _write_same(self, members: Sequence[Member], data: bytes) -> Iterator[None]:
        for start in range(0, len(members), _STRIDE):
            chunk = members[start : start + _STRIDE]
            behind = 0
            for member in chunk:
                lag = member.lag
                if lag is None:
                    member.write(data)
                else:
                    lag.hold(data)
                    behind += 1
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
                    member.write(data)
                    self._count(1, mask.bit_count(), len(data))
                else:
                    member.lag.hold(data)
            yield

    def _count(self, members: int, frames: int, size_bytes: int) -> None:
        self.deliveries += members * frames
        self.written_bytes += members * size_bytes

    def _join(self, mask: int) -> bytes:
        return b"".join(frame for bit, frame in enumerate(self._frames) if mask >> bit & 1)


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
