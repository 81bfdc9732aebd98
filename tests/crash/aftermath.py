"""What lies on a disk after a power cut or an error of the disk, before the next command comes to it."""

from __future__ import annotations

from pathlib import Path

from batchctl.cli.run_directory import existing_run
from batchctl.errors import BatchctlError, UsageError
from batchctl.files import RealDisk
from batchctl.plan.read import Plan
from batchctl.store.verify import verify
from tests.crash.checks import Results, published_by, result_name


def is_complete(out: Path, reference: Results) -> bool:
    """Is all of the result there, as in an undisturbed run?"""
    result = out / result_name(out)
    rows = result.read_bytes() if result.exists() else b""
    return rows == reference.rows and published_by(out) == reference.published


def look(out: Path) -> tuple[tuple[str, ...], tuple[int, int]]:
    """What `verify` has against it, and the bytes behind the good ends of log and rows. Nothing where there is no run
    yet."""
    try:
        existing = existing_run(str(out))
        with Plan.open(existing.layout.plan) as plan:
            run_id, bounds = existing.document.run_id, plan.batch_firsts
            found = verify(RealDisk(), existing.layout, run_id=run_id, bounds=bounds)
    except UsageError:
        return (), (0, 0)
    except BatchctlError as error:
        return (error.message,), (0, 0)
    return found.problems, (found.torn_log_bytes, found.torn_rows_bytes)
