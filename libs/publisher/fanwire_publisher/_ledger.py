"""What a publisher knows of the broker, and the commands that follow from it (PROTOCOL §7); no I/O.

Theory of operation. A topic needs one *setup* exchange before its first event: the number of partitions is
agreed on, the topic is registered, the broker's identity is read. After that an event costs one command.
All of it is taken on trust for a second; then the next event takes the identity and the registration along
in its own pipeline. After any error the ledger forgets everything but the number of partitions, since
what answers next may be another broker, or the same one emptied.

Identity is read *before* the entry is added, in the same pipeline: should the broker change between the
two, the position carries the old identity and counts as unproven, instead of proving what is not so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.exceptions import NoPermissionError

from fanwire_protocol import Position
from fanwire_protocol.codec import encode_msgpack
from fanwire_protocol.keys import ENTRY_FIELD, config_key, control_key, partition_of, stream_key, topics_key
from fanwire_publisher._errors import PartitionsConflict
from fanwire_publisher._options import MAX_PARTITIONS, PublisherOptions
from fanwire_publisher._record import Record

__all__ = ["Batch", "Command", "Ledger"]

Command: TypeAlias = tuple[str | bytes | int, ...]
Reply: TypeAlias = Any

TRUST_SECONDS = 1.0
TRIM_EVERY = 1000
CONTROL_ENTRIES = 10_000
# Names of topics and streams that are remembered; beyond, the oldest is forgotten and looked at anew.
MAX_REMEMBERED = 4096
UNKNOWN_BROKER = "00000000"
_PARTITIONS = "partitions"


@dataclass(slots=True)
class _Stream:
    """One stream: when its last entry was added by the broker's clock, and how many since the last trim."""

    last_ms: int | None = None
    untrimmed: int = TRIM_EVERY


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that add records to one stream; the reply to the first record's stands at `first`."""

    topic: str
    key: str
    broker: str
    count: int
    commands: tuple[Command, ...]
    first: int
    has_refresh: bool
    is_transaction: bool


