"""What both answered, whether that is the same, and a report that says where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Cell", "Comparison", "Disagreements", "expected_answer"]


def expected_answer(status: int | None) -> str:
    """Return how a subscription must be answered where REST answers *status*; None is no answer at all."""
    if status is not None and 200 <= status < 300:
        return "subscribed"
    if status == 401:
        return "unauthenticated"
    # What does not exist answers like what is not permitted.
    return "forbidden" if status in (403, 404) else "unavailable"


@dataclass(frozen=True, slots=True)
class Cell:
    """One user and one row: what REST and the edge answered."""

    user: str
    route: str
    channel: str
    status: int | None
    answer: str

    @property
    def expected(self) -> str:
        """The answer that would be that of REST."""
        return expected_answer(self.status)

    @property
    def agrees(self) -> bool:
        """Whether both say the same."""
        return self.answer == self.expected


class Disagreements(AssertionError):
    """The edge answers otherwise than REST; the text is the report, which shows no credential."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All answers, by user and row."""

    api: str
    edge: str
    cells: Sequence[Cell]

    @property
    def disagreements(self) -> list[Cell]:
        """The cells in which both say different things."""
        return [cell for cell in self.cells if not cell.agrees]

    def check(self) -> None:
        """Raise Disagreements where there are any."""
        if self.disagreements:
            raise Disagreements(self.report())

    def report(self) -> str:
        """Return a line for each disagreement, and how many there are."""
        found = self.disagreements
        head = f"{len(found)} of {len(self.cells)} answers of {self.edge} are not those of {self.api}"
        if not found:
            return head
        rows = [("user", "REST", "route", "edge", "must be", "channel")]
        rows += [
            (cell.user, _shown(cell.status), cell.route, cell.answer, cell.expected, cell.channel)
            for cell in found
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([f"{head}:", *(f"  {line}" for line in lines)])


def _shown(status: int | None) -> str:
    return "no answer" if status is None else str(status)
