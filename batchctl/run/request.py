"""What is asked of a run: how it was called, where it lies, which Python is to run the script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from batchctl import processes
from batchctl.engine.interpreter import Interpreter, choose_interpreter
from batchctl.files import Disk
from batchctl.model.job import JobSpec, OutputAction
from batchctl.named_tuple import NamedTuple
from batchctl.report.notify import Notifier
from batchctl.report.progress import Reporter
from batchctl.store.layout import RunLayout


class Retry(NamedTuple):
    """What is to be scored again: what was given up on, of one cause where `only` names it; with `short` the
    mini-batches that returned too little (instead, or with `only` as well)."""

    only: str = ""
    short: bool = False


class RunOptions(NamedTuple):
    """How `run` was called, beyond the spec. `command` is what was typed, `piped` holds the lists that can
    be read only once, by INPUT; `retry` is set where it was `batchctl retry`: then there must be a run."""

    fresh: bool = False
    accept_changes: bool = False
    accept_storage: bool = False
    command: tuple[str, ...] = ()
    piped: Mapping[str, bytes] | None = None
    retry: Retry | None = None


class Call(NamedTuple):
    """One `batchctl run` under way: what is asked, who is told, where it lies."""

    spec: JobSpec
    options: RunOptions
    reporter: Reporter
    notifier: Notifier
    disk: Disk
    layout: RunLayout
    interpreter: Interpreter
    notes: tuple[str, ...] = ()  # warnings about where it lies
    made: tuple[Path, ...] = ()  # folders of the user's naming that were not there before


def layout_for(spec: JobSpec) -> RunLayout:
    """Where the run of this spec lies, as far as the spec knows: OUT may name a state directory that it does not."""
    if spec.out is None:
        raise AssertionError("a run needs OUT")
    rows = spec.output_action is OutputAction.APPEND_ROW
    return RunLayout(spec.out, spec.output_file_name, rows=rows, state=spec.state_dir)


def interpreter_for(spec: JobSpec) -> Interpreter:
    """Which Python will run the script; UsageError when the one asked for does not exist."""
    source = spec.sources.get("python", "--python")
    return choose_interpreter(spec.python, processes.child_environment({}), source=source)
