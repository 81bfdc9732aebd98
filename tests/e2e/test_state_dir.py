"""The run directory elsewhere, and file systems that are warned of or refused, through the real command."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.fuse import CannotMountError, mounted
from tests.e2e.driver import Job, Out
from tests.e2e.halting import ITEMS, gated, halt

SMALL = ("--mini-batch-size", "2", "--workers", "2")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory: on another file system than OUT."""
    if os.geteuid() != 0:
        pytest.skip("not run: mounting takes root")
    at = tmp_path / "memory"
    at.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(at), b"tmpfs", 0, b"size=64m") != 0:
        pytest.skip(f"not run: no tmpfs can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield at
    finally:
        assert libc.umount2(bytes(at), 2) == 0


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Path]:
    """What a mounted object store looks like from outside."""
    at = tmp_path / "bucket"
    at.mkdir()
    with ExitStack() as held:
        try:
            held.enter_context(mounted(at, kind="fuse.blobfuse2", source="blobfuse2"))
        except CannotMountError as why:
            pytest.skip(f"not run: {why}")
        yield at


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def verdict(job: Job, out: str) -> str:
    return str(job.batchctl("status", out, "--json").expect(0).json["verdict"])


def test_killed_resumed_moved_without_naming_it_again(job: Job, elsewhere: Path) -> None:
    gate, rows = gated(job)
    state = elsewhere / "state"
    # A relative path is meant from where it is typed, and recorded as absolute.
    named = os.path.relpath(state, job.folder)
    halt(job, gate, *SMALL, "--state-dir", named, number=signal.SIGKILL).expect(-signal.SIGKILL)
    assert verdict(job, "out") == "crashed"
    assert sorted(os.listdir(job.out.home)) == ["lock", "stage", "state.json"]
    assert {"checkpoint.log", "job.json", "lock", "plan", "status.json"} <= set(os.listdir(state))
    job.run(*SMALL, "--state-dir", state, out="second").expect(2).names("another output folder")
    assert not (job.folder / "second").exists(), "a refused run left its folder"
    job.run(*SMALL, "--state-dir", elsewhere / "other").expect(2).names(str(state), "--state-dir")
    (job.folder / "out").rename(job.folder / "moved")
    job.batchctl("verify", "moved").expect(0)
    gate.open()
    ran = job.run(*SMALL, out="moved").expect(0)
    moved = Out(job.folder / "moved")
    assert moved.rows == rows
    summary = moved.summary
    assert (summary["epochs"], summary["rows"]) == (2, ITEMS)
    (note,) = [note for note in summary["notes"] if str(state) in note]
    assert ran.stderr.count(note.encode()) == 2, "said once at the start, once in the summary"
    assert "in memory" in note
    job.batchctl("verify", "moved").expect(0)
    assert verdict(job, "moved") == "finished"
    assert job.batchctl("inspect", "moved").expect(0).lines[-1]["type"] == "DONE"
    assert not moved.leftovers()
    job.run(*SMALL, out="moved").expect(0).names("complete")


def test_a_run_directory_in_out_that_is_a_mount_of_its_own_is_refused(job: Job, elsewhere: Path) -> None:
    job.script("mended", FILES="1")
    job.items(2)
    home = job.out.path / ".batchctl"
    home.mkdir(parents=True, mode=0o700)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(bytes(elsewhere), bytes(home), None, 4096, None) == 0  # MS_BIND
    try:
        job.run(*SMALL).expect(2).names("a mount of its own", "--state-dir")
        job.batchctl("check", "code/score.py", "in", "-o", "out").expect(2).names("a mount of its own")
        assert not any(elsewhere.iterdir())
    finally:
        assert libc.umount2(bytes(home), 2) == 0
    job.run(*SMALL).expect(0)


