"""init() while the inputs are still being listed, through the real command.

The listing is held up by a file system of ours for as long as the workers have not begun, or until it has been asked
for often enough: a run that waits for the whole listing first is found out by what its init() saw.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from batchctl.errors import ExitCode
from tests.doubles.fuse import CannotMountError, mounted
from tests.e2e.driver import Job, Ran, Started, wait_for

FOLDERS = 100
EACH_S = 0.05  # what listing one of them takes at most
FLAGS = ("--mini-batch-size", "1", "--workers", "2")


class Held:
    """A job whose listing waits until `wanted` workers are in init(), and while it is `stopped`."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.wanted = 2
        self.stopped = False
        self.patience = FOLDERS  # listings that are held up at most
        self.seen: list[int] = []  # how many workers were in init(), or through it, at each listing
        self.opened = threading.Event()
        self.marks, self.at = job.folder / "marks", job.folder / "slow"
        for folder in (self.marks, self.at):
            folder.mkdir()
        job.script("early", MARKS=self.marks, RUN_OUT=job.out.path)
        self.rows = []
        for number in range(FOLDERS):
            self.rows += job.items(1, stem=f"item{number:03d}-", below=f"{number:03d}")
            (job.inputs / f"{number:03d}" / "slow").symlink_to(self.at)
        self.rows = [f"item{number:03d}-000.txt" for number in range(FOLDERS)]

    def hold(self) -> None:
        """Called by the file system, for each listing."""
        self.seen.append(len(self.inits))
        if self.seen[-1] < self.wanted and self.patience:
            self.patience -= 1
            self.opened.wait(EACH_S)
        elif self.stopped:
            self.opened.wait()

    @property
    def inits(self) -> list[str]:
        """Of each init() so far, in order: early, or late (the plan was there)."""
        path = self.marks / "inits"
        return [line.split()[1] for line in path.read_text().splitlines()] if path.exists() else []

    def wait_inits(self, started: Started) -> None:
        wait_for(lambda: len(self.inits) >= self.wanted or not started.alive(), "the workers to begin")
        assert started.alive(), f"over before its workers began:\n{started.end()}"

    def nothing_left(self) -> None:
        """No run came to be, and nothing tells of one."""
        assert not self.job.out.path.exists()


@pytest.fixture
def held(job: Job) -> Iterator[Held]:
    made = Held(job)
    try:
        with mounted(made.at, kind="fuse.held", source="held", hold=made.hold):
            try:
                yield made
            finally:
                made.opened.set()
    except CannotMountError as why:
        pytest.skip(f"not run: {why}")


def test_workers_begin_while_the_inputs_are_listed(held: Held) -> None:
    held.job.run(*FLAGS).expect(0)
    assert held.inits == ["early", "early"]  # and nobody began twice
    assert held.job.out.rows == held.rows
    assert held.job.out.leftovers() == []
    assert held.job.out.summary["workers"] == 2
    again = held.job.run(*FLAGS).expect(0)
    again.names("complete")
    assert len(held.inits) == 2


def test_no_more_workers_than_mini_batches(held: Held) -> None:
    held.wanted = 1
    held.job.run("--mini-batch-size", "1000", "--workers", "2").expect(0)
    assert held.inits == ["early"]
    assert held.job.out.rows == held.rows


def test_a_worker_begun_for_what_was_named_twice_goes_again(held: Held) -> None:
    held.wanted = 1  # the second one is begun when the last folder is met, and is one too many in the end
    size = str(FOLDERS)
    held.job.batchctl(
        "run", "code/score.py", "in/000", "in", "-o", "out", "--mini-batch-size", size, *FLAGS[2:]
    ).expect(0)
    assert held.inits in (["early"], ["early", "early"], ["early", "late"])
    assert held.job.out.rows == held.rows
    assert held.job.out.summary["workers"] == 1


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--own-files", "direct"), "the script would write into OUT before there is a run"),
        (("--fresh",), "the run that lies there goes first"),
    ],
)
def test_workers_wait_for_the_plan(held: Held, flags: tuple[str, ...], why: str) -> None:
    held.wanted = 0
    if "--fresh" in flags:
        held.job.run(*FLAGS).expect(0)
        (held.marks / "inits").unlink()
    held.wanted, held.patience = 2, 25
    held.seen.clear()
    held.job.run(*FLAGS, *flags).expect(0)
    assert len(held.seen) >= FOLDERS
    assert set(held.seen) == {0}, why
    assert held.inits == ["late", "late"]
    assert held.job.out.rows == held.rows


