"""`batchctl run`: from a job spec to a summary.

    lock -> fork server starts | inputs are listed -> facts about the script -> fingerprint -> create or resume -> epoch

Running the same command again resumes, or says that the run is complete. Nothing is deleted without `fresh`, and with
it only when the new request has been found right, as far as that can be told without running the script.

The interpreter takes some 100 ms to start. Meanwhile the inputs are listed, and `run.epoch` with all that it needs is
loaded (50 ms), which is why it is imported in the functions below; so is what only a finished run needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchctl import processes
from batchctl.engine.base import Engine
from batchctl.engine.interpreter import Interpreter
from batchctl.engine.registry import ENGINES
from batchctl.errors import BatchctlError, SpecError
from batchctl.files import Disk, RealDisk
from batchctl.model.job import JobSpec
from batchctl.model.progress import Summary
from batchctl.plan.fingerprint import Fingerprint
from batchctl.report.notify import Notifier
from batchctl.report.progress import Reporter
from batchctl.run.existing import Existing, accept, read_existing
from batchctl.run.prepare import fingerprint_of, interpreter_for, plan_inputs, script_problems
from batchctl.run.ready import Ready
from batchctl.run.request import RunOptions, layout_for, new_document
from batchctl.run.reset import remove_unborn, start_over
from batchctl.run.signals import term_raises
from batchctl.store.creation import create_run
from batchctl.store.layout import RunLayout
from batchctl.store.lock import held_lock, this_process

if TYPE_CHECKING:
    from batchctl.plan.encode import PlanImage

__all__ = ["RunOptions", "run_job"]


def run_job(spec: JobSpec, options: RunOptions, reporter: Reporter) -> Summary:
    """Run, resume or find complete. Raises BatchctlError; `Summary.exit_code` is the exit status otherwise.

    Where a service manager listens it is told how the run goes; its variables leave the environment.
    """
    with Notifier.of(
        os.environ, clock=time.monotonic
    ) as notifier:  # before anything is started that would inherit them
        notifier.starting("listing the inputs")
        return _run_locked(spec, options, reporter, notifier=notifier)


def _run_locked(spec: JobSpec, options: RunOptions, reporter: Reporter, *, notifier: Notifier) -> Summary:
    disk, layout = RealDisk(), layout_for(spec)
    interpreter = interpreter_for(spec)
    out_was_there = disk.stat(layout.out) is not None
    with term_raises(), held_lock(disk, layout, holder=this_process()):
        existing = read_existing(disk, layout)
        if existing is not None:
            processes.end_leftovers(existing.document.run_id)  # of a coordinator that was killed
            if not options.fresh:
                return _resume(
                    spec, options, reporter, notifier=notifier, disk=disk, existing=existing, interpreter=interpreter
                )
        with _tidy(disk, layout, unborn=existing is None, out_was_there=out_was_there):
            return _begin(
                spec, options, reporter, notifier=notifier, disk=disk, existing=existing, interpreter=interpreter
            )


def _begin(
    spec: JobSpec,
    options: RunOptions,
    reporter: Reporter,
    *,
    notifier: Notifier,
    disk: Disk,
    existing: Existing | None,
    interpreter: Interpreter,
) -> Summary:
    """A new run, in place of the existing one if there is one."""
    layout = layout_for(spec)
    run_id = os.urandom(16).hex()  # `secrets` would load 15 ms of others
    with _engine(spec, interpreter, layout, run_id=run_id) as engine:
        from batchctl.run.epoch import run_epoch  # see the module's docstring

        plan = plan_inputs(spec, stdin=options.stdin)
        fingerprint = _checked_fingerprint(spec, engine, interpreter, stdin=options.stdin, old=None)
        if existing is not None:
            start_over(disk, existing.layout, run_id=existing.document.run_id)
        document = new_document(spec, fingerprint, run_id=run_id, plan=plan)
        create_run(disk, layout, job_document=document, plan_chunks=plan.chunks())
        _tell_findings(plan, reporter)
        ready = Ready(spec, layout, run_id, plan.crc, options.command)
        del plan  # its columns are in the plan file now
        return run_epoch(ready, engine, reporter, notifier=notifier, disk=disk, resumed=False)


def _resume(
    spec: JobSpec,
    options: RunOptions,
    reporter: Reporter,
    *,
    notifier: Notifier,
    disk: Disk,
    existing: Existing,
    interpreter: Interpreter,
) -> Summary:
    """The run goes on, or is complete already. ResumeRefusedError when this is another request."""
    document, layout = existing.document, existing.layout
    existing.refuse_other_output(spec)
    with _engine(spec, interpreter, layout, run_id=document.run_id) as engine:
        from batchctl.run.epoch import run_epoch  # see the module's docstring

        fingerprint = _checked_fingerprint(spec, engine, interpreter, stdin=options.stdin, old=existing.fingerprint)
        lines = existing.differences(fingerprint)
        if lines:
            accept(disk, existing, fingerprint, lines=lines, allowed=options.accept_changes)
            for line in lines:
                reporter.note(f"accepted: {line}", level="warning")
        ready = Ready(spec, layout, document.run_id, document.plan_crc, options.command)
        if existing.finished:
            from batchctl.run.finished import tell_complete

            notifier.ready()  # or systemd takes the clean exit for a failed start
            return tell_complete(ready, reporter, disk=disk)
        return run_epoch(ready, engine, reporter, notifier=notifier, disk=disk, resumed=not options.accept_changes)


def _checked_fingerprint(
    spec: JobSpec, engine: Engine, interpreter: Interpreter, *, stdin: bytes | None, old: Fingerprint | None
) -> Fingerprint:
    """Ask the interpreter about the script; SpecError when it cannot run there, else the fingerprint."""
    facts = engine.facts()
    problems = script_problems(facts, spec, interpreter=interpreter)
    if problems:
        raise SpecError(problems, where=str(spec.script))
    return fingerprint_of(spec, facts, interpreter, stdin=stdin, old=old)


def _tell_findings(plan: PlanImage, reporter: Reporter) -> None:
    for text in plan.findings.warnings():
        reporter.note(text, level="warning")
    for text in plan.findings.notes():
        reporter.note(text)


@contextmanager
def _engine(spec: JobSpec, interpreter: Interpreter, layout: RunLayout, *, run_id: str) -> Iterator[Engine]:
    """An open engine that has been asked about the script."""
    engine = ENGINES["local"](interpreter.path, layout.guest, run_id=run_id, arguments=interpreter.arguments)
    try:
        engine.open()
        engine.ask_facts(spec.script, spec.code)
        yield engine
    finally:
        engine.close()
        processes.end_leftovers(run_id)  # children that scripts left behind


@contextmanager
def _tidy(disk: Disk, layout: RunLayout, *, unborn: bool, out_was_there: bool) -> Iterator[None]:
    """A run that never came to be leaves nothing behind."""
    try:
        yield
    except (BatchctlError, KeyboardInterrupt):
        if unborn:
            remove_unborn(disk, layout, out_was_there=out_was_there)
        raise