def test_two_first_starts_into_one_out(job: Job, elsewhere: Path) -> None:
    gate, rows = gated(job)
    command = ("run", "code/score.py", "in", "-o", "out", *SMALL, "--state-dir")
    with job.start(*command, elsewhere / "one") as started:
        gate.wait_reached(started)
        job.run(*SMALL, "--state-dir", elsewhere / "two").expect(8)
        job.run(*SMALL, "--state-dir", elsewhere / "one", out="other").expect(2).names("another output folder")
        assert verdict(job, "out") == "running"
        gate.open()
        started.end().expect(0)
    assert job.out.rows == rows
    assert os.listdir(elsewhere) == ["one"]


def test_own_files_failures_retry_and_fresh(job: Job, elsewhere: Path) -> None:
    job.script("mended", FILES="1")
    job.items(8)
    mended = job.write("in/item003broken.txt", "broken\n")
    state = elsewhere / "state"
    job.run(*SMALL, "--max-retries", "0", "--state-dir", state).expect(0)
    assert job.batchctl("failures", "out", "--json").expect(0).json["quarantined"] == 1
    assert len(list(job.out.path.glob("item*"))) == 8
    mended.write_text("good\n")
    job.batchctl("retry", "out").expect(0)
    assert [text.split()[0] for text in job.out.rows] == sorted(path.name for path in job.inputs.iterdir())
    assert (job.out.path / mended.name).read_text() == "seen"
    job.batchctl("verify", "out").expect(0)
    assert not job.out.leftovers()
    first = _read(state / "job.json")["document"]["run_id"]
    (state / "diary.txt").write_text("mine")
    job.run(*SMALL, "--fresh").expect(0)
    assert _read(state / "job.json")["document"]["run_id"] != first
    assert (state / "diary.txt").read_text() == "mine", "--fresh took what is not the run's"
    assert sorted(os.listdir(job.out.home)) == ["lock", "state.json"]
    job.batchctl("verify", "out").expect(0)


def test_a_moved_state_directory_is_named_once(job: Job, elsewhere: Path) -> None:
    gate, rows = gated(job)
    state, moved = elsewhere / "state", job.folder / "kept"
    halt(job, gate, *SMALL, "--state-dir", str(state)).expect(75)
    gate.open()
    shutil.copytree(state, moved)  # to another file system
    for command in ("status", "verify", "inspect", "failures"):
        job.batchctl(command, "out").expect(0)
    state.rename(elsewhere / "gone")
    for command in ("status", "verify", "inspect", "failures"):
        job.batchctl(command, "out").expect(7).names(f"{state} is gone", "--state-dir")
    job.run(*SMALL).expect(7).remedied()
    job.run(*SMALL, "--state-dir", "kept").expect(0)
    assert job.out.rows == rows
    job.batchctl("verify", "out").expect(0)


@pytest.mark.parametrize("flags", [(), ("--output-action", "summary_only")], ids=["rows", "summary_only"])
def test_a_state_directory_that_is_empty_now_begins_nothing_anew(job: Job, flags: tuple[str, ...]) -> None:
    """As one that is not mounted looks, or one that a service manager has made anew."""
    job.script("mended", FILES="1")
    job.items(4)
    state, away = job.folder / "state", job.folder / "away"
    job.run(*SMALL, *flags, "--state-dir", state).expect(0)
    state.rename(away)
    state.mkdir(mode=0o700)

    def there() -> dict[Path, bytes]:  # the lock may still name who had it
        return {path: path.read_bytes() for path in job.out.path.rglob("*") if path.is_file() and path.name != "lock"}

    before = there()
    for command in ("status", "verify", "inspect", "failures", "retry"):
        job.batchctl(command, "out").expect(7).names("job.json is gone", "--state-dir")
    for more in ((), ("--state-dir", state), ("--fresh",)):
        job.run(*SMALL, *flags, *more).expect(7).remedied()
    job.run(*SMALL, *flags, "--state-dir", job.folder / "new").expect(2).names(str(state))
    assert there() == before
    assert not any(state.iterdir())
    state.rmdir()
    away.rename(state)
    job.run(*SMALL, *flags).expect(0).names("complete")
    job.batchctl("verify", "out").expect(0)
    job.run(*SMALL, *flags, "--fresh").expect(0)


