"""What a terminal may be shown: text of other machines without the characters that steer it. Pure."""

from __future__ import annotations

import re

__all__ = ["visible"]

# Controls but the tab, separators of lines, overrides of the writing direction, and halves of surrogate
# pairs, which cannot be written at all.
_STEERING = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return *text* with each steering character as `\u001b`; JSON without line breaks keeps its meaning."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
