"""Secrets of the test run, and the search for them in everything that processes and tests write.

Whatever makes a credential for a test remembers it here, and so does what makes payloads. A process that the
kit ends, metrics that it reads, and what a test itself logs or prints are searched for all of them.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CANARIES", "PAYLOAD_CANARY", "Canaries", "SecretShown"]

# Stands in payloads, and nowhere else: an edge that writes it down writes down what users said.
PAYLOAD_CANARY: Final = "canary-3f9a1c77"
# As much of a secret tells that it is that one; so what was cut is found, too.
_PIECE = 16
# What a JWT begins with: an object, in base64.
_HEADER = "eyJ"
_LETTERS = "[A-Za-z0-9_-]"
_RUN = re.compile(rf"{_LETTERS}{{{_PIECE},}}")


class SecretShown(AssertionError):
    """A secret stands where everybody can read it."""


class Canaries:
    """Remembers secrets, thousands of them, and finds them in a text of megabytes within a blink."""

    def __init__(self) -> None:
        self._pieces: set[str] = set()
        self._texts: set[str] = set()

    def remember(self, secret: str) -> str:
        """Look out for *secret* from now on, and return it."""
        piece = _RUN.match(secret)
        if piece is None:
            self._texts.add(secret)
        elif piece[0].startswith(_HEADER):
            # All tokens begin alike; what follows does not.
            self._pieces.add(secret[-_PIECE:])
        else:
            self._pieces.add(piece[0][:_PIECE])
        return secret

    def remember_token(self, token: str) -> str:
        """Look out for the signature of *token*, without which the rest of it is no credential."""
        self.remember(token.rpartition(".")[2])
        return token

    def shown_in(self, text: str) -> list[str]:
        """Return the beginnings of all secrets that stand in *text*."""
        found = {secret for secret in self._texts if secret in text}
        for run in _RUN.findall(text):
            found.update(
                piece
                for start in range(len(run) - _PIECE + 1)
                if (piece := run[start : start + _PIECE]) in self._pieces
            )
        return sorted(found)

    def check(self, text: str, where: str) -> None:
        """Raise SecretShown where *text*, which comes from *where*, shows a secret."""
        shown = self.shown_in(text)
        if shown:
            lines = [line for line in text.splitlines() if any(secret in line for secret in shown)]
            raise SecretShown(f"{where} shows {', '.join(shown)}:\n" + "\n".join(lines[:5]))


# One for the process, as secrets are made and ended in different corners of it.
CANARIES: Final = Canaries()
CANARIES.remember(PAYLOAD_CANARY)