def test_a_listing_that_fails_leaves_nothing_of_workers_that_have_begun(held: Held) -> None:
    ran = held.job.batchctl("run", "code/score.py", "in", "missing", "-o", "out", *FLAGS)
    ran.expect(ExitCode.USAGE).names("missing")
    held.nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_workers_begin(held: Held, number: int) -> None:
    held.stopped = True
    held.job.environment["EARLY_INIT"] = "wait"
    with held.job.start("run", "code/score.py", "in", "-o", "out", *FLAGS) as started:
        held.wait_inits(started)
        started.signal(number)
        held.opened.set()
        ran = started.end()
    assert ran.code in (ExitCode.INTERRUPTED, ExitCode.STOPPED), str(ran)
    held.nothing_left()


@pytest.mark.parametrize("state", [(), ("--state-dir", "state")])
def test_killed_while_workers_begin(held: Held, state: tuple[str, ...]) -> None:
    held.stopped = True
    held.job.environment["EARLY_INIT"] = "wait"
    with held.job.start("run", "code/score.py", "in", "-o", "out", *FLAGS, *state) as started:
        held.wait_inits(started)
        started.kill()
        held.opened.set()
    assert list((held.job.out.home / "stage").iterdir())  # what the next run is to clear away
    (held.marks / "open").touch()
    held.job.run(*FLAGS, *state).expect(0)
    assert held.job.out.rows == held.rows
    assert held.job.out.leftovers() == []


def test_an_init_that_raises(held: Held) -> None:
    held.job.environment["EARLY_INIT"] = "raise"
    ran: Ran = held.job.run(*FLAGS)
    ran.expect(ExitCode.INIT_FAILED).names("no such model")
    assert held.inits[:2] == ["early", "early"]


def test_an_init_that_dies(held: Held) -> None:
    held.job.environment["EARLY_INIT"] = "die"
    held.job.run(*FLAGS).expect(ExitCode.INIT_FAILED).names("in init()", "SIGKILL")
    assert held.inits == ["early", "early"]


def test_workers_that_print_more_than_a_pipe_holds(held: Held) -> None:
    held.job.environment["EARLY_INIT"] = "chatter"
    held.job.run(*FLAGS, "--init-timeout", "20").expect(0)
    assert held.job.out.rows == held.rows
    logs = list((held.job.out.run_directory / "logs").glob("worker-*.log"))
    assert [log.stat().st_size for log in logs] == [300_001, 300_001]


def test_a_script_that_cannot_run_is_told_before_all_is_listed(held: Held) -> None:
    held.wanted = FOLDERS + 1  # nobody will
    (held.job.code / "score.py").write_text("def run(mini_batch)\n    return mini_batch\n")
    held.job.run(*FLAGS).expect(ExitCode.USAGE).names("score.py:1")
    assert len(held.seen) < FOLDERS
    held.nothing_left()


def test_partitions(held: Held) -> None:
    spec = 'script = "code/score.py"\ninput = ["in"]\npartition_keys = ["n"]\npartition_format = "{n}/*"\nworkers = 2\n'
    held.job.write("spec.toml", spec)
    held.wanted = 1  # what small listings hold is known when all of it is listed: one mini-batch is certain
    held.job.batchctl("run", "spec.toml", "-o", "out").expect(0)
    assert held.inits in (["early"], ["early", "late"])  # the first one may be done before the second is there
    assert held.job.out.rows == held.rows
