"""Running the command as users do: a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from tests.kit.canaries import CANARIES
from tests.kit.processes import FANWIRE

__all__ = ["fanwire", "bare_environment"]


def bare_environment() -> dict[str, str]:
    """Return our environment without any setting of Fanwire."""
    return {name: text for name, text in os.environ.items() if not name.startswith("FANWIRE_")}


def fanwire(
    *argv: str, environment: Mapping[str, str] | None = None, text: str = "", seconds: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run `fanwire` to its end with *text* as its input, and return exit code and output.

    Raises SecretShown where the output holds a credential that the kit has made.
    """
    done = subprocess.run(
        (*FANWIRE, *argv),
        input=text,
        env={**bare_environment(), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    CANARIES.check(done.stdout + done.stderr, f"the output of fanwire {' '.join(argv[:1])}")
    return done
