"""What `run` and `retry` share: the run told to the terminal, to CI and, where asked for, as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from batchctl.cli.ci_summary import CiSummary
from batchctl.cli.output import emit_json
from batchctl.model.progress import Summary
from batchctl.named_tuple import NamedTuple
from batchctl.report.progress import choose_reporter
from batchctl.run.request import RunOptions
from batchctl.run.start import run_job
from batchctl.spec.resolve import Loaded


class Asked(NamedTuple):
    """What a command line asks for; `switches` are json, quiet and verbose."""

    loaded: Loaded
    options: RunOptions
    switches: Mapping[str, bool]


def score(out: str, ask: Callable[[], Asked]) -> int:
    """The exit code. Raises what reading the command line (`ask`) and running raise; CI is told of that, too."""
    with CiSummary(out) as ci:
        asked = ask()
        summary = _told(asked)
        ci.finished(summary)
    if asked.switches["json"]:
        render(summary)
    return summary.exit_code


def _told(asked: Asked) -> Summary:
    loaded, options, switches = asked
    spec = loaded.require()
    reporter = choose_reporter(sys.stderr, clock=time.monotonic, quiet=switches["quiet"], verbose=switches["verbose"])
    with reporter:
        for note in loaded.notes:
            reporter.note(note)
        summary = run_job(spec, options, reporter)
        reporter.finished(summary)
    return summary


def render(summary: Summary) -> None:
    from batchctl.report.summary import summary_dict  # only with --json, and not before the run

    emit_json(summary_dict(summary))
