"""batchctl with a stop-watch inside: how long did the workers stand still because a commit was under way?

`python -m tests.bench.stalls FILE run ...` is `batchctl run ...`, and writes to FILE as JSON, in seconds: `loop` from
the first lease until the last result is committed, `stalled` of that, and when the loop began and ended
(`time.monotonic_ns`). Stalled is the time in which nobody had anything in hand while results waited for a commit, in
which too much was uncommitted for further leases, and in which a claim was synced on the loop's own thread.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchctl.cli.main import main
from batchctl.model.lease import Lease
from batchctl.run.crew import Crew
from batchctl.run.journal import Journal

_claim, _pump, _dismiss = Journal.claim, Journal.pump, Crew.dismiss


class Watch:
    """All in nanoseconds of the monotonic clock."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.stalled = 0
        self.since = 0

    def claim(self, journal: Journal, leases: Sequence[Lease], *, alone: bool) -> None:
        before = time.monotonic_ns()
        self.began = self.began or before
        _claim(journal, leases, alone=alone)
        if alone:
            self.stalled += time.monotonic_ns() - before

    def pump(self, journal: Journal, *, idle: bool) -> Any:
        try:
            return _pump(journal, idle=idle)
        finally:
            now = time.monotonic_ns()
            if self.since:
                self.stalled += now - self.since
            waits = self.began and ((idle and not journal.empty) or journal.is_full)
            self.since = now if waits else 0

    def dismiss(self, crew: Crew) -> None:
        self.ended = time.monotonic_ns()
        _dismiss(crew)


if __name__ == "__main__":
    watch = Watch()
    Journal.claim = lambda self, leases, *, alone: watch.claim(self, leases, alone=alone)  # type: ignore[method-assign]
    Journal.pump = lambda self, *, idle: watch.pump(self, idle=idle)  # type: ignore[method-assign]
    Crew.dismiss = lambda self: watch.dismiss(self)  # type: ignore[method-assign]
    code = main(sys.argv[2:])
    loop, stalled = (watch.ended - watch.began) / 1e9, watch.stalled / 1e9
    found = {"loop": loop, "stalled": stalled, "began": watch.began, "ended": watch.ended}
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
    sys.exit(code)
