"""A run that is there already: what it was asked to be, and whether it may go on for this request."""

from __future__ import annotations

from pathlib import Path

from batchctl.errors import CorruptionError, ResumeRefusedError, UsageError
from batchctl.files import Disk, FileKind
from batchctl.model.job import JobSpec, OutputAction
from batchctl.model.progress import RunState as ToldState
from batchctl.named_tuple import NamedTuple
from batchctl.plan.fingerprint import Fingerprint, differences
from batchctl.report.summary import summary_of
from batchctl.run.document import GARBLED, JobDocument, RecordedRequest, parse_document, parse_request
from batchctl.store.creation import RunState, run_state, sealed_epoch
from batchctl.store.documents import read_document, write_document
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import check_directory, find

_REMEDY = "choose another OUT, or --accept-changes to go on all the same, or --fresh to start over"
_HARD_REMEDY = "choose another OUT, or --fresh to start over"
# Not --fresh: without its documents nobody can tell what in OUT is the run's and may be deleted.
_DAMAGED_REMEDY = "restore it from a copy, or choose another OUT; what is in this one stays untouched"
_MOST_SUMMARY = 64 << 20  # bytes; a file of ours that is larger is not ours


class Existing(NamedTuple):
    """A run in OUT. `layout` is by its own output file name; `fingerprint` what it was last accepted to be."""

    document: JobDocument
    layout: RunLayout
    fingerprint: Fingerprint
    finished: bool
    request: RecordedRequest | None = None  # with which it was last accepted

    def differences(self, fingerprint: Fingerprint) -> tuple[str, ...]:
        """How a request differs: lines for people, none if it fits."""
        return differences(self.fingerprint, fingerprint)

    def other_output(self, spec: JobSpec) -> tuple[str, ...]:
        """Differences that cannot be accepted: what is in OUT could not be continued under this spec."""
        document = self.document
        pairs = (
            ("output_file_name", document.output_file_name, spec.output_file_name),
            ("output_action", document.output_action, str(spec.output_action)),
            ("output_format", document.output_format, str(spec.output_format)),
            ("on_collision", document.on_collision, str(spec.on_collision)),
            ("own_files", document.own_files, str(spec.own_files)),
            # The first rows have decided whether there is one.
            ("header", self.fingerprint.fields.get("header", str(spec.header)), str(spec.header)),
        )
        return tuple(f"{name} {before} -> {now}" for name, before, now in pairs if before != now)

    def refuse_other_output(self, spec: JobSpec) -> None:
        """Raise ResumeRefusedError for those."""
        lines = self.other_output(spec)
        if lines:
            raise _refused(lines, self.layout, remedy=_HARD_REMEDY)


def accepted_path(layout: RunLayout) -> Path:
    """Where the fingerprint is kept that replaced the one in job.json by the user's word."""
    return layout.directory / "accepted.json"


def read_existing(disk: Disk, layout: RunLayout, *, leaving: bool = False) -> Existing | None:
    """The run in OUT, wherever its state directory is; None where there is none, or a half-created one, which holds
    nothing of worth.

    Raises CorruptionError and ResumeRefusedError (another format) from its documents, UsageError where `layout` asks
    for another state directory than OUT has, and, unless it is to go (`leaving`), of a run that is half deleted.
    """
    try:
        return _read_existing(disk, layout, leaving=leaving)
    except CorruptionError as error:
        raise CorruptionError(error.message, where=error.where, remedy=error.remedy or _DAMAGED_REMEDY) from error


def _read_existing(disk: Disk, layout: RunLayout, *, leaving: bool) -> Existing | None:
    if disk.stat(layout.home) is None:
        return None
    layout = find(disk, layout)
    if disk.stat(layout.directory) is None:
        return None
    check_directory(disk, layout)
    if disk.stat(layout.job) is None:
        run_state(disk, layout)  # refuses a log without job.json
        return None
    document = parse_document(read_document(disk, layout.job), where=str(layout.job))
    if not leaving and disk.stat(layout.leaving) is not None:
        raise UsageError(
            f"the run in {layout.out} was being deleted when that was cut off: what is left is not whole",
            where=str(layout.leaving),
            remedy="type the command with --fresh again",
        )
    rows = document.output_action == OutputAction.APPEND_ROW
    layout = RunLayout(layout.out, document.output_file_name, rows=rows, state=layout.state)
    fingerprint, request = document.fingerprint, document.request
    accepted = accepted_path(layout)
    if disk.stat(accepted) is not None:
        said = read_document(disk, accepted)
        try:
            fingerprint, request = Fingerprint.from_dict(said["fingerprint"]), parse_request(said) or request
        except GARBLED as error:
            raise CorruptionError(f"{accepted.name} lacks or garbles {error}", where=str(accepted)) from error
    state = run_state(disk, layout)
    if state is RunState.HALF_CREATED:
        return None
    if not rows:
        _refuse_lost_seal(disk, layout, run_id=document.run_id)
    return Existing(document, layout, fingerprint, state is RunState.FINISHED, request)


def _refuse_lost_seal(disk: Disk, layout: RunLayout, *, run_id: str) -> None:
    """CorruptionError where summary.json tells of an end that the log does not hold.

    Without rows no file's name says that a run is finished, and a log without its last frame looks like one that was
    cut off. summary.json is written when DONE is durable: it may be lost, but it never comes before.
    """
    found = disk.stat(layout.summary)
    if found is None or found.kind is not FileKind.FILE or found.size > _MOST_SUMMARY:
        return
    summary = summary_of(disk.read(layout.summary))
    if summary is None or summary.run_id != run_id or summary.state is not ToldState.FINISHED:
        return
    if sealed_epoch(disk, layout) < summary.epochs:
        raise CorruptionError(
            f"{layout.log} has lost its end: {layout.summary.name} tells of a finished run", where=str(layout.log)
        )


def accept(
    disk: Disk,
    existing: Existing,
    fingerprint: Fingerprint,
    *,
    lines: tuple[str, ...],
    allowed: bool,
    request: RecordedRequest | None,
) -> None:
    """Record that the run goes on as this, and by which command; ResumeRefusedError unless the user said so."""
    if not allowed:
        raise _refused(lines, existing.layout, remedy=_REMEDY)
    document = {"fingerprint": fingerprint.to_dict(), **({"request": request.to_dict()} if request else {})}
    write_document(disk, accepted_path(existing.layout), document=document)


def _refused(lines: tuple[str, ...], layout: RunLayout, *, remedy: str) -> ResumeRefusedError:
    return ResumeRefusedError(
        "this output folder belongs to a run of something else:",
        differences=lines,
        where=str(layout.out),
        remedy=remedy,
    )
