"""packaging/cron/batchctl-cron with real runs, as cron calls it: no environment, and silence unless it matters."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.driver import MARK, REPO, Job, PidFd, carriers, wait_for
from tests.e2e.halting import gated

WRAPPER = REPO / "packaging" / "cron" / "batchctl-cron"

if shutil.which("flock") is None:
    pytest.skip("flock is not installed", allow_module_level=True)


class Cron:
    """Calls the wrapper as cron would; `name` is the job's."""

    def __init__(self, job: Job, name: str = "nightly") -> None:
        self.job, self.name = job, name
        self.folder = job.folder / "cron logs"
        self.mark = f"cron-{os.getpid()}-{job.folder.parent.name}"

    @property
    def logs(self) -> list[Path]:
        return sorted((self.folder / self.name).glob("log.*"))

    def argv(self, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        return ["/bin/sh", str(WRAPPER), *options, self.name, "--", *command]

    def start(self, *command: str, options: tuple[str, ...] = (), **env: str) -> subprocess.Popen[bytes]:
        environment = {"BATCHCTL_CRON_DIR": str(self.folder), MARK: self.mark, **self.job.environment, **env}
        return subprocess.Popen(
            self.argv(*command, options=options),
            cwd=self.job.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def tick(self, *command: str, options: tuple[str, ...] = (), **env: str) -> tuple[int, str]:
        """(exit code, what would be mailed)."""
        process = self.start(*command, options=options, **env)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said.decode()

    def exits(self, code: int, **given: tuple[str, ...]) -> tuple[int, str]:
        """A tick with a command that prints a line and ends like that."""
        return self.tick("/bin/sh", "-c", f"echo line of {code}; exit {code}", **given)


BATCHCTL = (sys.executable, "-m", "batchctl", "run", "code/score.py", "in", "-o", "out", "--workers", "1")


@pytest.fixture
def cron(job: Job) -> Cron:
    return Cron(job)


def test_a_run_that_works_says_nothing_and_a_second_finds_it_complete(job: Job, cron: Cron) -> None:
    rows = job.items(6)
    job.script()
    assert cron.tick(*BATCHCTL) == (0, "")
    assert job.out.rows == rows
    assert cron.tick(*BATCHCTL) == (0, "")
    assert "complete" in cron.logs[-1].read_text()
    assert [log.stat().st_mode & 0o777 for log in cron.logs] == [0o600, 0o600]


def test_a_failure_is_mailed_with_code_log_and_last_lines(job: Job, cron: Cron) -> None:
    job.items(3)
    job.write("code/score.py", "def init(): raise ValueError('no weights')\ndef run(mini_batch): return mini_batch\n")
    code, mail = cron.tick(*BATCHCTL)
    assert code == 4
    assert "nightly: exit code 4" in mail
    assert f"log: {cron.logs[0]}" in mail
    assert "no weights" in mail


def test_two_do_not_overlap(job: Job, cron: Cron) -> None:
    gate, rows = gated(job)
    first = cron.start(*BATCHCTL)
    try:
        wait_for(lambda: (job.folder / "gate" / "reached").exists(), "the first to be under way")
        assert cron.tick(*BATCHCTL) == (0, "")
        assert len(cron.logs) == 1, "the second never started its command"
        gate.open()
        assert first.communicate(timeout=60) == (b"", None)
    finally:
        first.kill()
    assert first.returncode == 0
    assert job.out.rows == rows


def test_a_stop_is_passed_on_and_the_next_tick_goes_on(job: Job, cron: Cron) -> None:
    gate, rows = gated(job)
    first = cron.start(*BATCHCTL)
    try:
        wait_for(lambda: (job.folder / "gate" / "reached").exists(), "the run to be under way")
        first.send_signal(signal.SIGTERM)
        wait_for(lambda: job.out.state == "draining", "the run to drain")
        gate.open()
        assert first.communicate(timeout=60) == (b"", None), "75 is no news"
    finally:
        first.kill()
    assert first.returncode == 0
    assert len(job.out.rows if (job.out.path / "predictions.csv").exists() else []) == 0
    assert cron.tick(*BATCHCTL) == (0, "")
    assert job.out.rows == rows


def test_a_stray_of_the_job_does_not_hold_the_lock(cron: Cron) -> None:
    stray = (
        "import os,time\nif os.fork() == 0:\n    os.setsid(); open('pid','w').write(str(os.getpid())); time.sleep(60)\n"
    )
    process = cron.start(sys.executable, "-c", stray)
    try:
        assert process.wait(timeout=30) == 0
        assert cron.exits(0) == (0, "")
        assert len(cron.logs) == 2, "the second did its work"
    finally:
        for pid in carriers(MARK, cron.mark):
            with contextlib.suppress(ProcessLookupError), contextlib.closing(PidFd(pid)) as watched:
                os.kill(pid, signal.SIGKILL)
                watched.wait(20.0)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("code", [75, 8])
def test_what_goes_on_by_itself_is_told_when_it_lasts(cron: Cron, code: int) -> None:
    patient = {"options": ("--patience", "3")}
    told = [bool(cron.exits(code, **patient)[1]) for _ in range(7)]
    assert told == [False, False, True, False, False, True, False]
    assert cron.exits(0, **patient) == (0, "")
    assert [bool(cron.exits(code, **patient)[1]) for _ in range(3)] == [False, False, True], "counted from anew"


def test_logs_are_rotated_and_nothing_else_goes(cron: Cron) -> None:
    for _ in range(5):
        cron.exits(0, options=("--keep", "3"))
    (cron.folder / cron.name / "log.mine").write_text("kept")
    before = [log.name for log in cron.logs if log.name != "log.mine"]
    assert len(before) == 3
    code, mail = cron.exits(5, options=("--keep", "3"))
    after = [log.name for log in cron.logs if log.name != "log.mine"]
    assert (code, len(after)) == (5, 3)
    assert set(after) - set(before), "the newest stays, the oldest goes"
    assert "line of 5" in mail
    assert (cron.folder / cron.name / "log.mine").exists()


@pytest.mark.parametrize("name", ["a name with spaces", "größe", "%d$HOME`x`'\""])
def test_names_are_taken_as_they_are(job: Job, name: str) -> None:
    cron = Cron(job, name)
    code, mail = cron.exits(3)
    assert (code, len(cron.logs)) == (3, 1)
    assert f"batchctl-cron: {name}: exit code 3" in mail


def test_arguments_arrive_as_they_were_given(cron: Cron) -> None:
    given = ["a b", "", "$HOME", "*", "'\"", "-x", "--"]
    cron.tick(sys.executable, "-c", "import sys; print(sys.argv[1:])", *given)
    assert cron.logs[0].read_text() == f"{given}\n"


def test_no_environment_at_all(job: Job) -> None:
    """`env -i`: no PATH, no HOME. As root there is a place for logs; anybody else is told what to set."""
    env = shutil.which("env") or "/usr/bin/env"
    folder = job.folder / "logs"
    ran = subprocess.run(
        [env, "-i", f"BATCHCTL_CRON_DIR={folder}", "/bin/sh", str(WRAPPER), "n", "--", "sh", "-c", "echo $PATH; false"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "/usr/local/bin" in ran.stdout


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param((), id="nothing"),
        pytest.param(("n",), id="no command"),
        pytest.param(("n", "true"), id="no dashes"),
        pytest.param(("../n", "--", "true"), id="a path for a name"),
        pytest.param((".n", "--", "true"), id="hidden"),
        pytest.param(("", "--", "true"), id="no name"),
        pytest.param(("--keep", "0", "n", "--", "true"), id="keep none"),
        pytest.param(("--keep", "08", "n", "--", "true"), id="keep octal"),
        pytest.param(("--keep", "x", "n", "--", "true"), id="keep words"),
        pytest.param(("--what", "n", "--", "true"), id="unknown option"),
    ],
)
def test_wrong_usage_is_said(job: Job, argv: tuple[str, ...]) -> None:
    ran = subprocess.run(
        ["/bin/sh", str(WRAPPER), *argv],
        capture_output=True, text=True, timeout=60, check=False, env={"BATCHCTL_CRON_DIR": str(job.folder / "logs")},
    )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr.startswith("batchctl-cron: ")
    assert not (job.folder / "logs").exists()


def test_a_command_that_is_missing_is_said(cron: Cron) -> None:
    code, mail = cron.tick("no-such-command-anywhere")
    assert code == 127
    assert "no-such-command-anywhere" in mail


def test_its_own_log_stays_whatever_the_others_are_called(cron: Cron) -> None:
    """Of one second the process numbers decide, and those begin anew; a clock may have been ahead too."""
    cron.exits(0)
    for number in range(3):
        (cron.folder / cron.name / f"log.29991231T235959Z.{number:07d}").touch()
    before = {log.name for log in cron.logs}
    code, mail = cron.exits(5, options=("--keep", "2"))
    (own,) = {log.name for log in cron.logs} - before
    assert (code, len(cron.logs), "line of 5" in mail) == (5, 2, True), own


def test_lower_priority(cron: Cron) -> None:
    cron.tick(sys.executable, "-c", "import os; print(os.nice(0))", options=("--nice", "7"))
    assert cron.logs[0].read_text() == f"{min(19, os.nice(0) + 7)}\n"


def test_the_wrapper_is_clean() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    ran = subprocess.run(["shellcheck", "-s", "sh", WRAPPER], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")
