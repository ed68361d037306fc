"""How many refusals the audit log writes: the first of everybody in every minute, then their number.

Who is refused a thousand times a second fills no disk with it, and hides nobody else's refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fanwire_edge.core.audit import AuditRecord

__all__ = ["LINES_EACH", "MAX_WHO", "WINDOW_SECONDS", "Denials"]

WINDOW_SECONDS = 60.0
# Lines of one connection, or of one address without one, within a window.
LINES_EACH = 20
# Those beyond share the lines of one.
MAX_WHO = 1000


@dataclass(slots=True)
class _Refused:
    """One of those who were refused in this window, and the last refusal that got no line."""

    lines: int = 0
    left_out: int = 0
    last: AuditRecord | None = None


class Denials:
    """Decides which refusals get a line."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self._refused: dict[str, _Refused] = {}

    def take(self, who: str, record: AuditRecord, now: float) -> list[AuditRecord]:
        """Return what is to be written when *who* gets the refusal *record* at *now* (seconds).

        That is the record where it gets a line, behind the counts of a window that has ended.
        """
        due = self.due(now)
        if not self._refused:
            self._began_at = now
        # An empty name is that of all who are too many.
        name = who if who in self._refused or len(self._refused) < MAX_WHO else ""
        refused = self._refused.setdefault(name, _Refused())
        if refused.lines < LINES_EACH:
            refused.lines += 1
            return [*due, record]
        refused.left_out += 1
        refused.last = record if name else AuditRecord(record.time, record.event, where=record.where)
        return due

    def due(self, now: float) -> list[AuditRecord]:
        """Return a record for each who had refusals without a line, once the window has ended at *now*."""
        if not self._refused or now - self._began_at < WINDOW_SECONDS:
            return []
        return self.rest()

    def rest(self) -> list[AuditRecord]:
        """Return the same at any time; the window ends with it."""
        refused, self._refused = self._refused, {}
        return [_counted(each.last, each.left_out) for each in refused.values() if each.last is not None]


def _counted(last: AuditRecord, left_out: int) -> AuditRecord:
    reason = f"refused so often within {WINDOW_SECONDS:g} s that only their number is written"
    return replace(last, channel=None, code=None, reason=reason, count=left_out)
