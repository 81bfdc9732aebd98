"""`batchctl run`: from a job spec to a summary.

    storage judged -> locks -> fork server starts | begin.py: inputs are listed, or resume.py
        -> facts about the script -> fingerprint -> epoch

Running the same command again resumes, or says that the run is complete. Nothing is deleted without `fresh`, and with
it only when the new request has been found right, as far as that can be told without running the script.

The user's interpreter takes some 100 ms to start and to read the script. So it is started by as little code as that
takes, and all the rest of batchctl (`begin.py` or `resume.py` and what it needs) is loaded meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from batchctl import processes
from batchctl.engine.registry import ENGINES
from batchctl.errors import UsageError
from batchctl.files import Disk, RealDisk
from batchctl.model.job import JobSpec
from batchctl.report.notify import Notifier
from batchctl.report.progress import Reporter
from batchctl.run.masking import masked_errors
from batchctl.run.request import Call, RunOptions, interpreter_for, layout_for
from batchctl.run.signals import term_raises
from batchctl.run.storage import check_apart, out_storage, state_storage
from batchctl.run.surroundings import server_environment
from batchctl.run.taking import is_dead, take
from batchctl.store.layout import RunLayout
from batchctl.store.lock import held_lock, held_state, lock_holder, this_process
from batchctl.store.state_directory import settle

if TYPE_CHECKING:
    from pathlib import Path

    from batchctl.engine.base import Engine
    from batchctl.model.progress import Summary
    from batchctl.run.existing import Existing


def run_job(spec: JobSpec, options: RunOptions, reporter: Reporter) -> Summary:
    """Run, resume or find complete. Raises BatchctlError; `Summary.exit_code` is the exit status otherwise.

    Where a service manager listens it is told how the run goes; its variables leave the environment.
    """
    with Notifier.of(
        os.environ, clock=time.monotonic
    ) as notifier:  # before anything is started that would inherit them
        notifier.starting("listing the inputs")
        call = Call(spec, options, reporter, notifier, RealDisk(), layout_for(spec), interpreter_for(spec))
        return _run_locked(call)


def _run_locked(call: Call) -> Summary:
    notes = out_storage(call.layout.out, accepted=call.options.accept_storage)
    made = () if call.disk.stat(call.layout.out) is not None else (call.layout.out,)
    disk, layout, holder = call.disk, call.layout, this_process()
    with term_raises(), ExitStack() as held:
        take(
            held,
            lambda: held_lock(disk, layout, holder=holder),
            is_left=lambda: is_dead(lock_holder(disk, layout)),
        )
        with _in_place(call._replace(notes=notes, made=made)) as placed:
            return _run_placed(placed)


@contextmanager
def _in_place(call: Call) -> Iterator[Call]:
    """The call with the layout as OUT has it, and with the state directory's lock held."""
    disk, holder, made = call.disk, this_process(), call.made
    with ExitStack() as held:
        with _tidy(disk, call.layout.at(None), unborn=True, made=made):
            check_apart(call.layout)
            layout = settle(disk, call.layout)
            check_apart(layout)
            if layout.state is not None and disk.stat(layout.state) is None:
                made = (*made, layout.state)
            notes = state_storage(layout.state, accepted=call.options.accept_storage)
            # OUT is ours: who else has this one is another OUT's, or is being left.
            take(held, lambda: held_state(disk, layout, holder=holder), is_left=lambda: True)
        spec = call.spec._replace(state_dir=layout.state)
        yield call._replace(spec=spec, layout=layout, notes=(*call.notes, *notes), made=made)


def _run_placed(call: Call) -> Summary:
    disk, layout = call.disk, call.layout
    existing = _existing(disk, layout, leaving=call.options.fresh)
    if existing is not None:
        run_id = existing.document.run_id
        processes.end_leftovers(run_id)  # of a coordinator that was killed
        if not call.options.fresh:
            existing.refuse_other_output(call.spec)
            with _engine(call, run_id=run_id) as engine:
                from batchctl.run.resume import resume  # see the module's docstring

                return resume(call, engine, existing)
    if call.options.retry is not None:
        raise UsageError(f"{layout.out} holds no run any more", where=str(layout.directory), remedy="run it anew")
    run_id = os.urandom(16).hex()  # `secrets` would load 15 ms of others
    with (
        _tidy(disk, layout, unborn=existing is None, made=call.made),
        _engine(call, run_id=run_id) as engine,
    ):
        from batchctl.run.begin import begin

        return begin(call, engine, existing, run_id=run_id)


def _existing(disk: Disk, layout: RunLayout, *, leaving: bool) -> Existing | None:
    """See `read_existing`, which a new run can do without."""
    if disk.stat(layout.job) is None and disk.stat(layout.log) is None:
        return None
    from batchctl.run.existing import read_existing

    return read_existing(disk, layout, leaving=leaving)


@contextmanager
def _engine(call: Call, *, run_id: str) -> Iterator[Engine]:
    """An open engine that has been asked about the script."""
    interpreter = call.interpreter
    engine = ENGINES["local"](
        interpreter.path,
        call.layout.guest,
        run_id=run_id,
        arguments=interpreter.arguments,
        environment=server_environment(call.spec),
    )
    try:
        with masked_errors(call.spec.environment):
            engine.open()
            engine.ask_facts(call.spec.script, call.spec.code, scorer=call.spec.scorer)
            yield engine
    except UsageError:
        # An interpreter that cannot read our file on a broken disk looks broken itself: this raises what is the matter.
        call.disk.sync_dir(call.layout.guest.parent)
        raise
    finally:
        engine.close()
        processes.end_leftovers(run_id)  # children that scripts left behind


@contextmanager
def _tidy(disk: Disk, layout: RunLayout, *, unborn: bool, made: Sequence[Path]) -> Iterator[None]:
    """A run that never came to be leaves nothing behind."""
    try:
        yield
    except BaseException:
        if unborn:
            from batchctl.run.reset import remove_unborn

            remove_unborn(disk, layout, made=made)
        raise
