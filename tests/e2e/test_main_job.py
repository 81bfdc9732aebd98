"""The main job: from a script and a folder of files to a complete predictions file, however it gets there."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Out, wait_for
from tests.e2e.halting import ITEMS, Gate, gated, halt

# Small mini-batches, so that a job of 40 items has something to hand out, lose and resume.
SMALL = ("--mini-batch-size", "2")


def test_a_fresh_run_is_complete_and_leaves_nothing_lying_about(job: Job) -> None:
    job.script()
    rows = job.items(23)
    ran = job.run("--workers", "2").expect(0)
    assert job.out.rows == rows
    assert ran.stdout == b""
    summary = job.out.summary
    assert (summary["state"], summary["exit_code"], summary["items"], summary["items_succeeded"], summary["rows"]) == (
        *("finished", 0),
        *(23, 23, 23),
    )
    assert summary["next_command"].startswith("batchctl ")
    assert job.out.leftovers() == []
    assert sorted(path.name for path in job.out.path.iterdir()) == [".batchctl", "predictions.csv"]
    assert job.out.run_directory.stat().st_mode & 0o777 == 0o700
    job.batchctl("verify", "out").expect(0)


def test_a_rerun_says_that_it_is_complete_and_changes_nothing(job: Job) -> None:
    inits = job.folder / "inits"
    job.script(INITS=inits)
    job.items(12)
    job.run().expect(0)
    result, log = (job.out.path / "predictions.csv"), (job.out.run_directory / "checkpoint.log")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (result, log, inits)}
    ran = job.run().expect(0)
    ran.names("complete")
    for path, was in before.items():
        assert path.read_bytes() == was[0], f"{path.name} was changed by a rerun"
        # The log's end is written again with the same bytes, so that what was read is also on disk (store/recover.py).
        assert path == log or path.stat().st_mtime_ns == was[1], f"{path.name} was written by a rerun"
    assert job.batchctl("status", "out", "--json").expect(0).json["verdict"] == "finished"


STOPS = {
    "SIGTERM": (signal.SIGTERM, 75),
    "SIGINT": (signal.SIGINT, 130),
    "SIGKILL": (signal.SIGKILL, -signal.SIGKILL),
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_stopped_run_resumes_to_the_same_bytes(job: Job, stop: tuple[int, int], workers: str) -> None:
    number, code = stop
    gate, rows = gated(job)
    flags = (*SMALL, "--workers", workers)
    halt(job, gate, *flags, number=number).expect(code)
    assert not (job.out.path / "predictions.csv").exists(), "a final file appeared before the end"
    gate.open()
    job.run(*flags).expect(0)
    job.run(*flags, out="undisturbed").expect(0)
    assert job.out.predictions == Out(job.folder / "undisturbed").predictions
    assert job.out.rows == rows
    summary = job.out.summary
    assert (summary["epochs"], summary["rows"], summary["items_succeeded"]) == (2, ITEMS, ITEMS)
    assert summary["attempts_failed"] == summary["attempts_lost"] == 0, "a stop was charged to an item"
    job.batchctl("verify", "out").expect(0)


def test_what_is_committed_is_not_run_again(job: Job) -> None:
    gate, _ = gated(job)
    halt(job, gate, *SMALL, "--workers", "1").expect(75)
    scored = {int(a["First Item"]) for a in job.out.attempts if a["Status"] == "scored"}
    assert scored
    gate.open()
    job.run(*SMALL, "--workers", "1").expect(0)
    again = [int(a["First Item"]) for a in job.out.attempts if a["Epoch"] == "2"]
    assert scored.isdisjoint(again)
    assert len(again) == len(set(again))


def test_a_second_sigint_ends_it_now_and_it_resumes(job: Job) -> None:
    gate, rows = gated(job)
    with job.start("run", "code/score.py", "in", "-o", "out", *SMALL) as started:
        gate.wait_reached(started)
        started.signal(signal.SIGINT)
        wait_for(lambda: job.out.state == "draining", "the run to drain")
        started.signal(signal.SIGINT)
        started.end(limit=15).expect(130)
    gate.open()
    job.run(*SMALL).expect(0)
    assert job.out.rows == rows


def test_grace_bounds_the_drain(job: Job) -> None:
    gate, rows = gated(job)
    with job.start("run", "code/score.py", "in", "-o", "out", *SMALL, "--grace", "0.2") as started:
        gate.wait_reached(started)
        started.signal(signal.SIGTERM)
        started.end(limit=15).expect(75)
    gate.open()
    job.run(*SMALL).expect(0)
    assert job.out.rows == rows


def test_the_end_of_a_stopped_run_says_what_to_type(job: Job) -> None:
    gate, _ = gated(job)
    halt(job, gate, *SMALL, "--env", "TOKEN=not-for-the-screen").expect(75)
    summary = job.out.summary
    assert (summary["state"], summary["exit_code"]) == ("stopped", 75)
    assert summary["next_command"].startswith("batchctl run code/score.py in -o out")
    assert not [p for p in job.out.run_directory.rglob("*") if p.is_file() and b"not-for-the-screen" in p.read_bytes()]


def test_fresh_starts_over_and_only_fresh_does(job: Job) -> None:
    job.script()
    job.items(6)
    job.run().expect(0)
    first = job.out.summary["run_id"]
    (job.out.path / "mine.txt").write_text("somebody else's")
    more = job.items(9)
    # The inputs named are the same folder: files added since are no part of the run.
    job.run().expect(0)
    assert (job.out.summary["run_id"], len(job.out.rows)) == (first, 6)
    job.run("--fresh").expect(0)
    assert job.out.summary["run_id"] != first
    assert job.out.rows == more
    assert (job.out.path / "mine.txt").read_text() == "somebody else's"


def change_script(job: Job) -> tuple[str, ...]:
    with (job.code / "score.py").open("a") as file:
        file.write("\n# another version\n")
    return ("score.py",)


def change_module(job: Job) -> tuple[str, ...]:
    (job.code / "helper.py").write_text("ANSWER = 43\n")
    return ("helper.py",)


def change_model(job: Job) -> tuple[str, ...]:
    (job.folder / "model" / "weights.txt").write_text("43\n")
    return ("weights.txt",)


def change_input(job: Job) -> tuple[str, ...]:
    (job.inputs / "item037.txt").write_text("other content altogether\n")
    return ("item037.txt",)


CHANGES = {f.__name__: f for f in (change_script, change_module, change_model, change_input)}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_refused_by_name_until_accepted(job: Job, change: object) -> None:
    gate, rows = gated(job)
    (job.code / "helper.py").write_text("ANSWER = 42\n")
    job.write("model/weights.txt", "42\n")
    flags = (*SMALL, "--model", "model", "--workers", "1")
    halt(job, gate, *flags).expect(75)
    gate.open()
    names = change(job)  # type: ignore[operator]
    job.run(*flags).expect(6).names(*names, "--accept-changes", "--fresh")
    job.run(*flags, "--accept-changes").expect(0)
    assert [text.split()[0] for text in job.out.rows] == [text.split()[0] for text in rows], "lost or double rows"
    job.batchctl("verify", "out").expect(0)


def test_an_input_that_is_gone_at_the_resume_costs_itself(job: Job) -> None:
    """Another content would be another run; a missing file is what it is for a run that never stopped."""
    gate, rows = gated(job)
    # One worker: a second one may begin behind the leases of the first, with this very item.
    halt(job, gate, *SMALL, "--workers", "1").expect(75)
    gate.open()
    (job.inputs / "item037.txt").unlink()
    job.run(*SMALL, "--max-retries", "0").expect(0).names("item037.txt", "FileNotFoundError")
    assert job.out.rows == [text for text in rows if "item037" not in text]
    assert job.out.summary["items_quarantined"] == 1


SETTINGS = {
    "mini_batch_size": ("--mini-batch-size", "3"),
    "output_format": ("--output-format", "jsonl", "--output-file-name", "predictions.csv"),
    "output_file_name": ("--output-file-name", "other.csv"),
    "order": ("--order", "completion"),
    "header": ("--header",),
    "include": ("--include", "item00*"),
    "environment": ("--env", "FLAVOUR=spumoni"),
}


def test_a_changed_setting_is_refused_by_name(job: Job) -> None:
    gate, rows = gated(job)
    halt(job, gate, *SMALL).expect(75)
    gate.open()
    before = job.out.picture(beside=("status.json", "lock", "guest.pyz"))
    for key, flags in SETTINGS.items():
        ran = job.run(*SMALL, *flags).expect(6)
        ran.names("FLAVOUR" if key == "environment" else key, "--fresh")
        assert b"spumoni" not in ran.stderr, "the value of a variable was shown"
    after = job.out.picture(beside=("status.json", "lock", "guest.pyz"))
    assert after == before, "a refusal wrote to the run"
    job.run(*SMALL).expect(0)
    assert job.out.rows == rows


FREE = {
    "workers": ("--workers", "1"),
    "timeout": ("--timeout", "99"),
    "max_retries": ("--max-retries", "7"),
    "error_threshold": ("--error-threshold", "5%"),
    "mini_batch_error_threshold": ("--mini-batch-error-threshold", "3"),
    "allowed_failed_percent": ("--allowed-failed-percent", "50"),
    "grace": ("--grace", "1"),
    "isolate": ("--no-isolate",),
}


def test_what_does_not_change_rows_is_free_on_a_resume(job: Job) -> None:
    gate, rows = gated(job)
    halt(job, gate, *SMALL, "--workers", "2").expect(75)
    gate.open()
    job.run(*SMALL, *(word for words in FREE.values() for word in words)).expect(0)
    assert job.out.rows == rows


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_number_of_workers_changes_no_byte(job: Job, workers: int) -> None:
    job.script()
    rows = job.items(30)
    job.run(*SMALL, "--workers", str(workers)).expect(0)
    assert job.out.rows == rows
    assert job.out.summary["workers"] == workers
    assert {a["Process"].partition(".")[0] for a in job.out.attempts} <= {str(n) for n in range(workers)}


@pytest.mark.parametrize("order", ["plan", "completion"])
def test_order_of_the_final_file(job: Job, order: str) -> None:
    """The first mini-batch cannot end before the last one has."""
    names = [text.split()[0] for text in job.items(20)]
    job.script("patient", FIRST=names[0], LAST=names[-1], SEEN_LAST=job.folder / "seen")
    job.run(*SMALL, "--workers", "2", "--order", order).expect(0)
    assert sorted(job.out.rows) == names
    if order == "plan":
        assert job.out.rows == names
    else:
        assert job.out.rows.index(names[0]) > job.out.rows.index(names[2])
    job.batchctl("verify", "out").expect(0)


def test_a_failure_that_passes_is_retried_and_costs_nothing(job: Job) -> None:
    state = job.write("state/none", "").parent
    job.script("flaky", STATE=state, FAILS=2)
    names = [f"{'flaky' if number == 5 else 'item'}{number:03d}" for number in range(12)]
    for name in names:
        (job.inputs / name).touch()
    # One worker: of two, an idle one may be given what the other begins at that moment, and so runs once in vain.
    job.run("--mini-batch-size", "3", "--error-threshold", "0", "--workers", "1").expect(0)
    assert sorted(job.out.rows) == sorted(names)
    first = sorted(names).index("flaky005") // 3 * 3
    story = [(a["Status"], a["Picked Count"]) for a in job.out.attempts if int(a["First Item"]) == first]
    assert story == [("failed", "1"), ("failed", "2"), ("scored", "3")]
    assert job.out.summary["items_failed"] == 0


def bad_job(job: Job) -> tuple[Gate, list[str]]:
    """One mini-batch of eight items, the sixth of them bad; its parts wait at the gate."""
    gate = Gate(job.folder / "gate")
    job.script("isolating", GATE=job.folder / "gate", WHOLE=8)
    names = [f"item{number}{'-bad' if number == 5 else ''}" for number in range(8)]
    for name in names:
        (job.inputs / name).touch()
    return gate, names


ISOLATING = ("--mini-batch-size", "8", "--max-retries", "0", "--workers", "1")


def test_isolation_goes_on_where_it_was_stopped(job: Job) -> None:
    gate, names = bad_job(job)
    with job.start("run", "code/score.py", "in", "-o", "out", *ISOLATING) as started:
        gate.wait_reached(started)
        started.signal(signal.SIGTERM)
        wait_for(lambda: job.out.state == "draining", "the run to drain")
        gate.open()
        started.end().expect(75)
    job.run(*ISOLATING).expect(0)
    assert job.out.rows == [name for name in names if "bad" not in name]
    again = [(int(a["First Item"]), int(a["Total"])) for a in job.out.attempts if a["Epoch"] == "2"]
    assert sorted(again) == [(4, 1), (4, 2), (4, 4), (5, 1), (6, 2)], "what the log knew of the parts was forgotten"
    assert job.out.summary["items_quarantined"] == 1
    job.batchctl("verify", "out").expect(0)


def test_without_isolation_a_mini_batch_fails_as_a_whole(job: Job) -> None:
    _, names = bad_job(job)
    (job.inputs / "item9").touch()
    job.run(*ISOLATING, "--no-isolate", "--env", "WHOLE=1").expect(0)
    assert job.out.rows == ["item9"]
    assert job.out.summary["items_quarantined"] == len(names)


@pytest.mark.parametrize(
    ("threshold", "bad", "code"),
    [("0", 0, 0), ("0", 1, 3), ("2", 2, 0), ("2", 3, 3), ("-1", 19, 0), ("10%", 2, 0), ("10%", 3, 3), ("0%", 1, 3)],
)
def test_error_threshold(job: Job, threshold: str, bad: int, code: int) -> None:
    job.script("flaky", STATE=job.write("state/none", "").parent, FAILS=999)
    names = sorted(f"{'flaky' if number < bad else 'item'}{number:03d}" for number in range(20))
    for name in names:
        (job.inputs / name).touch()
    job.run("--mini-batch-size", "5", "--max-retries", "0", "--error-threshold", threshold, "--workers", "1").expect(
        code
    )
    good = [name for name in names if "flaky" not in name]
    if code == 0:
        assert job.out.rows == good
    else:
        assert not (job.out.path / "predictions.csv").exists()
        partial = (job.out.path / "predictions.csv.partial").read_text().splitlines()
        assert set(partial) - {"prediction"} <= set(good)
        assert (job.out.summary["state"], job.out.summary["exit_code"]) == ("failed", 3)
        # Judged anew with a threshold that bears it, the same run goes on to its end.
        job.run("--mini-batch-size", "5", "--error-threshold", "-1", "--workers", "1").expect(0)
        assert job.out.rows == good


@pytest.mark.parametrize("action", ["append_row", "summary_only"])
def test_nothing_succeeded_is_an_error_whatever_the_threshold(job: Job, action: str) -> None:
    job.script("flaky", STATE=job.write("state/none", "").parent, FAILS=999)
    for number in range(4):
        (job.inputs / f"flaky{number}").touch()
    job.run("--max-retries", "0", "--error-threshold", "-1", "--output-action", action).expect(3)
    assert not (job.out.path / "predictions.csv").exists()
    assert job.out.summary["items_failed"] == 4


def test_summary_only_writes_no_predictions(job: Job) -> None:
    job.script()
    job.items(7)
    job.run("--output-action", "summary_only").expect(0)
    assert [path.name for path in job.out.path.iterdir()] == [".batchctl"]
    assert (job.out.summary["items_succeeded"], job.out.summary["output"]) == (7, "")
    job.batchctl("verify", "out").expect(0)
    job.run("--output-action", "summary_only").expect(0)


def test_no_input_at_all(job: Job) -> None:
    job.script()
    job.run().expect(2).names("in")
    assert not (job.out.path / "predictions.csv").exists()


def test_init_that_raises_ends_the_run_at_once_with_its_traceback(job: Job) -> None:
    (job.code / "score.py").write_text(
        "def init():\n    raise FileNotFoundError('weights.bin is not there')\n\n"
        "def run(mini_batch):\n    return mini_batch\n"
    )
    job.items(5)
    ran = job.run("--error-threshold", "-1", "--workers", "2").expect(4)
    ran.names("Traceback", "score.py", "line 2", "FileNotFoundError", "weights.bin is not there")
    assert ran.seconds < 40
    assert job.out.summary["exit_code"] == 4


def test_an_error_at_a_resume_does_not_leave_the_last_end_standing(job: Job) -> None:
    gate, rows = gated(job)
    halt(job, gate, *SMALL).expect(75)
    job.run(*SMALL, env={"GATE": ""}).expect(4).names("KeyError", "score.py")
    told = job.batchctl("status", "out", "--json").expect(0).json
    assert told["verdict"] == "failed"
    assert told["summary"] is None or told["summary"]["exit_code"] == 4, "status tells of an earlier end"
    gate.open()
    job.run(*SMALL).expect(0)
    assert job.out.rows == rows


def test_a_missing_module_is_named_with_the_remedy(job: Job) -> None:
    (job.code / "score.py").write_text("import no_such_module_at_all\n\ndef run(mini_batch):\n    return mini_batch\n")
    job.items(2)
    for ran in (job.run(), job.batchctl("check", "code/score.py")):
        ran.expect(2).names("score.py", "no_such_module_at_all", "--python")


def test_the_interpreter_that_is_asked_for_runs_the_script(job: Job) -> None:
    (job.code / "score.py").write_text(
        "import sys\n\ndef run(mini_batch):\n    return [sys.executable] * len(mini_batch)\n"
    )
    job.items(1)
    other = job.folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
    job.run("--python", "venv").expect(0)
    assert Path(job.out.rows[0]).parent == other / "bin"
    job.run("--python", "no/such/python", out="out2").expect(2).names("no/such/python", "--python")


def test_files_of_the_script_are_published_once(job: Job) -> None:
    names = [f"{'flaky' if number == 4 else 'item'}{number:03d}" for number in range(10)]
    for name in names:
        (job.inputs / name).write_text(f"text of {name}")
    job.script("files", STATE=job.write("state/none", "").parent)
    job.run(*SMALL, "--workers", "2").expect(0)
    published = {path.name: path.read_text() for path in (job.out.path / "texts").iterdir()}
    assert published == {name: f"text of {name}".upper() for name in names}
    assert sorted(job.out.rows) == sorted(names)
    assert job.out.leftovers() == []
    job.batchctl("verify", "out").expect(0)


def test_a_file_written_by_two_mini_batches_names_both(job: Job) -> None:
    (job.code / "score.py").write_text(
        "import os\n\ndef run(mini_batch):\n"
        "    with open(os.path.join(os.environ['AZUREML_BI_OUTPUT_PATH'], 'same.txt'), 'w') as file:\n"
        "        file.write(mini_batch[0])\n    return mini_batch\n"
    )
    job.items(2)
    ran = job.run("--mini-batch-size", "1", "--max-retries", "0", "--workers", "1").expect(0)
    ran.names("same.txt")
    assert job.out.summary["items_failed"] == 1
    assert (job.out.path / "same.txt").read_text() == str(job.inputs / "item000.txt")


def test_quiet_says_nothing(job: Job) -> None:
    job.script()
    job.items(3)
    ran = job.run("-q").expect(0)
    assert (ran.stdout, ran.stderr) == (b"", b"")


def test_quiet_still_tells_what_ended_badly(job: Job) -> None:
    job.script("flaky", STATE=job.write("state/none", "").parent, FAILS=999)
    (job.inputs / "flaky").touch()
    ran = job.run("-q", "--max-retries", "0").expect(3)
    assert ran.stdout == b""
    assert len(ran.stderr.splitlines()) == 1


def test_json_is_the_summary_and_nothing_else_on_standard_output(job: Job) -> None:
    job.script()
    job.items(3)
    ran = job.run("--json").expect(0)
    assert ran.json == job.out.summary


def test_verbose_says_more(job: Job) -> None:
    job.script()
    job.items(3)
    plain, verbose = job.run(out="a").expect(0), job.run("-v", out="b").expect(0)
    assert len(verbose.stderr.splitlines()) > len(plain.stderr.splitlines())
    assert plain.stdout == verbose.stdout == b""


def test_a_terminal_gets_its_live_line_and_back_its_cursor(job: Job) -> None:
    job.script()
    rows = job.items(8)
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "batchctl", "run", "code/score.py", "in", "-o", "out"]
    process = subprocess.Popen(
        argv, cwd=job.folder, env={**os.environ, "TERM": "xterm"}, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    seen = read_all(ours)
    assert process.communicate(timeout=30) == (b"", None)
    assert process.returncode == 0
    assert b"\x1b[K" in seen, "no live line was drawn"
    assert b"\x1b[?25l" not in seen or seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert job.out.rows == rows


def read_all(fd: int) -> bytes:
    pieces = []
    try:
        while piece := os.read(fd, 65536):
            pieces.append(piece)
    except OSError:  # how a terminal says that the other end is closed
        pass
    os.close(fd)
    return b"".join(pieces)


def test_the_gate_is_where_these_tests_think_it_is(job: Job) -> None:
    """Guards the helper: a halted run has done some items and not all."""
    gate, rows = gated(job)
    halt(job, gate, *SMALL).expect(75)
    done = job.out.summary["items_succeeded"]
    assert 0 < done < ITEMS == len(rows)
