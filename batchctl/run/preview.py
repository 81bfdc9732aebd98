"""`check` and `plan`: what a run would do, by the code that does it; nothing is written."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from batchctl.engine.base import ScriptFacts
from batchctl.engine.interpreter import Interpreter
from batchctl.engine.registry import ENGINES
from batchctl.errors import SpecError, UsageError
from batchctl.files import Disk, RealDisk
from batchctl.model.job import JobSpec
from batchctl.model.node import Slot
from batchctl.named_tuple import NamedTuple
from batchctl.node.render import cpulist, disk_lines
from batchctl.plan.summary import added_files, summarise
from batchctl.run.existing import Existing, read_existing
from batchctl.run.masking import masked_errors
from batchctl.run.prepare import fingerprint_of, input_request, plan_inputs, script_problems, table_problems
from batchctl.run.ready import open_plan
from batchctl.run.request import RunOptions, interpreter_for, layout_for
from batchctl.run.schedule import told_schedule
from batchctl.run.staffing import staff
from batchctl.run.storage import problem_text, where_it_lies
from batchctl.store.replay import replay
from batchctl.store.state_directory import find


class CheckReport(NamedTuple):
    """What the user's interpreter says of the script. `problems` are what would end a run with exit 2."""

    interpreter: str
    reason: str
    python_version: str
    pandas: str
    numpy: str
    pyarrow: str
    missing: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


class PlanReport(NamedTuple):
    """What a run would do. `done_*` is what a resume would skip; `differences` why it would be refused."""

    items: int
    bytes: int
    batches: int
    folders: int
    largest_path: str
    largest_bytes: int
    partition_keys: tuple[str, ...]  # empty: mini-batches are formed by size
    largest_partition: str
    largest_partition_items: int
    schedule: str  # which one applies, and why
    workers: int
    first: int  # of them start at once
    slots: tuple[str, ...]
    reasons: tuple[str, ...]
    disks: tuple[str, ...]
    state: str
    done_items: int
    done_batches: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]


def check_job(spec: JobSpec, *, accept_storage: bool = False) -> CheckReport:
    """Ask the interpreter that would run the script, and whether a run may lie where it is to. Problems are reported,
    not raised."""
    problems, notes = where_it_lies(spec, accepted=accept_storage)
    try:
        interpreter = interpreter_for(spec)
        facts = _facts(spec, interpreter)
    except UsageError as error:
        return CheckReport(spec.python or "", "", "", "", "", "", (), (*problems, problem_text(error)), notes)
    problems = (*problems, *script_problems(facts, spec, interpreter=interpreter))
    if facts.dynamic:
        notes = (*notes, "the script may get its functions from elsewhere: what reading cannot tell, a run will")
    return CheckReport(
        interpreter.shown,
        interpreter.reason,
        facts.python,
        facts.pandas,
        facts.numpy,
        facts.pyarrow,
        facts.missing,
        problems,
        notes,
    )


