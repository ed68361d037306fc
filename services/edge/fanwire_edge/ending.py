"""The end of subscriptions that the client did not ask for: a permission that is withdrawn or over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fanwire_edge.core import answers

if TYPE_CHECKING:
    from fanwire_edge.connection import Connection
    from fanwire_edge.edge import Edge

__all__ = ["end_subscriptions"]


def end_subscriptions(edge: Edge, connection: Connection, names: Iterable[str], reason: str) -> None:
    """Take *connection* off those of *names* that it is on, with all that is still due on them, and tell it.

    Not to be called in the middle of a delivery.
    """
    ended = [name for name in names if name in connection.keys]
    if not ended:
        return
    for name in ended:
        edge.hub.unsubscribe(connection, name)
    connection.coverage.end(ended)
    if connection.lag is not None and connection.lag.replay is not None:
        connection.lag.replay.drop(ended)
    edge.tally.subscriptions_ended[reason] += len(ended)
    connection.send(answers.unsubscribed(ended, reason, None))
