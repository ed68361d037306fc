"""What is being measured, told on standard error with the seconds since the start."""

from __future__ import annotations

import sys
import time

__all__ = ["tell"]

_BEGAN = time.monotonic()


def tell(what: str) -> None:
    """Write what begins now."""
    print(f"{time.monotonic() - _BEGAN:5.0f} s  {what}", file=sys.stderr, flush=True)