class Ledger:
    """The state of one publisher towards one broker."""

    def __init__(self, options: PublisherOptions) -> None:
        self._options = options
        self._prefix = options.prefix
        self._partitions = options.partitions
        self._is_agreed = False
        self._broker = UNKNOWN_BROKER
        self._trusted_until: dict[str, float] = {}
        self._owed_announcements: set[str] = set()
        self._streams: dict[str, _Stream] = {}

    def needs_setup(self, topic: str) -> bool:
        """Tell whether setup comes before the next event of *topic*."""
        is_known = self._is_agreed and topic in self._trusted_until
        return not is_known or topic in self._owed_announcements

    def partition(self, record: Record) -> int:
        """Return the partition of *record*; after setup only."""
        assert self._partitions is not None, "the number of partitions comes from setup"
        return partition_of(record.topic, record.tenant, self._partitions)

    def forget(self) -> None:
        """Take nothing on trust any more; after an error."""
        self._is_agreed = False
        self._forget_broker()

    def _forget_broker(self) -> None:
        self._broker = UNKNOWN_BROKER
        self._trusted_until.clear()
        # Under another clock the last id could drop entries that are new.
        self._streams.clear()

    def setup(self, topic: str) -> tuple[Command, ...]:
        """Return the commands that agree on partitions and register *topic*."""
        config = config_key(self._prefix)
        return (
            ("HSETNX", config, _PARTITIONS, self._partitions or 1),
            ("HGET", config, _PARTITIONS),
            *self._refresh(topic),
        )

    def take_setup(self, topic: str, replies: Sequence[Reply], now: float) -> bool:
        """Take in the replies to setup(); tell whether the topic is to be announced.

        Raises PartitionsConflict, or the first error among the replies.
        """
        _raise_first(replies)
        self._agree(replies[1])
        self._take_refresh(topic, replies[2:], now)
        is_owed = topic in self._owed_announcements
        self._owed_announcements.discard(topic)
        return is_owed

    def announcement(self, topic: str, event_id: str, now_ms: int) -> Command:
        """Return the command that tells the edges of a new topic."""
        entry = encode_msgpack({"v": 1, "op": "topic", "id": event_id, "at": now_ms, "topic": topic})
        key = control_key(self._prefix)
        return ("XADD", key, "MAXLEN", "~", CONTROL_ENTRIES, "*", ENTRY_FIELD, entry)

    def take_announcement(self, replies: Sequence[Reply]) -> None:
        """Take in the reply to announcement(); raises the error that it may be.

        Who has no right to write control may publish all the same: edges look for topics by themselves.
        """
        if not isinstance(replies[0], NoPermissionError):
            _raise_first(replies)

    def owe_announcement(self, topic: str) -> None:
        """Remember that *topic* is registered and the edges were not told; the next setup tells them."""
        self._owed_announcements.add(topic)

    def batch(self, records: Sequence[Record], now: float) -> Batch:
        """Return the commands that add *records*, all of one topic and partition, in their order.

        Several are added in one transaction: all of them or none, so that a refusal in the middle cannot
        change their order; and a blocked reader then wakes for all of them instead of for the first.
        """
        topic = records[0].topic
        key = stream_key(self._prefix, topic, self.partition(records[0]))
        stream = self._stream(key)
        is_trusted = self._broker != UNKNOWN_BROKER and now < self._trusted_until.get(topic, now)
        refresh = () if is_trusted else self._refresh(topic)
        adds: tuple[Command, ...] = tuple(self._add(key, stream, record) for record in records)
        is_transaction = len(adds) > 1
        if is_transaction:
            adds = (("MULTI",), *adds, ("EXEC",))
        return Batch(
            topic=topic,
            key=key,
            broker=self._broker,
            count=len(records),
            commands=(*refresh, *adds, *self._trim(key, stream, len(records))),
            first=len(refresh) + is_transaction,
            has_refresh=bool(refresh),
            is_transaction=is_transaction,
        )

    def take_batch(self, batch: Batch, replies: Sequence[Reply], now: float) -> list[Position]:
        """Take in the replies to batch() and return the positions; raises the first error of an addition."""
        ids = replies[batch.first : batch.first + batch.count]
        if batch.is_transaction:
            # A refusal stands where the command was queued, or else in the reply to EXEC.
            _raise_first(ids)
            ids = replies[batch.first + batch.count]
            _raise_first([ids])
        _raise_first(ids)
        broker = batch.broker
        if batch.has_refresh:
            broker = self._take_refresh(batch.topic, replies[:2], now)
        positions = [Position(id_.decode(), broker) for id_ in ids]
        # Another call's error may have made the ledger forget while this reply was on its way.
        if broker == self._broker:
            stream = self._stream(batch.key)
            stream.last_ms = max(stream.last_ms or 0, positions[-1].time_ms)
        return positions

    def _agree(self, stored: Reply) -> None:
        text = stored.decode() if isinstance(stored, bytes) else repr(stored)
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
        place = f"the field {_PARTITIONS} of {config_key(self._prefix)}"
        if not 1 <= number <= MAX_PARTITIONS:
            raise PartitionsConflict(f"{place} is {text!r}, not 1 to {MAX_PARTITIONS}; take another prefix")
        if self._partitions not in (None, number):
            raise PartitionsConflict(
                f"{place} is {number} and this process has partitions={self._partitions}: "
                f"take {number}, or another prefix; the number of a log never changes"
            )
        self._partitions = number
        self._is_agreed = True

    def _refresh(self, topic: str) -> tuple[Command, Command]:
        return ("SADD", topics_key(self._prefix), topic), ("INFO", "replication")

    def _take_refresh(self, topic: str, replies: Sequence[Reply], now: float) -> str:
        added, info = replies
        if isinstance(added, Exception) or isinstance(info, Exception):
            # The events beside it are in the log; the next one's setup will say what is wrong.
            self._trusted_until.pop(topic, None)
            return UNKNOWN_BROKER
        broker = str(info.get("master_replid", UNKNOWN_BROKER))[: len(UNKNOWN_BROKER)]
        if broker != self._broker:
            self._forget_broker()
            self._broker = broker
        self._trusted_until[topic] = now + TRUST_SECONDS
        _bound(self._trusted_until)
        if added:
            self.owe_announcement(topic)
        return broker

    def _add(self, key: str, stream: _Stream, record: Record) -> Command:
        oldest_ms = (stream.last_ms or 0) - self._options.retention_seconds * 1000
        trim = ("MINID", "~", oldest_ms) if oldest_ms > 0 else ()
        return ("XADD", key, *trim, "*", ENTRY_FIELD, record.data)

    def _trim(self, key: str, stream: _Stream, count: int) -> tuple[Command, ...]:
        # Not in the XADD: Redis takes one kind of trimming per command.
        stream.untrimmed += count
        if stream.untrimmed < min(TRIM_EVERY, self._options.max_entries):
            return ()
        stream.untrimmed = 0
        return (("XTRIM", key, "MAXLEN", "~", self._options.max_entries),)

    def _stream(self, key: str) -> _Stream:
        stream = self._streams.setdefault(key, _Stream())
        _bound(self._streams)
        return stream


def _bound(remembered: dict[str, Any]) -> None:
    if len(remembered) > MAX_REMEMBERED:
        del remembered[next(iter(remembered))]


def _raise_first(replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
