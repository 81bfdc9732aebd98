"""The store on a real disk: what commit, recover, finish, verify, inspect and the lock say and leave behind."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchctl.errors import BatchctlError, CorruptionError, NoSpaceError, ResumeRefusedError, RunLockedError, UsageError
from batchctl.files import RealDisk
from batchctl.handles import FileLock
from batchctl.model.job import Order
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored, StagedFile
from batchctl.model.records import Charged, EpochOpened, Quarantined
from batchctl.store.commit import Committer, Group, ProtocolError
from batchctl.store.creation import RunState, create_run, run_state
from batchctl.store.documents import read_document
from batchctl.store.finish import finish, open_finished
from batchctl.store.inspection import inspect_log
from batchctl.store.layout import RunLayout
from batchctl.store.lock import held_lock, lock_holder, this_process
from batchctl.store.publish import FilesCollideError, FilesRefusedError
from batchctl.store.recover import Recovered, recover
from batchctl.store.verify import Verification, verify

RUN = "r"
BOUNDS = (0, 2, 4, 6)
FAILURE = Failure(FailureKind.LOST, "Died", "signal 9 \udcff")
DISK = RealDisk()


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path / "deep" / "out", "p.csv")


def begin(layout: RunLayout) -> Recovered:
    if run_state(DISK, layout) is not RunState.STARTED:
        create_run(DISK, layout, job_document={"run_id": RUN}, plan_chunks=[b"pl", b"an"])
    return recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="boot", version="0")


def scored(batch: int, rows: bytes = b"a\nb\n", **more: Any) -> Scored:
    lease = Lease(batch, BOUNDS[batch], BOUNDS[batch + 1] - BOUNDS[batch], 1)
    return Scored(lease, rows, len(rows), zlib.crc32(rows), 2, lease.count, 0, 5)._replace(**more)


def with_file(layout: RunLayout, batch: int, name: str, data: bytes = b"file") -> Scored:
    path = layout.stage / str(batch) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return scored(batch, staged=str(batch), files=(StagedFile(name, len(data)),))


def whole_run(layout: RunLayout, order: Order = Order.PLAN) -> None:
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(2, b"5\n"), scored(0, b"1\n")], columns=b"h\n"))
    committer.commit(Group(quarantined=[Quarantined(Lease(1, 2, 2, 3), FAILURE)]))
    finish(DISK, layout, committer=committer, order=order)


def check(layout: RunLayout, **more: Any) -> Verification:
    return verify(DISK, layout, run_id=RUN, bounds=BOUNDS, **more)


def test_states_of_a_run(layout: RunLayout) -> None:
    assert run_state(DISK, layout) is RunState.ABSENT
    with held_lock(DISK, layout, holder=this_process()):
        assert run_state(DISK, layout) is RunState.HALF_CREATED
    (layout.directory / "plan.tmp").write_bytes(b"half")
    layout.job.write_bytes(b"of a run whose plan a power cut took")
    assert run_state(DISK, layout) is RunState.HALF_CREATED
    begin(layout).committer.close(clean=True)
    assert run_state(DISK, layout) is RunState.STARTED
    assert layout.plan.read_bytes() == b"plan"
    assert {path.stat().st_mode & 0o777 for path in (layout.plan, layout.job, layout.log)} == {0o600}
    assert layout.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("order", "expected"), [(Order.PLAN, b"h\n1\n5\n"), (Order.COMPLETION, b"h\n5\n1\n")], ids=["plan", "completion"]
)
def test_finish_orders_rows_and_leaves_nothing_else(layout: RunLayout, order: Order, expected: bytes) -> None:
    whole_run(layout, order)
    assert layout.final.read_bytes() == expected
    assert sorted(os.listdir(layout.out)) == [".batchctl", "p.csv"]
    assert run_state(DISK, layout) is RunState.FINISHED
    found = open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True)
    assert (found.ledger.committed, found.ledger.quarantined, found.done.n_rows) == (4, 2, 4)
    report = check(layout, opaque=[(layout.plan, zlib.crc32(b"plan"))])
    assert (report.problems, report.finished, report.open_items) == ((), True, 0)
    with pytest.raises(ProtocolError):
        begin_again = recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="", version="")
        assert begin_again is None


def test_what_was_in_flight_is_told_per_epoch(layout: RunLayout) -> None:
    one, two = Lease(0, 0, 2, 1), Lease(1, 2, 2, 1)
    first = begin(layout).committer
    first.note_claims([one, two])
    first.commit(Group(charged=[Charged(one, FAILURE)]))
    first.close(clean=False)
    second = begin(layout)
    assert [(past.number, past.boot_id, past.closed, past.in_flight) for past in second.past] == [
        (1, "boot", False, (two,))
    ]
    assert [record.failure for record in second.records if isinstance(record, Charged)] == [FAILURE]
    assert [record.number for record in second.records if isinstance(record, EpochOpened)] == [1, 2]  # its own too
    second.committer.note_claims([two])
    second.committer.close(clean=True)
    third = begin(layout)
    assert (third.epoch, third.past[1].closed, third.past[1].in_flight) == (3, True, ())
    third.committer.close(clean=False)


def test_the_writer_refuses_what_must_not_be(layout: RunLayout) -> None:
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(0)], columns=b"h\n"))
    size = committer.log_size
    for group in (
        Group(scored=[scored(0)]),
        Group(scored=[scored(1), scored(1)]),
        Group(quarantined=[Quarantined(Lease(0, 1, 1, 1), FAILURE)]),
        Group(scored=[scored(1)], columns=b"other\n"),
        Group(scored=[scored(1, crc=1)]),
    ):
        with pytest.raises(ProtocolError):
            committer.commit(group)
    with pytest.raises(ProtocolError):
        finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert committer.log_size == size
    committer.close(clean=True)


def test_parts_of_a_mini_batch(layout: RunLayout) -> None:
    committer = begin(layout).committer
    part = scored(1, b"3\n")._replace(lease=Lease(1, 3, 1, 2), ok=1)
    committer.commit(Group(scored=[scored(2, b"5\n"), part]))
    assert committer.ledger.open_ranges(1) == [(2, 1)]
    committer.commit(Group(quarantined=[Quarantined(Lease(1, 2, 1, 1), FAILURE)], scored=[scored(0, b"1\n")]))
    finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert layout.final.read_bytes() == b"1\n3\n5\n"


def test_published_files_arrive_and_collisions_are_refused_before_anything_is_written(layout: RunLayout) -> None:
    committer = begin(layout).committer
    layout.out.joinpath("mine.txt").write_bytes(b"mine")
    committer.commit(Group(scored=[with_file(layout, 0, "a/b.txt")]))
    assert layout.out.joinpath("a/b.txt").read_bytes() == b"file"
    before = (committer.log_size, committer.rows_size)
    for name, other in (("a/b.txt", Lease(0, 0, 2, 1)), ("mine.txt", None)):
        with pytest.raises(FilesCollideError) as caught:
            committer.commit(Group(scored=[with_file(layout, 1, name)]))
        assert (caught.value.lease.batch, caught.value.other, caught.value.exit_code) == (1, other, 2)
    for name in ("../x", "/etc/x", "p.csv", "p.csv.partial", ".batchctl/plan", "mine.txt/below"):
        with pytest.raises(FilesRefusedError):
            committer.commit(Group(scored=[scored(1, staged="1", files=(StagedFile(name, 4),))]))
    with pytest.raises(FilesCollideError):
        committer.commit(Group(scored=[with_file(layout, 1, "same"), with_file(layout, 2, "same")]))
    assert before == (committer.log_size, committer.rows_size)
    left = [path.name for path in layout.stage.iterdir()]
    assert left == ["1"], "what was refused is still there, or what was not refused is gone"
    committer.close(clean=True)
    again = begin(layout).committer
    with pytest.raises(FilesCollideError):
        again.commit(Group(scored=[with_file(layout, 1, "a/b.txt")]))
    again.close(clean=True)


def test_a_file_that_is_there_already_with_its_bytes_is_taken_for_the_one_that_is_published(layout: RunLayout) -> None:
    committer = begin(layout).committer
    layout.out.joinpath("a").mkdir()
    layout.out.joinpath("a/b.txt").write_bytes(b"file")  # a log that was cut had announced it
    committer.commit(Group(scored=[with_file(layout, 0, "a/b.txt")]))
    with pytest.raises(FilesCollideError):
        committer.commit(Group(scored=[with_file(layout, 1, "a/b.txt")]))
    committer.close(clean=True)
    assert check(layout).sound


def test_a_full_disk_counts_nothing_and_the_same_group_fits_later(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(0, b"1\n")]))
    group = Group(scored=[scored(1, b"3\n")])
    sizes = (committer.log_size, committer.rows_size)
    real = os.pwrite
    for skip in (0, 1):  # the rows do not fit; the rows do, the log does not
        left = [skip]

        def full(fd: int, data: Any, offset: int, left: list[int] = left) -> int:
            if left[0] == 0:
                raise OSError(28, "full")
            left[0] -= 1
            return real(fd, data, offset)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(NoSpaceError):
                committer.commit(group)
        assert (committer.ledger.committed, layout.log.stat().st_size, layout.partial.stat().st_size) == (2, *sizes)
    committer.commit(group)
    committer.close(clean=True)
    assert begin_and_close(layout).ledger.committed == 4


def begin_and_close(layout: RunLayout) -> Recovered:
    found = begin(layout)
    found.committer.close(clean=True)
    return found


def test_torn_tails_are_cut_and_verify_only_tells(layout: RunLayout) -> None:
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(0)]))
    committer.close(clean=False)
    with layout.log.open("ab") as log, layout.partial.open("ab") as rows:
        log.write(b"\0" * 70)
        rows.write(b"half a row")
    report = check(layout)
    assert (report.problems, report.torn_log_bytes, report.torn_rows_bytes, report.open_items) == ((), 70, 10, 4)
    assert [record["type"] for record in inspect_log(DISK, layout, run_id=RUN)] == ["EPOCH", "COMMIT", "TORN"]
    found = begin_and_close(layout)
    assert (found.cut_log, found.cut_rows, layout.partial.read_bytes()) == (70, 10, b"a\nb\n")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[RunLayout], None]] = {
    "log gone": lambda at: at.log.unlink(),
    "log empty": lambda at: os.truncate(at.log, 0),
    "log another run's": lambda at: flip(at.log, 50),
    "rows gone": lambda at: at.partial.unlink(),
    "rows cut": lambda at: os.truncate(at.partial, 3),
    "a row changed": lambda at: flip(at.partial, 5),
    "the header changed": lambda at: flip(at.partial, 0),
    "the log's begin changed": lambda at: flip(at.log, 60),
    "job.json changed": lambda at: flip(at.job, at.job.read_bytes().index(b'"r"') + 1),
    "job.json gone": lambda at: at.job.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_a_started_run_is_corruption(layout: RunLayout, damage: Callable[[RunLayout], None]) -> None:
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(0)], columns=b"h\n"))
    committer.close(clean=False)
    damage(layout)
    with pytest.raises(CorruptionError):
        run_state(DISK, layout)
        read_document(DISK, layout.job)
        recover(DISK, layout, run_id=RUN, bounds=BOUNDS, boot_id="", version="")
    assert not check(layout).sound or not layout.log.exists()


def test_every_byte_of_a_finished_runs_log_is_guarded(layout: RunLayout) -> None:
    whole_run(layout)
    good = layout.log.read_bytes()
    for at in range(len(good)):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :]):
            layout.log.write_bytes(damaged)
            with pytest.raises(CorruptionError):
                open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=False)
            assert not check(layout).sound
    layout.log.write_bytes(good + b"\0")
    with pytest.raises(CorruptionError):
        open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=False)
    layout.log.write_bytes(good)
    for at in range(layout.final.stat().st_size):
        flip(layout.final, at)
        assert not check(layout).sound
        flip(layout.final, at)
    assert check(layout).sound


def test_a_finish_removes_what_a_killed_life_was_replacing(layout: RunLayout) -> None:
    begin_and_close(layout)
    (layout.directory / ".learned.json.tmp").write_bytes(b"{")
    whole_run(layout)
    assert not list(layout.directory.glob(".*.tmp"))


def test_summary_only_leaves_no_rows(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path / "out", rows=False)
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(batch, b"") for batch in range(3)]))
    finish(DISK, layout, committer=committer, order=Order.PLAN)
    assert os.listdir(layout.out) == [".batchctl"]
    assert run_state(DISK, layout) is RunState.FINISHED
    assert check(layout).sound
    assert open_finished(DISK, layout, run_id=RUN, bounds=BOUNDS, locked=True).done.size == 0


@pytest.mark.parametrize("tail", [b"BCF1", b"\0" * 200], ids=["a frame that was cut off", "zeroes"])
def test_without_rows_what_follows_the_seal_is_cut_and_verify_agrees(tmp_path: Path, tail: bytes) -> None:
    layout = RunLayout(tmp_path / "out", rows=False)
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(batch, b"") for batch in range(3)]))
    finish(DISK, layout, committer=committer, order=Order.PLAN)
    with layout.log.open("ab") as log:
        log.write(tail)
    found = check(layout)
    assert found.sound
    assert found.torn_log_bytes == len(tail)
    assert run_state(DISK, layout) is RunState.STARTED
    assert begin_and_close(layout).cut_log == len(tail)
    assert run_state(DISK, layout) is RunState.FINISHED
    assert check(layout).torn_log_bytes == 0


def test_a_run_may_be_moved(layout: RunLayout, tmp_path: Path) -> None:
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(1)]))
    committer.close(clean=True)
    layout.out.rename(tmp_path / "moved")
    assert begin_and_close(RunLayout(tmp_path / "moved", "p.csv")).ledger.committed == 2


def test_inspect_is_json_for_every_record(layout: RunLayout) -> None:
    committer = begin(layout).committer
    committer.commit(
        Group(
            [Lease(0, 0, 2, 1)],
            [with_file(layout, 0, "n\udcff")],
            [Charged(Lease(1, 2, 2, 1), FAILURE)],
            columns=b"h\n",
        )
    )
    committer.close(clean=True)
    said = [json.loads(json.dumps(record)) for record in inspect_log(DISK, layout, run_id=RUN)]
    assert [record["type"] for record in said] == ["EPOCH", "COLUMNS", "PUBLISH", "CLAIM", "FAIL", "COMMIT", "CLOSE"]
    assert said[2]["files"][0]["path"] == "n\udcff"


def test_the_lock_names_its_holder(layout: RunLayout) -> None:
    with held_lock(DISK, layout, holder=this_process()):
        assert lock_holder(DISK, layout) == this_process()
        with pytest.raises(RunLockedError, match=str(os.getpid())), held_lock(DISK, layout, holder=this_process()):
            pass
    assert lock_holder(DISK, layout) is None


def test_a_run_directory_that_is_taken_away_as_it_is_entered_is_made_again(layout: RunLayout) -> None:
    class Swept(RealDisk):
        """Another one removes it (`run/reset.py`) between its making and the lock."""

        def lock(self, path: Path) -> FileLock | None:
            if not made:
                made.append(path)
                path.parent.rmdir()
            return super().lock(path)

    made: list[Path] = []
    with held_lock(Swept(), layout, holder=this_process()):
        assert made and layout.lock.exists()


def test_a_run_directory_that_others_may_enter_is_refused(layout: RunLayout, tmp_path: Path) -> None:
    begin_and_close(layout)
    layout.directory.chmod(0o755)
    with pytest.raises(UsageError, match="mode 755"):
        run_state(DISK, layout)
    layout.directory.chmod(0o700)
    layout.directory.rename(tmp_path / "elsewhere")
    layout.directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not a directory"):
        run_state(DISK, layout)


def test_a_result_that_belongs_to_no_run_is_not_touched(layout: RunLayout) -> None:
    layout.out.mkdir(parents=True)
    layout.final.write_bytes(b"precious")
    with pytest.raises(UsageError):
        begin(layout)
    assert layout.final.read_bytes() == b"precious"


def test_a_job_document_of_another_format_is_not_ours(layout: RunLayout) -> None:
    begin_and_close(layout)
    layout.job.write_text(
        layout.job.read_text(encoding="ascii").replace('"format": 1', '"format": 2'), encoding="ascii"
    )
    with pytest.raises(ResumeRefusedError):
        read_document(DISK, layout.job)


def test_after_a_failed_sync_the_committer_is_over(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    committer: Committer = begin(layout).committer

    def fail(fd: int) -> None:
        raise OSError(5, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(BatchctlError) as caught:
            committer.commit(Group(scored=[scored(0)]))
    assert caught.value.exit_code == 74
    with pytest.raises(BatchctlError):
        committer.commit(Group(scored=[scored(1)]))
    committer.close(clean=True)
    assert begin_and_close(layout).ledger.committed == 0


def test_nothing_follows_a_seal_that_was_cut_off_by_a_signal(
    layout: RunLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C right after DONE was written, before anybody knew: no CLOSE after it, which would be taken for damage."""
    committer = begin(layout).committer
    committer.commit(Group(scored=[scored(2, b"5\n"), scored(0, b"1\n")], columns=b"h\n"))
    committer.commit(Group(quarantined=[Quarantined(Lease(1, 2, 2, 3), FAILURE)]))
    write = committer._write_frames

    def interrupted(*args: Any, **more: Any) -> None:
        write(*args, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(committer, "_write_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finish(DISK, layout, committer=committer, order=Order.PLAN)
    monkeypatch.undo()
    committer.close(clean=True)
    assert [record["type"] for record in inspect_log(DISK, layout, run_id=RUN)][-1] == "DONE"
