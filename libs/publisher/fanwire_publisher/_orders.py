"""Orders to the edges: revocations and disconnections, and the commands that give them (PROTOCOL §7); no I/O.

A revocation is written down first, in a hash, for edges that start later or had a hole in what they read;
then all edges are told. Both may be done again under the same id: twice says no more than once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fanwire_protocol import InvalidData, InvalidEvent
from fanwire_protocol.keys import ENTRY_FIELD, control_key, revoked_key
from fanwire_protocol.orders import InvalidOrder, Operation, Order, decode_order, encode_order
from fanwire_publisher._errors import PublishFailed, PublishRefused
from fanwire_publisher._ledger import CONTROL_ENTRIES, Command

__all__ = ["Instruction", "encoded", "expired", "instruct", "pairs_of", "removal"]

# Fields of the hash that are looked at with each revocation, some of which may be over.
LOOKED_AT = 8
# What has no end is over for every edge by then: no token should live for longer.
ENDLESS_MS = 30 * 86_400_000
# Whoever removes them may have a clock that is ahead.
GRACE_MS = 3_600_000


@dataclass(slots=True)
class Instruction:
    """An order on its way: whether it is written down, and whether anything of it may be in Redis."""

    order: Order
    data: bytes
    is_written: bool = False
    is_uncertain: bool = False
    reason: str = "Redis did not answer"

    def error(self) -> PublishFailed:
        """Return the error that says what became of it."""
        kind = PublishFailed if self.is_uncertain else PublishRefused
        return kind(self.order.id, self.reason)

    def writing(self, prefix: str) -> tuple[Command, ...]:
        """Return the command that writes a revocation down; none where that is not needed."""
        if self.is_written or self.order.operation is not Operation.REVOKE:
            return ()
        return (("HSET", revoked_key(prefix), self.order.id, self.data),)

    def telling(self, prefix: str) -> tuple[Command, ...]:
        """Return the command that tells all edges, and one that looks for what is over."""
        key = control_key(prefix)
        told: Command = ("XADD", key, "MAXLEN", "~", CONTROL_ENTRIES, "*", ENTRY_FIELD, self.data)
        if self.order.operation is not Operation.REVOKE:
            return (told,)
        return told, ("HRANDFIELD", revoked_key(prefix), LOOKED_AT, "WITHVALUES")


def instruct(order: Order, *, allow_system: bool) -> Instruction:
    """Return *order* on its way; raises InvalidEvent, naming the field, where a rule is broken."""
    if order.tenant is None and not allow_system:
        raise InvalidEvent(
            "is missing; an order to every tenant needs a publisher with allow_system=True", "tenant"
        )
    return Instruction(order, encoded(order))


def encoded(order: Order) -> bytes:
    """Encode *order*; raises InvalidEvent."""
    try:
        return encode_order(order)
    except InvalidOrder as error:
        raise InvalidEvent(error.reason, error.path) from error


def pairs_of(reply: Any) -> Sequence[tuple[bytes, bytes]]:
    """Return fields with their values, as RESP3 has them in pairs and RESP2 in a row."""
    if not isinstance(reply, list):
        return ()
    if reply and isinstance(reply[0], bytes):
        return list(zip(reply[::2], reply[1::2], strict=False))
    return [(field, value) for field, value in reply]


def expired(found: Iterable[tuple[bytes, bytes]], now_ms: int) -> list[bytes]:
    """Return the fields of revocations that are over by every clock."""
    return [field for field, data in found if _is_over(data, now_ms)]


def _is_over(data: bytes, now_ms: int) -> bool:
    try:
        order = decode_order(data)
    except InvalidData:
        # Somebody else's; edges say what is wrong with it.
        return False
    if not isinstance(order, Order):
        return False
    until_ms = order.at + ENDLESS_MS if order.until is None else order.until
    return until_ms + GRACE_MS < now_ms


def removal(prefix: str, fields: Sequence[bytes]) -> Command:
    """Return the command that forgets *fields*."""
    return ("HDEL", revoked_key(prefix), *fields)
