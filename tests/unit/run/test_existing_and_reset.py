"""A run that is there already: whether it may go on, and exactly what goes when it does not; on a real disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import CorruptionError, ResumeRefusedError, UsageError
from batchctl.files import RealDisk
from batchctl.model.job import OnCollision, Order, OutputAction, OutputFormat, OwnFiles
from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored, StagedFile
from batchctl.model.progress import RunState
from batchctl.plan.fingerprint import Fingerprint, FingerprintRequest, take_fingerprint
from batchctl.report.summary import write_summary
from batchctl.run.document import RecordedRequest
from batchctl.run.existing import accept, accepted_path, read_existing
from batchctl.run.request import layout_for
from batchctl.run.reset import remove_unborn, start_over
from batchctl.store.commit import Group
from batchctl.store.creation import create_run
from batchctl.store.finish import finish
from batchctl.store.layout import RunLayout
from batchctl.store.recover import recover
from tests.unit.report.test_summary import summary
from tests.unit.run.stage import job

DISK, RUN_ID = RealDisk(), "ab" * 16


def fingerprint(folder: Path, **fields: str) -> Fingerprint:
    script = folder / "score.py"
    if not script.exists():
        script.write_text("def run(batch): pass\n")
    request = FingerprintRequest(
        script=script,
        code=folder,
        model=None,
        environment={},
        fields=fields,
        interpreter={},
        inputs=(),
        skip=(folder / "out",),
    )
    return take_fingerprint(request)


def created(folder: Path) -> RunLayout:
    """A started run; its log does not exist yet."""
    layout = layout_for(job(folder))
    document: dict[str, Any] = {
        "run_id": RUN_ID,
        "spec": "score.py",
        "output": {"file_name": "predictions.csv", "action": "append_row", "format": "csv", "order": "plan"},
        "plan": {"crc32": 1, "items": 4, "batches": 2, "bytes": 0},
        "fingerprint": fingerprint(folder, mini_batch_size="10").to_dict(),
    }
    create_run(DISK, layout, job_document=document, plan_chunks=[b"plan"])
    return layout


def published(folder: Path) -> RunLayout:
    """A run with committed rows and a file that its script wrote."""
    layout = created(folder)
    (layout.stage / "1.1.0.0.1" / "texts").mkdir(parents=True)
    (layout.stage / "1.1.0.0.1" / "texts" / "a.txt").write_bytes(b"hello")
    found = recover(DISK, layout, run_id=RUN_ID, bounds=[0, 2, 4], boot_id="b", version="v")
    (layout.stage / "1.1.0.0.1" / "texts").mkdir(parents=True, exist_ok=True)
    (layout.stage / "1.1.0.0.1" / "texts" / "a.txt").write_bytes(b"hello")
    files = (StagedFile("texts/a.txt", 5),)
    scored = Scored(Lease(0, 0, 2, 1), b"", 0, 0, 0, 2, 0, 5, staged="1.1.0.0.1", files=files)
    found.committer.commit(Group(scored=[scored]))
    found.committer.close(clean=True)
    assert (layout.out / "texts" / "a.txt").read_bytes() == b"hello"
    return layout


def test_nothing_is_there(tmp_path: Path) -> None:
    layout = layout_for(job(tmp_path))
    assert read_existing(DISK, layout) is None
    layout.directory.mkdir(parents=True, mode=0o700)
    assert read_existing(DISK, layout) is None  # half-created
    layout.log.touch()
    with pytest.raises(CorruptionError):
        read_existing(DISK, layout)


def test_the_layout_is_by_the_runs_own_output_name(tmp_path: Path) -> None:
    created(tmp_path)
    existing = read_existing(DISK, layout_for(job(tmp_path)._replace(output_file_name="other.csv")))
    assert existing is not None
    assert (existing.layout.final.name, existing.finished) == ("predictions.csv", False)


def sealed_without_rows(folder: Path) -> RunLayout:
    """A finished run that has no rows: only its log says so, and the summary that was written then."""
    layout = RunLayout(layout_for(job(folder)).out, rows=False)
    document: dict[str, Any] = {
        "run_id": RUN_ID,
        "spec": "score.py",
        "output": {"file_name": "predictions.csv", "action": "summary_only", "format": "csv", "order": "plan"},
        "plan": {"crc32": 1, "items": 4, "batches": 2, "bytes": 0},
        "fingerprint": fingerprint(folder, mini_batch_size="10").to_dict(),
    }
    create_run(DISK, layout, job_document=document, plan_chunks=[b"plan"])
    found = recover(DISK, layout, run_id=RUN_ID, bounds=[0, 2, 4], boot_id="b", version="v")
    leases = [Lease(0, 0, 2, 1), Lease(1, 2, 2, 1)]
    found.committer.commit(Group(scored=[Scored(lease, b"", 0, 0, 0, 2, 0, 5) for lease in leases]))
    finish(DISK, layout, committer=found.committer, order=Order.PLAN)
    return layout


# name: (run id, state, epochs of summary.json; None: no summary), bytes cut from the log -> finished; None: refused
TOLD = {
    "whole": (RUN_ID, "finished", 1, 0, True),
    "without a summary": (None, "", 0, 1, False),
    "of another run": ("cd" * 16, "finished", 1, 1, False),
    "stopped before": (RUN_ID, "stopped", 1, 1, False),
    "the last byte gone": (RUN_ID, "finished", 1, 1, None),
    "the seal gone": (RUN_ID, "finished", 1, 144, None),
    "an older log": (RUN_ID, "finished", 2, 0, None),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_log_that_lost_the_end_which_the_summary_tells_of_is_corruption(tmp_path: Path, case: str) -> None:
    run_id, state, epochs, cut, finished = TOLD[case]
    layout = sealed_without_rows(tmp_path)
    if run_id is not None:
        write_summary(layout.summary, summary(run_id=run_id, state=RunState(state), epochs=epochs))
    os.truncate(layout.log, layout.log.stat().st_size - cut)
    if finished is None:
        with pytest.raises(CorruptionError, match="lost its end"):
            read_existing(DISK, layout)
    else:
        existing = read_existing(DISK, layout)
        assert existing is not None
        assert existing.finished is finished


# name: what is asked for now -> the difference that cannot be accepted
OUTPUTS = {
    "the same": ({}, ()),
    "another name": ({"output_file_name": "x.csv"}, ("output_file_name predictions.csv -> x.csv",)),
    "no rows": ({"output_action": OutputAction.SUMMARY_ONLY}, ("output_action append_row -> summary_only",)),
    "another rule": ({"on_collision": OnCollision.APPEND}, ("on_collision fail -> append",)),
    "another way": ({"own_files": OwnFiles.DIRECT}, ("own_files staged -> direct",)),
    "another format": ({"output_format": OutputFormat.JSONL}, ("output_format csv -> jsonl",)),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_another_output_is_refused_whatever_the_user_says(tmp_path: Path, case: str) -> None:
    changes, lines = OUTPUTS[case]
    created(tmp_path)
    spec = job(tmp_path)._replace(**changes)
    existing = read_existing(DISK, layout_for(spec))
    assert existing is not None
    assert existing.other_output(spec) == lines
    if not lines:
        existing.refuse_other_output(spec)
        return
    with pytest.raises(ResumeRefusedError) as refused:
        existing.refuse_other_output(spec)
    assert refused.value.differences == lines
    assert "--accept-changes" not in refused.value.remedy


def test_changes_are_refused_or_accepted_for_good(tmp_path: Path) -> None:
    layout = created(tmp_path)
    existing = read_existing(DISK, layout)
    assert existing is not None
    now = fingerprint(tmp_path, mini_batch_size="20")
    lines = existing.differences(now)
    assert any("mini_batch_size" in line and "10" in line and "20" in line for line in lines)
    request = RecordedRequest(("batchctl", "run", "\udcff.py"), "/work")
    with pytest.raises(ResumeRefusedError) as refused:
        accept(DISK, existing, now, lines=lines, allowed=False, request=request)
    assert (refused.value.differences, "--accept-changes" in refused.value.remedy) == (lines, True)
    assert not accepted_path(layout).exists()
    accept(DISK, existing, now, lines=lines, allowed=True, request=request)
    assert "fingerprint" in json.loads(accepted_path(layout).read_bytes())["document"]
    again = read_existing(DISK, layout)
    assert again is not None
    assert again.request == request
    assert again.differences(now) == ()
    assert again.differences(fingerprint(tmp_path, mini_batch_size="10")) != ()


def test_starting_over_deletes_what_belongs_to_the_run_and_nothing_else(tmp_path: Path) -> None:
    layout = published(tmp_path)
    for name in ("mine.txt", "texts/mine.txt", "predictions.csv.bak"):
        (layout.out / name).write_text("the user's")
    for path in (layout.final, layout.sorting, layout.lock, layout.guest, layout.status, accepted_path(layout)):
        path.write_text("the run's")
    layout.logs.mkdir()
    (layout.logs / "worker.log").touch()
    start_over(DISK, layout, run_id=RUN_ID)
    left = sorted(str(path.relative_to(layout.out)) for path in layout.out.rglob("*") if not path.is_dir())
    assert left == [".batchctl/guest.pyz", ".batchctl/lock", "mine.txt", "predictions.csv.bak", "texts/mine.txt"]
    assert read_existing(DISK, layout) is None
    created(tmp_path)


class Cut(RealDisk):
    """Ends the process before its n-th change of a name, or sync of some."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def remove_tree(self, path: Path) -> None:
        self._step()
        super().remove_tree(path)

    def replace(self, source: Path, target: Path) -> None:
        self._step()
        super().replace(source, target)

    def sync_dir(self, path: Path) -> None:
        self._step()
        super().sync_dir(path)


