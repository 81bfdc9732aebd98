"""How a run ended, judged from what is committed: the exit code, the summary, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum

from batchctl.dispatch.pending import Counts
from batchctl.dispatch.threshold import FailedBatches, Judgement, Standing, judge, judge_batches
from batchctl.errors import BatchctlError, ExitCode, InitFailedError, NodeTooSmallError, UsageError
from batchctl.model.job import JobSpec
from batchctl.model.outcome import Failure, FailureKind, Shortage
from batchctl.model.progress import RunState, Summary
from batchctl.named_tuple import NamedTuple
from batchctl.run.tally import Tally

_SETTINGS_FILE = "parallel_run_step.settings.json"


class Phase(StrEnum):
    """How the loop is going."""

    RUNNING = "running"
    DRAINING = "draining"
    ABORTING = "aborting"


class Ending(StrEnum):
    """Why the loop was left."""

    ALL_DONE = "all done"  # every item is committed or quarantined
    THRESHOLD = "threshold"
    STOPPED = "stopped"  # SIGTERM
    INTERRUPTED = "interrupted"  # Ctrl-C


class Conducted(NamedTuple):
    """How the loop ended, and in words why."""

    ending: Ending
    reason: str


class Verdict(NamedTuple):
    """The exit code and the state that goes with it; `reason` in words where it is not plain success."""

    code: ExitCode
    state: RunState
    reason: str = ""


def judge_run(spec: JobSpec, conducted: Conducted, counts: Counts, *, failed_batches: int) -> Verdict:
    """Exit code and state from how the loop ended and what is committed; `failed_batches` as `FailedBatches` counts."""
    if conducted.ending is Ending.STOPPED:
        return Verdict(ExitCode.STOPPED, RunState.STOPPED, conducted.reason)
    if conducted.ending is Ending.INTERRUPTED:
        return Verdict(ExitCode.INTERRUPTED, RunState.STOPPED, conducted.reason)
    if conducted.ending is Ending.THRESHOLD:
        return Verdict(ExitCode.THRESHOLD, RunState.FAILED, conducted.reason)
    failed = counts.failed + counts.quarantined
    judgement = judge_so_far(spec, counts, failed=failed, failed_batches=failed_batches, finished=True)
    if judgement.standing is not Standing.WITHIN:
        return Verdict(ExitCode.THRESHOLD, RunState.FAILED, judgement.reason)
    return Verdict(ExitCode.OK, RunState.FINISHED)


def excess_so_far(spec: JobSpec, counts: Counts, *, quarantined: int, failed_batches: FailedBatches) -> str:
    """The threshold that is exceeded by what is durable, in words; "" while the run may go on. `quarantined`: items."""
    failed, batches = counts.failed + quarantined, failed_batches.count(spec.error_threshold)
    judgement = judge_so_far(spec, counts, failed=failed, failed_batches=batches, finished=False)
    return "" if judgement.standing is Standing.WITHIN else judgement.reason


def judge_so_far(spec: JobSpec, counts: Counts, *, failed: int, failed_batches: int, finished: bool) -> Judgement:
    """How the run stands against all its thresholds, with this many failed items (those given up included)."""
    judgement = judge(spec.error_threshold, ok=counts.ok, failed=failed, total=counts.items, finished=finished)
    if judgement.standing is not Standing.WITHIN:
        return judgement
    return judge_batches(
        failed=failed_batches,
        batches=counts.batches,
        threshold=spec.mini_batch_error_threshold,
        percent=spec.allowed_failed_percent,
        finished=finished,
    )


def summarise_run(
    spec: JobSpec,
    verdict: Verdict,
    *,
    run_id: str,
    counts: Counts,
    tally: Tally,
    notes: Sequence[str],
    elapsed_s: float,
    epochs: int,
    workers: int,
    output: str,
    reasons: tuple[str, ...],
    held_back: str,
    command: tuple[str, ...],
    items_added: int | None = None,
) -> Summary:
    """The record for the terminal and for summary.json."""
    return Summary(
        run_id=run_id,
        name=spec.name,
        state=verdict.state,
        exit_code=int(verdict.code),
        items=counts.items,
        items_succeeded=counts.ok,
        items_failed=counts.failed + counts.quarantined,
        items_quarantined=counts.quarantined,
        batches=counts.batches,
        attempts=tally.attempts,
        attempts_failed=tally.by_kind[FailureKind.FAILED],
        attempts_lost=tally.by_kind[FailureKind.LOST],
        attempts_timed_out=tally.by_kind[FailureKind.TIMED_OUT],
        rows=tally.rows,
        duration_s=elapsed_s,
        epochs=epochs,
        workers=workers,
        output=output,
        error_threshold=str(spec.error_threshold),
        causes=tally.failures.groups(),
        notes=(*((verdict.reason,) if verdict.reason else ()), *notes),
        reasons=reasons,
        held_back=held_back,
        items_added=items_added,
        next_command=next_command(spec, verdict, command, failed=counts.failed + counts.quarantined),
    )


def next_command(spec: JobSpec, verdict: Verdict, command: tuple[str, ...], *, failed: int) -> str:
    """What to type next, ready to be pasted. `failed`: items; where some did, a finished run is looked at first."""
    out = shlex.quote(str(spec.out))
    if verdict.code is ExitCode.THRESHOLD or (verdict.code is ExitCode.OK and failed):
        return f"batchctl failures {out}"
    if verdict.code is ExitCode.OK:
        return f"batchctl verify {out}"
    return shlex.join(command)


def init_error(failure: Failure, *, where: str) -> BatchctlError:
    """What ends a run whose script is no use: exit 2 where it breaks the contract, exit 5 where memory ran out
    in it or there was no process for it, exit 4 where it failed otherwise."""
    if failure.error == "ContractError":
        remedy = "define init() and run(mini_batch) as the README shows"
        if _SETTINGS_FILE in failure.message:
            remedy = f"mend or remove {_SETTINGS_FILE} in the code folder"
        return UsageError(failure.message, where=where, remedy=remedy)
    if failure.shortage is Shortage.MEMORY:
        return NodeTooSmallError(
            f"not even one worker fits: {failure.message}",
            where=where,
            remedy="free memory, raise the container's limit, or use a smaller model",
        )
    if failure.error.rpartition(".")[2] == "ProcessRefused":
        return NodeTooSmallError(
            failure.message, remedy="raise that limit or ask for fewer --workers; then the same command again"
        )
    text = f"init() failed: {failure.error}: {failure.message}"
    if failure.traceback:
        text += "\n" + failure.traceback.rstrip()
    return InitFailedError(text, where=where, remedy="mend the script and run again")
