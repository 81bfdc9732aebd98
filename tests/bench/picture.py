"""The figures as a picture: for each workload a bar for each contestant, the ideal as a line. SVG, made by hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.bench.figures import Group, is_ours
from tests.bench.workloads import WORKLOADS

SHOWN = ("w1", "w2", "w3", "w4", "w5")
_WIDTH, _NAMES, _BARS = 900, 170, 560  # of the picture, of the names, of the longest bar
_ROW, _BAR, _GAP = 20, 14, 52
_CUT = 4.0  # bars end at so many times the ideal, with a mark: else clusters would flatten all others
_FONT = 'font-family="system-ui, sans-serif"'
_OURS, _THEIRS, _INK, _FAINT = "#0b6e4f", "#b9bfc7", "#1f2328", "#6a737d"


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    wall_s: float
    ratio: float
    cut: float


def draw(groups: Mapping[str, Group]) -> str:
    """Workloads that were not measured are left out."""
    body: list[str] = []
    y = 76
    for name in SHOWN:
        if name in groups and groups[name].ideal:
            panel, y = _panel(name, groups[name], y)
            body += panel
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>',
        _text(24, 32, "Time to score everything, two workers on two cores: shorter is better", size=18, bold=True),
        _text(
            24, 52, "From start to exit. Only batchctl is durable. Dashed: the work shared evenly, at no cost.", _FAINT
        ),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _panel(name: str, group: Group, y: int) -> tuple[list[str], int]:
    bars = _bars(group)
    ideal = statistics.median(group.ideal.values())
    longest = max(min(bar.ratio, bar.cut) for bar in bars)
    scale = _BARS / longest
    parts = [_text(24, y, f"{name.upper()}  {WORKLOADS[name].title}", bold=True)]
    top = y + 10
    for number, bar in enumerate(bars):
        at = top + number * _ROW
        ours, width = is_ours(bar.name), min(bar.ratio, bar.cut) * scale
        middle = at + _BAR - 3
        parts.append(_text(24 + _NAMES - 8, middle, bar.name, _OURS if ours else _INK, end=True, bold=ours))
        fill = _OURS if ours else _THEIRS
        parts.append(f'<rect x="{24 + _NAMES}" y="{at}" width="{width:.1f}" height="{_BAR}" fill="{fill}"/>')
        if bar.ratio > bar.cut:  # a slanted white stripe: the bar is longer than the room for it
            x = 24 + _NAMES + width - 26
            parts.append(f'<path d="M{x:.1f} {at + _BAR + 1} l8 -{_BAR + 2} h6 l-8 {_BAR + 2} z" fill="#ffffff"/>')
        told = f"{bar.wall_s:.3g} s" + (f", {bar.ratio:.3g} x the ideal" if bar.ratio > bar.cut else "")
        x = 24 + _NAMES + width + 6
        parts.append(_text(x, middle, told, _OURS if ours else _FAINT, bold=ours))
    bottom, x = top + len(bars) * _ROW, 24 + _NAMES + scale
    parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{bottom}" stroke="{_INK}" stroke-dasharray="4 3"/>'
    )
    parts.append(_text(x, bottom + 13, f"ideal {ideal:.3g} s", _INK, size=11, middle=True))
    return parts, bottom + _GAP


def _bars(group: Group) -> Sequence[_Bar]:
    """Fastest first; those that did all of the work."""
    names = [name for name in group.names if group.of(name)[0].items == group.items]
    found = []
    for name in names:
        ratios = group.ratios(name, group.ideal)
        if ratios:
            found.append((statistics.median(ratios), statistics.median(group.walls(name).values()), name))
    ours = max((ratio for ratio, _, name in found if is_ours(name)), default=1.0)
    cut = max(_CUT, ours * 1.2)
    return [_Bar(name, wall, ratio, cut) for ratio, wall, name in sorted(found)]


def _text(
    x: float,
    y: float,
    text: str,
    fill: str = _INK,
    *,
    size: int = 13,
    bold: bool = False,
    end: bool = False,
    middle: bool = False,
) -> str:
    anchor = ' text-anchor="end"' if end else ' text-anchor="middle"' if middle else ""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" font-size="{size}" fill="{fill}"{anchor}{weight}>{escape(text)}</text>'