def test_a_deletion_that_was_cut_off_leaves_no_run_that_passes_for_whole(tmp_path: Path) -> None:
    seen = set()
    for at in range(100):
        folder = tmp_path / str(at)
        folder.mkdir()
        layout = published(folder)
        layout.final.write_text("the run's")
        files = {path for path in layout.out.rglob("*") if path.name != "lock"}
        try:
            start_over(Cut(at), layout, run_id=RUN_ID)
            break
        except KeyboardInterrupt:
            pass
        try:
            found = read_existing(DISK, layout)
            whole = files <= set(layout.out.rglob("*"))
            seen.add("gone" if found is None else "whole")
            assert found is None or whole
        except UsageError as refused:
            assert "--fresh" in refused.remedy
            seen.add("refused")
        existing = read_existing(DISK, layout, leaving=True)
        if existing is not None:
            start_over(DISK, existing.layout, run_id=RUN_ID)
        assert read_existing(DISK, layout) is None
        assert not layout.final.exists()
        assert not (layout.out / "texts" / "a.txt").exists()
    else:
        raise AssertionError("it never came to its end")
    assert seen == {"whole", "refused", "gone"}


def test_a_damaged_log_is_no_obstacle(tmp_path: Path) -> None:
    layout = published(tmp_path)
    data = bytearray(layout.log.read_bytes())
    data[60] ^= 0xFF
    layout.log.write_bytes(data)
    start_over(DISK, layout, run_id=RUN_ID)
    assert not layout.log.exists()
    assert read_existing(DISK, layout) is None


def test_a_summary_only_run_owns_no_rows_file(tmp_path: Path) -> None:
    created(tmp_path)
    layout = RunLayout(tmp_path / "out", rows=False)
    (layout.out / "predictions.csv").write_text("the user's")
    start_over(DISK, layout, run_id=RUN_ID)
    assert (layout.out / "predictions.csv").exists()


@pytest.mark.parametrize(
    ("was_there", "kept"), [(False, False), (False, True), (True, False)], ids=["made by us", "used meanwhile", "there"]
)
def test_a_run_that_never_came_to_be(tmp_path: Path, was_there: bool, kept: bool) -> None:
    layout = layout_for(job(tmp_path))
    layout.directory.mkdir(parents=True, mode=0o700)
    (layout.directory / "lock").touch()
    if kept:
        (layout.out / "mine.txt").touch()
    remove_unborn(DISK, layout, made=() if was_there else (layout.out,))
    assert os.path.exists(layout.out) is (kept or was_there)
    assert not layout.directory.exists()


def test_a_born_one_is_left(tmp_path: Path) -> None:
    layout = created(tmp_path)
    remove_unborn(DISK, layout, made=(layout.out,))
    assert layout.job.exists()
