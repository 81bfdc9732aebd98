"""`batchctl status`: how far a run is and what to type next, asked of OUT alone: no inputs, no spec, no coordinator."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from batchctl.cli.output import emit, emit_json
from batchctl.errors import ExitCode, UsageError
from batchctl.files import Disk, FileKind, RealDisk
from batchctl.model.progress import Summary
from batchctl.named_tuple import NamedTuple
from batchctl.report.status import Liveness, Snapshot, liveness, lock_held, pid_alive, read_status
from batchctl.report.status_text import status_dict, status_line, status_text
from batchctl.report.summary import read_summary
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import find

DESCRIPTION = """\
Says how far the run in OUT is, whether it is running, finished, stopped or crashed, and what to type next. Works on a
copied or moved OUT and without the inputs. --watch repeats it each second until the run ends."""

EXAMPLES = ("batchctl status out", "batchctl status out --watch", "batchctl status out --json")

WATCH_INTERVAL_S = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="output folder of the run")
    parser.add_argument("--json", action="store_true", help="print one JSON object (with --watch one a line)")
    parser.add_argument("--watch", action="store_true", help="repeat each second until the run ends")


def run(args: argparse.Namespace) -> int:
    return show(args.out, as_json=args.json, watch=args.watch, sleep=time.sleep)


class Look(NamedTuple):
    """What OUT tells at one moment."""

    snapshot: Snapshot | None
    summary: Summary | None
    verdict: Liveness


def look(out: str) -> Look:
    """Raises UsageError where OUT holds no run."""
    bare = RunLayout(Path(out).absolute())
    disk = RealDisk()
    if not _is_folder(disk, bare.home):
        what = "holds no run" if os.path.isdir(bare.out) else "is no folder"  # noqa: PTH112 - it never raises
        raise UsageError(f"{out} {what}", where=str(bare.home), remedy="give the OUT of a `batchctl run ... -o OUT`")
    layout = find(disk, bare)
    # The lock before the file: a run that ends in between is then called running once more, never crashed.
    held = lock_held(layout.lock)
    snapshot = read_status(layout.status)
    verdict = liveness(snapshot, lock_held=held, pid_alive=pid_alive(snapshot))
    return Look(snapshot, read_summary(layout.summary), verdict)


def _is_folder(disk: Disk, path: Path) -> bool:
    found = disk.stat(path)
    return found is not None and found.kind is FileKind.DIRECTORY


def show(out: str, *, as_json: bool, watch: bool, sleep: Callable[[float], None]) -> int:
    """Print it, once or each second until the run has ended; `sleep` is an argument for the tests."""
    drawn = 0
    redraws = watch and not as_json and sys.stdout.isatty()
    while True:
        seen = look(out)
        goes_on = watch and seen.verdict is Liveness.RUNNING
        if as_json:
            emit_json(status_dict(seen.snapshot, seen.verdict, summary=seen.summary), compact=watch)
        elif redraws:
            drawn = _redraw(render(out, seen), drawn=drawn)
        elif goes_on:
            emit(status_line(seen.snapshot, seen.verdict, out=out))
        else:
            emit(render(out, seen))
        if not goes_on:
            return ExitCode.OK
        sleep(WATCH_INTERVAL_S)


def render(out: str, seen: Look) -> str:
    return status_text(seen.snapshot, seen.verdict, out=out, summary=seen.summary, now=time.time())


def _redraw(text: str, *, drawn: int) -> int:
    """Draw `text` over the `drawn` lines of the last time; returns how many lines there are now.

    Lines are cut to the width: a wrapped one would be two on the screen and one to us.
    """
    size = os.get_terminal_size(sys.stdout.fileno())
    size = os.terminal_size((size.columns or 80, size.lines or 24))  # a terminal that nobody has told its size
    lines = [line[: size.columns - 1] for line in text.split("\n")]
    if len(lines) > size.lines - 1:
        hidden = len(lines) - (size.lines - 2)
        lines = [*lines[: -hidden - 1], f"  ... {hidden} more lines ...", lines[-1]]
    emit((f"\x1b[{drawn}F\x1b[J" if drawn else "") + "\n".join(lines))
    return len(lines)
