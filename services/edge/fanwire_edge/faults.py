"""Faults: what is said of an event that breaks a rule, once that is found (PROTOCOL §7).

What routes it is looked at when it is read, the rest when somebody is to get it.
"""

from __future__ import annotations

import logging

from fanwire_edge.core.stream import Stream
from fanwire_edge.edge import Edge

__all__ = ["report_fault", "report_faulty"]

logger = logging.getLogger("fanwire.faults")


def report_fault(edge: Edge, stream: Stream, entry_id: str, reason: str) -> None:
    """Count an event that is skipped, and log why."""
    edge.tally.events_invalid += 1
    logger.warning("event_invalid", extra={"topic": stream.topic, "entry": entry_id, "reason": reason})


def report_faulty(edge: Edge) -> None:
    """Report what was found since the last time."""
    while edge.faulty:
        record = edge.faulty.pop()
        report_fault(edge, record.stream, record.id, record.fault or "")
