"""The end of a command that could not do what it was asked for."""

from __future__ import annotations

__all__ = ["Failure"]


class Failure(Exception):
    """A command cannot go on; the text is one line that says why and what would work.

    `status` is the exit code: 2 where the command line itself is wrong, 1 otherwise. `details` are further
    lines, such as the last output of a child.
    """

    def __init__(self, text: str, *, status: int = 1, details: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.details = details
