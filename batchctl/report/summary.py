"""The end of a run: for people on the terminal, for machines in summary.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from batchctl.model.documents import as_document
from batchctl.model.progress import CauseGroup, RunState, Summary
from batchctl.report.atomic import read_small, replace_file
from batchctl.report.decode import record_from
from batchctl.report.wording import (
    clipped,
    count_text,
    duration_text,
    pasteable,
    plural,
    printable,
    printable_block,
    rate_text,
)

SUMMARY_FORMAT = 1
CAUSES_SHOWN = 5
TRACEBACK_LINES = 12

_HEADLINE = {
    RunState.FINISHED: "finished in",
    RunState.STOPPED: "stopped early, what is done is kept, after",
    RunState.FAILED: "failed after",
}


def summary_text(summary: Summary, *, verbose: bool = False) -> str:
    """Several lines: headline, counts, output, failures by cause with one example traceback, what to type next."""
    headline = _HEADLINE.get(summary.state, f"{summary.state.value} after")
    code = f" (exit code {summary.exit_code})" if summary.exit_code else ""
    lines = [f"{printable(summary.name)}: {headline} {duration_text(summary.duration_s)}{code}"]
    lines += [f"  {label:<10} {text}" for label, text in _facts(summary)]
    if verbose:
        lines += [f"  {'sizing' if not i else '':<10} {printable(reason)}" for i, reason in enumerate(summary.reasons)]
    lines += _failures(summary.causes)
    lines += [f"  {'note':<10} {printable(note)}" for note in summary.notes]
    if summary.next_command:
        lines.append(f"  {'next':<10} {printable(pasteable(summary.next_command))}")
    return "\n".join(lines)


def _facts(summary: Summary) -> list[tuple[str, str]]:
    items = f"{count_text(summary.items_succeeded)} of {count_text(summary.items)} succeeded"
    if summary.items_failed:
        items += f", {count_text(summary.items_failed)} failed ({_tolerated(summary.error_threshold)})"
    left = summary.items - summary.items_succeeded - summary.items_failed
    if left > 0:
        items += f", {count_text(left)} left to do"
    if summary.duration_s > 0 and summary.items_succeeded and summary.epochs == 1:
        # After a resume the duration is that of the last epoch alone and a rate over all items would flatter.
        items += f", {rate_text(summary.items_succeeded / summary.duration_s)}"
    added = []
    if summary.items_added:
        told = (
            f"{plural(summary.items_added, 'file')} since the run was planned, no part of it (another OUT, or --fresh)"
        )
        added.append(("added", told))
    attempts = f"{count_text(summary.attempts)} on {plural(summary.batches, 'mini-batch')}"
    for number, word in (
        (summary.attempts_failed, "failed"),
        (summary.attempts_lost, "lost"),
        (summary.attempts_timed_out, "timed out"),
    ):
        if number:
            attempts += f", {count_text(number)} {word}"
    ran = plural(summary.workers, "worker")
    if summary.epochs > 1:
        ran += f", resumed {plural(summary.epochs - 1, 'time')}"
    facts = [("items", items), *added, ("attempts", attempts), ("ran on", ran)]
    if summary.held_back:
        facts.append(("", f"no more: {printable(summary.held_back)}"))
    if summary.output:
        facts.append(("output", f"{printable(summary.output)} ({plural(summary.rows, 'row')})"))
    return facts


def _tolerated(threshold: str) -> str:
    return "any number is tolerated" if threshold == "-1" else f"threshold {printable(threshold)}"


def _failures(causes: tuple[CauseGroup, ...]) -> list[str]:
    lines: list[str] = []
    for number, cause in enumerate(causes[:CAUSES_SHOWN]):
        what = f"{cause.error}: {cause.message}" if cause.message else cause.error
        lines.append(f"  {printable(cause.kind.replace('_', ' ')):<10} {printable(clipped(what, 300))}")
        counts = [plural(cause.items, "item")] if cause.items else []
        counts.append(plural(cause.attempts, "attempt"))
        example = f", e.g. {printable(cause.example_path)}" if cause.example_path else ""
        lines.append(f"  {'':<10} {', '.join(counts)}{example}")
        if number == 0 and cause.example_traceback:
            tail = cause.example_traceback.rstrip("\n").split("\n")
            if len(tail) > TRACEBACK_LINES:
                tail = [tail[0], f"  ... {len(tail) - TRACEBACK_LINES} more lines ...", *tail[1 - TRACEBACK_LINES :]]
            lines.append(printable_block("\n".join(clipped(line, 300) for line in tail), indent=" " * 13))
    if len(causes) > CAUSES_SHOWN:
        lines.append(f"  {'':<10} and {plural(len(causes) - CAUSES_SHOWN, 'more cause')} in summary.json")
    return lines


def summary_dict(summary: Summary) -> dict[str, Any]:
    """What `run --json` prints and summary.json holds."""
    return {"format": SUMMARY_FORMAT, **as_document(summary)}


def write_summary(path: Path, summary: Summary) -> None:
    """Replace summary.json as a whole. Raises StorageError."""
    replace_file(path, (json.dumps(summary_dict(summary), indent=2) + "\n").encode())


def read_summary(path: Path) -> Summary | None:
    """The summary at `path`; None where there is none, or none that can be read (a power cut may leave it so)."""
    data = read_small(path)
    return None if data is None else summary_of(data)


def summary_of(data: bytes) -> Summary | None:
    """What summary.json holds; None where it cannot be read."""
    try:
        return record_from(Summary, json.loads(data))
    except (ValueError, RecursionError):
        return None
