"""OUT as `verify` and `inspect` find it: the run in it, wherever it was moved to."""

from __future__ import annotations

from pathlib import Path

from batchctl.errors import UsageError
from batchctl.files import RealDisk
from batchctl.run.existing import Existing, read_existing
from batchctl.store.layout import RunLayout


def existing_run(out: str) -> Existing:
    """The run in OUT; UsageError where there is none, CorruptionError where its documents are damaged."""
    folder = Path(out).absolute()
    found = read_existing(RealDisk(), RunLayout(folder))
    if found is None:
        what = "holds no run" if folder.is_dir() else "is no folder"
        raise UsageError(f"{out} {what}", where=str(folder), remedy="give the OUT of a `batchctl run ... -o OUT`")
    return found