def plan_job(spec: JobSpec, options: RunOptions) -> PlanReport:
    """List the inputs, form the mini-batches, size the node, and compare with what is in OUT, if that is given."""
    if spec.writes_tables:
        _refuse_without_arrow(spec)
    image = plan_inputs(spec, piped=options.piped, preview=True)
    disk = RealDisk()
    problems, lies = where_it_lies(spec, accepted=options.accept_storage)
    refused = tuple(f"a run would be refused: {problem}" for problem in problems)
    layout = find(disk, layout_for(spec)) if spec.out is not None else None
    existing = read_existing(disk, layout) if layout is not None else None
    fingerprint = existing.fingerprint if existing is not None else None
    if fingerprint is None and spec.hint is not None:
        interpreter = interpreter_for(spec)
        fingerprint = fingerprint_of(spec, _facts(spec, interpreter), interpreter, piped=options.piped, old=None)
    staffing = staff(spec, layout, fingerprint, paths=_places(spec))
    sizing, report = staffing.sizing, staffing.report
    summary = summarise(image)
    schedule = told_schedule(spec, items=image.items, sized=not image.findings.unsized, planned=False)
    state, done = "new", (0, 0)
    differing: tuple[str, ...] = ()
    most = summary.largest_partition
    if existing is not None:
        state = "finished" if existing.finished else "started"
        done = _done(existing, disk)
        differing = _differing(spec, existing, piped=options.piped)
        with open_plan(existing.layout, existing.document.plan_crc) as planned:
            added = added_files(input_request(spec, piped=options.piped), planned)
            schedule = told_schedule(spec, items=planned.items, sized=planned.sized, planned=True)
        summary = summarise(image, added=added)
    return PlanReport(
        items=summary.items,
        bytes=summary.total_bytes,
        batches=summary.batches,
        folders=summary.folders,
        largest_path=summary.largest.path,
        largest_bytes=summary.largest.size,
        partition_keys=spec.partition_keys,
        largest_partition=most.label if most is not None else "",
        largest_partition_items=most.items if most is not None else 0,
        schedule=schedule,
        workers=len(sizing.slots),
        first=sizing.first,
        slots=tuple(map(_told, sizing.slots)),
        reasons=sizing.reasons,
        disks=disk_lines(report.disks),
        state=state,
        done_items=done[0],
        done_batches=done[1],
        differences=differing,
        notes=(
            *refused,
            *lies,
            *summary.warnings,
            *summary.notes,
            *report.notes,
            *staffing.notes,
        ),
    )


def _refuse_without_arrow(spec: JobSpec) -> None:
    interpreter = interpreter_for(spec)
    problems = table_problems(_facts(spec, interpreter), spec, interpreter=interpreter)
    if problems:
        raise SpecError(problems, where=str(spec.script))


def _told(slot: Slot) -> str:
    cpus = f"cpus {cpulist(slot.cpus)}" if slot.cpus else "any cpus"
    threads = "1 thread" if slot.threads == 1 else f"{slot.threads} threads"
    return f"slot {slot.index}: {cpus}, {threads}" + (f", GPU {slot.gpu}" if slot.gpu else "")


def _places(spec: JobSpec) -> tuple[str, ...]:
    """Where inputs lie and output goes; of a glob the folder that it begins in; lists name files of anywhere."""
    inputs = [text for text in spec.inputs if text != "-" and not text.startswith("@")]
    plain = [text if Path(text).exists() else re.split(r"[^/]*[*?\[]", text, maxsplit=1)[0] or "." for text in inputs]
    return (*plain, *(str(path) for path in (spec.out, spec.state_dir) if path is not None))


def _done(existing: Existing, disk: Disk) -> tuple[int, int]:
    """(items, mini-batches) concluded; read without the lock, so a run that is going on shows a moment of it."""
    layout = existing.layout
    if disk.stat(layout.log) is None:
        return 0, 0
    with open_plan(layout, existing.document.plan_crc) as plan:
        bounds = plan.batch_firsts
        data = disk.read(layout.log)
        ledger = replay(memoryview(data), layout, run_id=existing.document.run_id, bounds=bounds).ledger
        batches = sum(not ledger.open_ranges(batch) for batch in range(len(bounds) - 1))
        return ledger.committed + ledger.quarantined, batches


def _differing(spec: JobSpec, existing: Existing, *, piped: Mapping[str, bytes] | None) -> tuple[str, ...]:
    interpreter = interpreter_for(spec)
    fingerprint = fingerprint_of(spec, _facts(spec, interpreter), interpreter, piped=piped, old=existing.fingerprint)
    return tuple(dict.fromkeys((*existing.other_output(spec), *existing.differences(fingerprint))))


def _facts(spec: JobSpec, interpreter: Interpreter) -> ScriptFacts:
    with _scratch() as folder:
        guest, run_id = folder / "guest.pyz", secrets.token_hex(16)
        engine = ENGINES["local"](
            interpreter.path,
            guest,
            run_id=run_id,
            arguments=interpreter.arguments,
            environment=spec.environment,
        )
        try:
            with masked_errors(spec.environment):
                engine.open()
                engine.ask_facts(spec.script, spec.code, scorer=spec.scorer)
                return engine.facts()
        finally:
            engine.close()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A private folder for the guest: OUT is not written to."""
    with tempfile.TemporaryDirectory(prefix="batchctl-") as folder:
        yield Path(folder)
