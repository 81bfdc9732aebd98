"""The judge of every campaign on real processes: what is gone, twice or foreign is counted as that."""

from __future__ import annotations

import hashlib
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.checks import Results, judge, results_of, run_id_of
from tests.crash.jobs.mixed import make_brief_job
from tests.crash.targets import carriers


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run with rows, files of the script and an item that was given up on."""
    work = tmp_path_factory.mktemp("judged")
    out = work / "out"
    job = make_brief_job(work / "job", python="", seed=1)
    subprocess.run(job.command(beside_python(), out, workers=2), check=True, capture_output=True, timeout=60)
    return out


def counted(out: Path, reference: Results) -> tuple[int, int, int]:
    found = judge(out, reference, batchctl="", run_id=run_id_of(out))
    assert bool(found.problems) == bool(found.unequal)
    return found.lost, found.duplicated, found.unequal


def test_a_run_is_equal_to_itself(finished: Path) -> None:
    assert run_id_of(finished)
    assert counted(finished, results_of(finished, "")) == (0, 0, 0)


def test_rows_that_are_gone_and_rows_that_are_twice_are_counted(finished: Path) -> None:
    reference = results_of(finished, "")
    row = b"item-9999.json,1,0.5,text\r\n"
    assert counted(finished, replace(reference, rows=reference.rows + row)) == (1, 0, 1)
    # A row that an undisturbed run has twice is not doubled.
    assert counted(finished, replace(reference, rows=reference.rows + row + row)) == (2, 0, 1)
    first, second = reference.rows.index(b"item-0000"), reference.rows.index(b"item-0001")
    less = reference.rows[:first] + reference.rows[second:]
    twice = less + reference.rows[second : reference.rows.index(b"item-0002")]
    found = judge(finished, replace(reference, rows=less), batchctl="", run_id="")
    assert (found.lost, found.duplicated, found.unequal) == (0, 0, 1), "a foreign row is neither"
    found = judge(finished, replace(reference, rows=twice), batchctl="", run_id="")
    assert (found.lost, found.duplicated, found.unequal) == (1, 0, 1)


def test_files_that_are_gone_and_files_that_are_twice_are_counted(finished: Path) -> None:
    reference = results_of(finished, "")
    assert len(reference.published) > 1
    more = {**reference.published, "kept/gone.out": hashlib.sha256(b"gone").hexdigest()}
    assert counted(finished, replace(reference, published=more)) == (1, 0, 1)
    copy = finished / "kept" / "copy.out"
    copy.write_bytes((finished / next(iter(reference.published))).read_bytes())
    try:
        assert counted(finished, reference) == (0, 1, 1)
    finally:
        copy.unlink()


def test_a_result_that_is_gone_has_lost_all_its_rows(finished: Path) -> None:
    reference = results_of(finished, "")
    aside = finished.with_name("aside")
    (finished / reference.result).rename(aside)
    try:
        lost, _, unequal = counted(finished, reference)
    finally:
        aside.rename(finished / reference.result)
    assert (lost > 90, unequal) == (True, 1)


def test_a_process_that_is_left_is_an_orphan(finished: Path) -> None:
    run_id = run_id_of(finished)
    with subprocess.Popen(["sleep", "600"], env={"BATCHCTL_RUN_ID": run_id}) as left:
        until = time.monotonic() + 60
        while left.pid not in carriers(run_id) and time.monotonic() < until:
            time.sleep(0.01)  # in the middle of its exec it shows no environment
        found = judge(finished, results_of(finished, ""), batchctl="", run_id=run_id)
        left.kill()
    assert found.orphans == 1
    assert found.problems
