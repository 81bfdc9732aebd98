"""The figures as a picture: for each workload a bar for each contestant, the ideal as a line. SVG, made by hand."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.bench.figures import Group, is_ours, is_peer
from tests.bench.workloads import WORKLOADS

SHOWN = ("w1", "w2", "w3", "w4", "w5")
_WIDTH, _NAMES, _BARS = 900, 170, 540  # of the picture, of the names, of the longest bar
_ROW, _BAR, _GAP = 20, 14, 52
_CUT = 4.0  # bars end at so many times the ideal, with a mark: else clusters would flatten all others
_FONT = 'font-family="system-ui, sans-serif"'
_OURS, _THEIRS, _INK, _FAINT, _PAPER = "#0b6e4f", "#b9bfc7", "#1f2328", "#6a737d", "#ffffff"


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    wall_s: float
    ratio: float


def draw(groups: Mapping[str, Group]) -> str:
    """Workloads that were not measured are left out; where none was, the picture says so."""
    body: list[str] = []
    y = 76
    shown = {name: groups[name] for name in SHOWN if name in groups and groups[name].ideal}
    for name, group in shown.items():
        panel, y = _panel(name, group, y)
        body += panel
    if not shown:
        body, y = [_text(24, y + 8, "Not run")], y + _GAP
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" {_FONT}>',
        _rect(0, 0, _WIDTH, y, _PAPER),
        _text(24, 32, "Time to score everything, two workers on two cores: shorter is better", size=18, bold=True),
        _text(
            24, 52, "From start to exit. Only batchctl is durable. Dashed: the work shared evenly, at no cost", _FAINT
        ),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _panel(name: str, group: Group, y: int) -> tuple[list[str], int]:
    bars = _bars(group)
    ideal = statistics.median(group.ideal.values())
    cut = max([_CUT, *(1.1 * bar.ratio for bar in bars if is_ours(bar.name))])
    scale = _BARS / cut
    top, left = y + 10, 24 + _NAMES
    bars_end = top + len(bars) * _ROW
    drawn, labels = [_text(24, y, f"{name.upper()}  {WORKLOADS[name].title}", bold=True)], []
    for number, bar in enumerate(bars):
        at, width = top + number * _ROW, min(bar.ratio, cut) * scale
        base, end, ours = at + _BAR - 3, left + width, is_ours(bar.name)
        fill, ink = (_OURS, _OURS) if ours else (_THEIRS, _FAINT)
        told = f"{bar.wall_s:.3g} s" + (f" ({bar.ratio:.3g} x ideal)" if bar.ratio > cut else "")
        drawn.append(_text(left - 8, base, bar.name, _OURS if ours else _INK, end=True, bold=ours))
        drawn.append(_rect(left, at, width, _BAR, fill))
        if bar.ratio > cut:  # a slanted stripe: the bar is longer than the room for it
            drawn.append(
                f'<path d="M{end - 26:.1f} {at + _BAR + 1} l8 -{_BAR + 2} h6 l-8 {_BAR + 2} z" fill="{_PAPER}"/>'
            )
        labels.append(_rect(end + 4, at - 1, 8 * len(told), _BAR + 2, _PAPER))  # the line does not strike a figure out
        labels.append(_text(end + 6, base, told, ink, bold=ours))
    x = f"{left + scale:.1f}"
    line = f'<line x1="{x}" x2="{x}" y1="{top - 4}" y2="{bars_end}" stroke="{_INK}" stroke-dasharray="4 3"/>'
    ideal_at = _text(left + scale, bars_end + 13, f"ideal {ideal:.3g} s", size=11, middle=True)
    return [*drawn, line, *labels, ideal_at], bars_end + _GAP


def _bars(group: Group) -> list[_Bar]:
    """Fastest first; those that did all of the work and can be picked."""
    found = []
    for name in filter(lambda name: is_ours(name) or is_peer(name), group.names):
        ratios = group.ratios(name, group.ideal)
        if ratios and group.of(name)[0].items == group.items:
            found.append(_Bar(name, statistics.median(group.walls(name).values()), statistics.median(ratios)))
    return sorted(found, key=lambda bar: bar.ratio)


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{fill}"/>'


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