@pytest.mark.parametrize("where", [".", "out", "out/state", "in", "in/state"])
def test_where_a_state_directory_may_not_lie(job: Job, where: str) -> None:
    job.script()
    job.items(2)
    ran = job.run("--state-dir", where)
    if where == "in/state":  # left out of the inputs, as OUT would be
        ran.expect(0).names("left out")
        assert len(job.out.rows) == 2
        return
    ran.expect(2).remedied()
    assert not job.out.path.exists()


def test_a_wrong_script_leaves_nothing_and_keeps_what_was_there(job: Job) -> None:
    job.write("code/score.py", "def score(): pass\n")
    job.items(1)
    job.run("--state-dir", "new").expect(2)
    there = job.folder / "there"
    there.mkdir(mode=0o700)
    job.run("--state-dir", "there").expect(2)
    assert not (job.folder / "new").exists()
    assert os.listdir(there) == []
    assert not job.out.path.exists()


def test_a_key_and_a_variable_name_it_too(job: Job) -> None:
    job.script()
    rows = job.items(4)
    job.write("batchctl.toml", 'script = "code/score.py"\ninput = "in"\nstate_dir = "by-key"\n')
    job.batchctl("run", "batchctl.toml", "-o", "out").expect(0)
    job.batchctl("run", "batchctl.toml", "-o", "second", env={"BATCHCTL_STATE_DIR": "by-variable"}).expect(0)
    assert job.out.rows == Out(job.folder / "second").rows == rows
    for name in ("by-key", "by-variable"):
        assert (job.folder / name / "job.json").exists()


def test_in_memory_is_said_and_done(job: Job, elsewhere: Path) -> None:
    job.script()
    rows = job.items(4)
    out = Out(elsewhere / "out")
    planned = job.batchctl("plan", "code/score.py", "in", "-o", out.path, "--json").expect(0).json
    (told,) = [note for note in planned["notes"] if " lies " in note]
    checked = job.batchctl("check", "code/score.py", "-o", out.path, "--json").expect(0).json
    assert checked["interpreter"]["notes"] == [told]
    job.run(out=str(out.path)).expect(0).names(told)
    assert out.rows == rows
    assert [note for note in out.summary["notes"] if " lies " in note] == [told]
    assert f"{out.path} lies in memory (tmpfs at {elsewhere})" in told


def test_an_object_store_is_refused_until_it_is_accepted(job: Job, bucket: Path) -> None:
    job.script()
    job.items(4)
    refused = ("object store", "fuse.blobfuse2", "--accept-storage")
    job.run(out=str(bucket / "out")).expect(2).names(str(bucket / "out"), *refused, "copy the result")
    job.run(out=str(bucket / "out"), env={"BATCHCTL_ACCEPT_STORAGE": "1"}).expect(2)
    job.run("--state-dir", bucket / "state").expect(2).names(str(bucket / "state"), *refused)
    assert not job.out.path.exists()
    for command in ("check", "systemd"):
        job.batchctl(command, "code/score.py", "in", "-o", bucket / "out").expect(2).names(*refused)
    notes = job.batchctl("plan", "code/score.py", "in", "-o", bucket / "out", "--json").expect(0).json["notes"]
    assert any("a run would be refused" in note for note in notes)
    accepted = ("code/score.py", "in", "-o", bucket / "out", "--accept-storage")
    job.batchctl("check", *accepted).expect(0).names("object store")
    job.batchctl("systemd", *accepted).expect(0).names("--accept-storage")
    job.batchctl("run", *accepted).expect(74)  # this one takes nothing, whoever accepts it
