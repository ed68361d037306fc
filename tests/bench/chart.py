"""Bar charts as SVG, small enough to be our own: one bar for each system, longest last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Bar", "Chart"]

_WIDTH, _LABELS, _VALUES = 720, 170, 110
_ROW, _BAR, _TOP, _BOTTOM = 26, 18, 44, 14
_FONT = 'font-family="system-ui, sans-serif"'
_OURS, _THEIRS, _FLOOR = "#0a7d55", "#8a94a6", "#c9ced8"


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with the spread of its runs; *kind* is `ours`, `peer` or `floor`."""

    label: str
    value: float
    least: float
    most: float
    kind: str = "peer"


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars that are compared: the shorter the better."""

    name: str
    title: str
    unit: str
    bars: Sequence[Bar]

    def as_svg(self) -> str:
        """Return the drawing, shortest bar first."""
        bars = sorted(self.bars, key=lambda bar: bar.value)
        height = _TOP + len(bars) * _ROW + _BOTTOM
        scale = (_WIDTH - _LABELS - _VALUES) / (max((bar.value for bar in bars), default=0) or 1)
        rows = [_row(bar, _TOP + place * _ROW, scale, self.unit) for place, bar in enumerate(bars)]
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
                f'aria-label="{escape(self.title, {chr(34): "&quot;"})}">',
                f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
                f'<text x="12" y="24" {_FONT} font-size="15" fill="#1c2430">{escape(self.title)}</text>',
                *rows,
                "</svg>",
                "",
            ]
        )


def _row(bar: Bar, top: int, scale: float, unit: str) -> str:
    colour = {"ours": _OURS, "floor": _FLOOR}.get(bar.kind, _THEIRS)
    width = max(1.0, bar.value * scale)
    middle = top + _BAR / 2 + 4
    weight = ' font-weight="bold"' if bar.kind == "ours" else ""
    shown = f"{bar.value:,.{_decimals(bar.value)}f} {unit}"
    return (
        f'<text x="{_LABELS - 8}" y="{middle:g}" {_FONT} font-size="12" text-anchor="end"{weight}>'
        f"{escape(bar.label)}</text>"
        f'<rect x="{_LABELS}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2" fill="{colour}">'
        f"<title>{bar.least:g} … {bar.most:g} {escape(unit)}</title></rect>"
        f'<text x="{_LABELS + width + 6:.1f}" y="{middle:g}" {_FONT} font-size="12" fill="#1c2430"{weight}>'
        f"{escape(shown)}</text>"
    )


def _decimals(value: float) -> int:
    if value >= 100:
        return 0
    return 1 if value >= 10 else 2
