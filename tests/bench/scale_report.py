"""docs/scale.md and its plot from docs/scale.json: `python -m tests.bench.scale_report`.

The text between the marks is made here and nowhere else; a test compares.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
JSON, PAGE, PLOT = DOCS / "scale.json", DOCS / "scale.md", DOCS / "images" / "scale.svg"
_BEGIN, _END = "<!-- made by tests.bench.scale_report -->", "<!-- end -->"

Row = dict[str, Any]

# Costs in cpu seconds, which other programs disturb least.
_SERIES = {
    "plan in run, and run to 65 %": "coordinator_cpu_s",
    "plan with sizes": "plan_sized_cpu_s",
    "resume at 65 %, until the first run()": "resume_cpu_s",
    "resume of the finished run": "resume_finished_cpu_s",
    "finish": "finish_cpu_s",
    "verify": "verify_cpu_s",
}
_COLOURS = ("#1b6ca8", "#6aa84f", "#b45f06", "#a61c3c", "#674ea7", "#444444")


def tables(found: dict[str, Any]) -> str:
    """The figures as two tables: the curve, and the other shapes."""
    curve = [row for row in found["rows"] if not row["shape"]]
    shapes = [row for row in found["rows"] if row["shape"]]
    head = ("items", "mini-batches")
    lines = [*_table(head, curve), "", *_table(("shape", *head), shapes)] if shapes else _table(head, curve)
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: list[Row]) -> list[str]:
    columns = (
        "plan with sizes, s cpu",
        "plan in `run`, s cpu",
        "plan and run to 65 %, s cpu",
        "resume at 65 %, s cpu",
        "finish, s cpu",
        "`verify`, s cpu",
        "`status`, `failures`, s cpu",
        "no-op resume, s cpu",
        "peak PSS, MB: run, resume, no-op",
        "plan, log, MB",
    )
    lines = ["| " + " | ".join((*head, *columns)) + " |", "|" + "---|" * (len(head) + len(columns))]
    for row in rows:
        cells = [row["shape"]] if "shape" in head else []
        cells += [f"{row['items']:,}", f"{row['mini_batches']:,}"]
        keys = (
            "plan_sized_cpu_s",
            "plan_in_run_cpu_s",
            "coordinator_cpu_s",
            "resume_cpu_s",
            "finish_cpu_s",
            "verify_cpu_s",
        )
        cells += [_number(row.get(key)) for key in keys]
        cells.append(f"{_number(row['status_cpu_s'])}, {_number(row['failures_cpu_s'])}")
        cells.append(_number(row["resume_finished_cpu_s"]))
        pss = (row["run_pss_mb"], row.get("rest_pss_mb"), row["resume_finished_pss_mb"])
        cells.append(", ".join("-" if one is None else f"{one:.0f}" for one in pss))
        cells.append(f"{row['plan_file_mb']:.1f}, {row['log_mb']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def page(text: str, found: dict[str, Any]) -> str:
    """The page with the tables of these figures."""
    before, rest = text.split(_BEGIN)
    return f"{before}{_BEGIN}\n{tables(found)}\n{_END}{rest.split(_END)[1]}"


def plot(found: dict[str, Any]) -> str:
    """An SVG: cpu seconds of each step over the number of items, both axes logarithmic: linear is a diagonal."""
    rows = [row for row in found["rows"] if not row["shape"]]
    left, top, width, height = 60, 20, 560, 330
    x_low, x_high = math.log10(rows[0]["items"]), math.log10(rows[-1]["items"])
    y_low, y_high = -2.0, 2.0

    def place(items: float, seconds: float) -> str:
        x = left + width * (math.log10(items) - x_low) / max(1e-9, x_high - x_low)
        y = top + height * (y_high - math.log10(min(10**y_high, max(10**y_low, seconds)))) / (y_high - y_low)
        return f"{x:.1f},{y:.1f}"

    size = f'viewBox="0 0 {left + width + 280} {top + height + 60}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for decade in range(math.ceil(x_low), math.floor(x_high) + 1):
        x, y = place(10**decade, 10**y_low).split(",")
        lines.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="{x}" y="{top + height + 20}" text-anchor="middle">{10**decade:,}</text>')
    for decade in range(int(y_low), int(y_high) + 1):
        x, y = place(10**x_low, 10**decade).split(",")
        lines.append(f'<line x1="{x}" y1="{y}" x2="{left + width}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{10.0**decade:g} s</text>')
    lines.append(f'<text x="{left + width / 2}" y="{top + height + 45}" text-anchor="middle">items</text>')
    for number, (name, key) in enumerate(_SERIES.items()):
        colour = _COLOURS[number]
        points = " ".join(place(row["items"], row[key]) for row in rows if row.get(key))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = top + 20 + 22 * number
        lines.append(f'<line x1="{left + width + 15}" y1="{at}" x2="{left + width + 40}" y2="{at}" stroke="{colour}"/>')
        lines.append(f'<text x="{left + width + 46}" y="{at + 4}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    found = json.loads(JSON.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    PLOT.write_text(plot(found), encoding="utf-8")


if __name__ == "__main__":
    main()
