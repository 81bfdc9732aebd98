"""How a run ended: exit code, state and what to type next."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batchctl.dispatch.pending import Counts
from batchctl.errors import ExitCode
from batchctl.model.job import ErrorThreshold, OutputAction
from batchctl.model.progress import RunState
from batchctl.run.conductor import Conducted, Ending
from batchctl.run.ending import judge_run, next_command
from tests.unit.run.stage import job

OK, THRESHOLD, STOPPED, INTERRUPTED = ExitCode.OK, ExitCode.THRESHOLD, ExitCode.STOPPED, ExitCode.INTERRUPTED
ANY, NONE = ErrorThreshold(-1), ErrorThreshold(0)

# name: (ending, ok, failed, quarantined, threshold) -> (code, state)
ENDINGS = {
    "all well": (Ending.ALL_DONE, 10, 0, 0, NONE, OK, RunState.FINISHED),
    "failures, any allowed": (Ending.ALL_DONE, 1, 4, 5, ANY, OK, RunState.FINISHED),
    "failures, as many as allowed": (Ending.ALL_DONE, 6, 2, 2, ErrorThreshold(4), OK, RunState.FINISHED),
    "one more than allowed": (Ending.ALL_DONE, 5, 2, 3, ErrorThreshold(4), THRESHOLD, RunState.FAILED),
    "as many percent": (Ending.ALL_DONE, 7, 0, 3, ErrorThreshold(None, 30.0), OK, RunState.FINISHED),
    "more percent": (Ending.ALL_DONE, 6, 0, 4, ErrorThreshold(None, 30.0), THRESHOLD, RunState.FAILED),
    "nothing succeeded, any allowed": (Ending.ALL_DONE, 0, 5, 5, ANY, THRESHOLD, RunState.FAILED),
    "aborted by the threshold": (Ending.THRESHOLD, 9, 0, 1, NONE, THRESHOLD, RunState.FAILED),
    "SIGTERM": (Ending.STOPPED, 3, 0, 0, NONE, STOPPED, RunState.STOPPED),
    "SIGTERM, nothing done": (Ending.STOPPED, 0, 0, 0, NONE, STOPPED, RunState.STOPPED),
    "SIGTERM, beyond the threshold": (Ending.STOPPED, 3, 0, 4, NONE, STOPPED, RunState.STOPPED),
    "Ctrl-C": (Ending.INTERRUPTED, 3, 0, 0, NONE, INTERRUPTED, RunState.STOPPED),
}


@pytest.mark.parametrize("case", ENDINGS)
@pytest.mark.parametrize("action", OutputAction)
def test_exit_codes(tmp_path: Path, case: str, action: OutputAction) -> None:
    ending, ok, failed, quarantined, threshold, code, state = ENDINGS[case]
    spec = job(tmp_path)._replace(error_threshold=threshold, output_action=action)
    counts = Counts(10, ok, failed, quarantined, 10, 10, 0, 0)
    reason = "" if ending is Ending.ALL_DONE else "why"
    verdict = judge_run(spec, Conducted(ending, reason), counts, failed_batches=0)
    assert (verdict.code, verdict.state) == (code, state)
    assert bool(verdict.reason) is (code is not OK)
    typed = ("batchctl", "run", "a b.py", "-o", "OUT")
    lost = failed + quarantined
    ended = {OK: "batchctl failures " if lost else "batchctl verify ", THRESHOLD: "batchctl failures "}
    expected = ended.get(code, "batchctl run 'a b.py' -o OUT")
    assert next_command(spec, verdict, typed, failed=lost).startswith(expected)


# name: (mini_batch_error_threshold, allowed_failed_percent, failed mini-batches of 10) -> code
FAILED_BATCHES = {
    "any number": (-1, 100.0, 9, OK),
    "as many as allowed": (2, 100.0, 2, OK),
    "one more": (2, 100.0, 3, THRESHOLD),
    "none allowed": (0, 100.0, 1, THRESHOLD),
    "as many percent": (-1, 30.0, 3, OK),
    "more percent": (-1, 30.0, 4, THRESHOLD),
    "the stricter one decides": (9, 10.0, 2, THRESHOLD),
}


@pytest.mark.parametrize("case", FAILED_BATCHES)
def test_failed_mini_batches(tmp_path: Path, case: str) -> None:
    threshold, percent, failed, code = FAILED_BATCHES[case]
    spec = job(tmp_path)._replace(mini_batch_error_threshold=threshold, allowed_failed_percent=percent)
    counts = Counts(100, 90, 0, 10, 10, 10, 0, 0)
    verdict = judge_run(spec, Conducted(Ending.ALL_DONE, ""), counts, failed_batches=failed)
    assert verdict.code is code
    assert bool(re.search("mini-batch(es)? failed", verdict.reason)) is (code is THRESHOLD)
