"""Crowds: many members that get the same bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fanwire_edge.core.hub import Member

__all__ = ["Crowd"]


class Crowd:
    """Members that can be sent to at once, by the `numbers` of their sockets, and the `others`.

    Valid until the hub changes: a number may be another socket's then.
    """

    __slots__ = ("members", "numbers", "others")

    def __init__(self, members: Iterable[Member]) -> None:
        direct: list[Member] = []
        self.others: list[Member] = []
        for member in members:
            (direct if member.number >= 0 and member.lag is None else self.others).append(member)
        self.members = tuple(direct)
        self.numbers = array("i", [member.number for member in direct])
