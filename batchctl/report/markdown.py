"""The end of a run as Markdown, for the pages that CI systems show.

Names and messages come from files and scripts: nothing of them is ever read as Markdown or HTML, and the text is
bounded (below `LIMIT` bytes, whatever the run was), because GitHub drops a summary of more than 1 MiB as a whole.
"""

from __future__ import annotations

import re

from batchctl.errors import EXIT_CODE_MEANING, ExitCode
from batchctl.model.progress import CauseGroup, Summary
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

LIMIT = 256 << 10
CAUSES_SHOWN = 20
NOTES_SHOWN = 20
TRACEBACK_LINES = 20
_LONGEST = 300  # characters of a name or a message
_LONGEST_COMMAND = 4000
# What means something to Markdown or HTML in the middle of a line; addresses would become links.
_SPECIAL = re.compile(r"[!#$&*+<>@\[\\\]^_`{|}~]|:(?=\S)|(?<=www)\.", re.IGNORECASE)


def summary_markdown(summary: Summary, *, error: str = "") -> str:
    """Heading, what the exit code means, counts, failures by cause, notes, what to type next. Ends with a line break.

    `error`: what else there is to say where the run ended by one; several lines.
    """
    code = ExitCode(summary.exit_code)
    parts = [f"### batchctl: {_safe(summary.name)}: {_ended(code, summary.state.value)}", _meaning(code)]
    if error:
        parts.append(_block(error))
    parts.append(_counts(summary))
    if summary.output:
        parts.append(f"Output: {_code(summary.output)}")
    parts += _failures(summary.causes)
    if summary.notes:
        notes = [f"- {_safe(note)}" for note in summary.notes[:NOTES_SHOWN]]
        if len(summary.notes) > NOTES_SHOWN:
            notes.append(f"- and {plural(len(summary.notes) - NOTES_SHOWN, 'more note')} in summary.json")
        parts.append("\n".join(notes))
    if summary.next_command:
        parts += ["Next:", _command(summary.next_command)]
    return "\n\n".join(parts) + "\n"


def error_markdown(error: str, code: ExitCode) -> str:
    """The same for a run that ended before there was anything to count."""
    return "\n\n".join([f"### batchctl: {_ended(code, 'failed')}", _meaning(code), _block(error)]) + "\n"


def _ended(code: ExitCode, state: str) -> str:
    return f"{state}, exit code {int(code)}" if code else state


def _meaning(code: ExitCode) -> str:
    text = EXIT_CODE_MEANING[code]
    return f"{text[:1].upper()}{text[1:]}."


def _counts(summary: Summary) -> str:
    left = summary.items - summary.items_succeeded - summary.items_failed
    rows = [("items", count_text(summary.items)), ("succeeded", count_text(summary.items_succeeded))]
    if summary.items_failed:
        tolerated = "any number" if summary.error_threshold == "-1" else summary.error_threshold
        rows.append(("failed", f"{count_text(summary.items_failed)} (tolerated: {_safe(tolerated)})"))
    else:
        rows.append(("failed", "0"))
    if left > 0:
        rows.append(("left to do", count_text(left)))
    rows += [
        ("rows", count_text(summary.rows)),
        ("mini-batches", count_text(summary.batches)),
        ("attempts", _attempts(summary)),
        ("time", duration_text(summary.duration_s)),
    ]
    if summary.duration_s > 0 and summary.items_succeeded and summary.epochs == 1:
        # After a resume the duration is that of the last epoch alone and a rate over all items would flatter.
        rows.append(("rate", rate_text(summary.items_succeeded / summary.duration_s)))
    held_back = f" (no more: {_safe(summary.held_back)})" if summary.held_back else ""
    rows.append(("workers", count_text(summary.workers) + held_back))
    if summary.epochs > 1:
        rows.append(("resumed", plural(summary.epochs - 1, "time")))
    return "\n".join(["| | |", "|---|---:|", *(f"| {label} | {value} |" for label, value in rows)])


def _attempts(summary: Summary) -> str:
    text = count_text(summary.attempts)
    for number, word in (
        (summary.attempts_failed, "failed"),
        (summary.attempts_lost, "lost"),
        (summary.attempts_timed_out, "timed out"),
    ):
        if number:
            text += f", {count_text(number)} {word}"
    return text


def _failures(causes: tuple[CauseGroup, ...]) -> list[str]:
    if not causes:
        return []
    lines = ["| failures | items | attempts | error | for example |", "|---|---:|---:|---|---|"]
    for cause in causes[:CAUSES_SHOWN]:
        what = f"{cause.error}: {cause.message}" if cause.message else cause.error
        example = _code(cause.example_path) if cause.example_path else ""
        kind = _safe(cause.kind.replace("_", " "))
        counts = f"{count_text(cause.items)} | {count_text(cause.attempts)}"
        lines.append(f"| {kind} | {counts} | {_code(what)} | {example} |")
    parts = ["\n".join(lines)]
    if len(causes) > CAUSES_SHOWN:
        parts.append(f"And {plural(len(causes) - CAUSES_SHOWN, 'more cause')} in summary.json.")
    if causes[0].example_traceback:
        parts += ["<details><summary>The traceback of the first</summary>", _block(causes[0].example_traceback)]
        parts.append("</details>")
    return parts


def _command(command: str) -> str:
    if len(command) > _LONGEST_COMMAND:
        return "The command is too long to be shown here; `batchctl status OUT` prints it."
    return _block(pasteable(command), kind="sh")


def _block(text: str, *, kind: str = "") -> str:
    """A fenced block: its fence is longer than any row of backticks inside."""
    lines = text.rstrip("\n").split("\n")
    if len(lines) > TRACEBACK_LINES:
        lines = [lines[0], f"... {len(lines) - TRACEBACK_LINES} more lines ...", *lines[1 - TRACEBACK_LINES :]]
    longest = _LONGEST if not kind else _LONGEST_COMMAND
    shown = "\n".join(clipped(printable_block(line), longest) for line in lines)
    fence = "`" * max(3, 1 + max((len(row) for row in re.findall("`+", shown)), default=0))
    return f"{fence}{kind}\n{shown}\n{fence}"


def _code(text: str) -> str:
    # Not between backticks: no way of writing them survives both a table and a backslash before a pipe.
    return f"<code>{_safe(text)}</code>"


def _safe(text: str) -> str:
    """One line of plain text, with everything that Markdown or HTML might obey as a numeric entity."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found.group())};", clipped(printable(text), _LONGEST))
