"""Acceptance 4: a script that dies in every way costs its own item and nothing else.

40 items, one of them guilty, mini-batches of 5, two attempts, two workers. The guilty item's mini-batch is charged
twice as a whole and once for each part of it that holds the guilty item: four attempts in all.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.e2e.driver import Job, Out, Ran, carriers, wait_for

ITEMS, GUILTY, TIMEOUT_S = 40, 17, 0.5
CHARGED = [(15, 5), (15, 5), (15, 3), (17, 1)]


@dataclass(frozen=True)
class Death:
    """A way to die and how its attempts count; "" where nothing is charged."""

    name: str
    counted: str
    names: tuple[str, ...] = ()


DEATHS = [
    Death("exits", "lost", ("code 1",)),
    Death("exits_zero", "lost", ("code 0",)),
    Death("kills_itself", "lost", ("SIGKILL",)),
    Death("aborts", "lost", ("SIGABRT",)),
    Death("segfaults", "lost", ("SIGSEGV",)),
    Death("leaves_child", "lost", ("code 1",)),
    Death("leaves_daemon", "lost", ("code 1",)),
    Death("stops", "timed_out", ("timeout",)),
    Death("sleeps", "timed_out", ("timeout",)),
    Death("spins_in_re", "timed_out", ("timeout",)),
    Death("holds_gil", "timed_out", ("timeout",)),
    Death("holds_gil_deaf", "timed_out", ("timeout",)),
    Death("raises_system_exit", "failed", ("SystemExit", "enough")),
    Death("raises_interrupt", "failed", ("KeyboardInterrupt",)),
    Death("raises_huge", "failed", ("ValueError",)),
    Death("raises_bytes", "failed", ("ValueError", "caf")),
    Death("raises_mute", "failed", ("MuteError",)),
    Death("recurses", "failed", ("RecursionError",)),
    Death("runs_out_of_memory", "failed", ("MemoryError",)),
    Death("returns_with_daemon", ""),
    Death("returns_twice", ""),
    Death("floods", ""),
    Death("closes", ""),
    Death("exits_in_thread", ""),
    # print() on a closed standard output raises in the user's own code: bad file descriptor.
    Death("closes_and_prints", "failed", ("OSError",)),
]


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
def test_a_death_costs_the_guilty_item_alone(job: Job, death: Death) -> None:
    names = guilty_job(job, death)
    timeout = TIMEOUT_S if death.counted == "timed_out" else 30
    ran = job.run(
        *("--mini-batch-size", "5", "--max-retries", "1", "--workers", "2", "--error-threshold", "-1"),
        *("--timeout", str(timeout)),
    ).expect(0)
    rows_are_complete(job.out, names, lost=bool(death.counted))
    attempts_are_counted(job.out, death, timeout)
    others_are_undisturbed(job.out, died=death.counted in ("lost", "timed_out"))
    nothing_stays_behind(job.out)
    if death.counted:
        ran.names(*death.names, names[GUILTY])
        assert max(map(len, ran.stderr.splitlines())) < 2000, "a message of the script's floods the terminal"


def guilty_job(job: Job, death: Death) -> list[str]:
    job.script("deaths", DEATH=death.name)
    names = [f"item{number:03d}{'-guilty' if number == GUILTY else ''}" for number in range(ITEMS)]
    for name in names:
        (job.inputs / name).touch()
    return names


def rows_are_complete(out: Out, names: list[str], *, lost: bool) -> None:
    expected = [name for name in names if not (lost and "guilty" in name)]
    assert out.rows == expected
    summary = out.summary
    counts = {key: summary[key] for key in ("items", "items_succeeded", "items_failed", "items_quarantined", "rows")}
    assert counts == {
        "items": ITEMS,
        "items_succeeded": len(expected),
        "items_failed": ITEMS - len(expected),
        "items_quarantined": ITEMS - len(expected),
        "rows": len(expected),
    }
    if lost:
        (cause,) = summary["causes"]
        assert (cause["items"], cause["attempts"]) == (1, len(CHARGED))
        assert cause["example_path"].endswith(names[GUILTY])


def attempts_are_counted(out: Out, death: Death, timeout: float) -> None:
    charged = [(death.counted, *part) for part in CHARGED] if death.counted else []
    assert out.charged() == charged
    summary = out.summary
    assert {kind: summary[f"attempts_{kind}"] for kind in ("failed", "lost", "timed_out")} == {
        kind: len(charged) if kind == death.counted else 0 for kind in ("failed", "lost", "timed_out")
    }
    for attempt in out.attempts:
        if attempt["Status"] == "timed_out":
            # Found out soon: two seconds after the deadline where the machine has nothing else to do.
            assert timeout <= float(attempt["Run Method Seconds"]) <= timeout + 10


def others_are_undisturbed(out: Out, *, died: bool) -> None:
    """A slot gets a new worker only after its old one died in an attempt; one that raised lives on. With deaths one
    attempt may be in vain: begun while it was being taken back for another worker, it counts for nothing."""
    last: dict[str, dict[str, str]] = {}
    in_vain = 0
    for attempt in out.attempts:
        slot = attempt["Process"].partition(".")[0]
        before = last.get(slot)
        if before is not None and before["Process"] != attempt["Process"]:
            in_vain += before["Status"] not in ("lost", "timed_out")
            assert in_vain <= died, f"{before} was replaced for no reason"
        last[slot] = attempt
    if not died:
        whole = [a for a in out.attempts if a["Status"] == "scored" and a["Total"] == "5"]
        assert {a["Picked Count"] for a in whole} == {"1"}, "a mini-batch without a guilty item was run again"


def nothing_stays_behind(out: Out) -> None:
    run_id = out.summary["run_id"]
    wait_for(lambda: not carriers("BATCHCTL_RUN_ID", run_id), "every process of the run to be gone")
    assert out.leftovers() == []


@pytest.mark.parametrize("death", ["returns_late", "returns_late_deaf"])
def test_an_attempt_that_is_late_is_not_charged_to_those_behind_it(job: Job, death: str) -> None:
    """The worker comes back shortly after its deadline and goes on to the next lease before it is killed."""
    job.script("deaths", DEATH=death, PAUSE_S="0.2")
    names = [f"item{number:03d}" for number in range(12)]
    names[3] += "-guilty"
    for name in names:
        (job.inputs / name).touch()
    flags = ("--mini-batch-size", "1", "--max-retries", "0", "--workers", "1", "--timeout", "2")
    job.run(*flags).expect(0)
    assert {first for _, first, _ in job.out.charged()} <= {3}, "an innocent was charged"
    assert [name for name in job.out.rows if "guilty" not in name] == [n for n in names if "guilty" not in n]


def test_what_a_flood_leaves_in_the_logs_is_bounded(job: Job) -> None:
    job.script("deaths", DEATH="floods")
    (job.inputs / "guilty").touch()
    job.run("--workers", "1").expect(0)
    assert sum(path.stat().st_size for path in (job.out.run_directory / "logs").iterdir()) <= 17 << 20


def test_a_worker_that_dies_in_init_after_others_were_ready_does_not_end_the_run(job: Job) -> None:
    """init() that works once and never again: the slots close one by one, and the last one closed is exit 4."""
    (job.code / "score.py").write_text(INIT_ONCE)
    for number in range(6):
        (job.inputs / f"item{number}").touch()
    state = job.write("state/none", "").parent
    flags = ("--workers", "1", "--mini-batch-size", "1", "--max-retries", "0")
    ran: Ran = job.run(*flags, env={"STATE": str(state)}).expect(4)
    ran.names("init()", "score.py", "ConnectionError")
    # What was done before stays done, and the mended script's environment resumes it.
    (state / "ready").unlink()
    (state / "mended").touch()
    job.run(*flags, env={"STATE": str(state)}).expect(0)
    assert job.out.rows == [f"item{number}" for number in range(6) if number != 3]


EVERY_SECOND = """
import os

class Row:
    def __init__(self, name):
        self.name = name
    def __str__(self):
        return end(self.name, "render")

def end(name, where):
    number = int(name[4:7])
    if 50 <= number < 66 and number % 2 and where == os.environ["WHERE"]:
        os._exit(7)
    return name

def run(mini_batch):
    return [Row(end(os.path.basename(path), "run")) for path in mini_batch]
"""


@pytest.mark.parametrize("where", ["run", "render"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_those_that_wait_behind_many_deaths_are_not_charged_for_them(job: Job, workers: str, where: str) -> None:
    """Quick runs let a worker hold many leases: what is last in its hands sees all of the others die."""
    job.write("code/score.py", EVERY_SECOND)
    job.items(100)
    flags = ("--mini-batch-size", "1", "--workers", workers, "--max-retries", "0")
    job.run(*flags, env={"WHERE": where}).expect(0)
    assert sorted(job.out.charged()) == [("lost", number, 1) for number in range(51, 66, 2)]
    assert len(job.out.rows) == 92


LATER = """
import os
import threading

def run(mini_batch):
    if "item050" in mini_batch[0]:
        threading.Timer(0.0005, os._exit, (7,)).start()
    return [os.path.basename(path) for path in mini_batch]
"""


@pytest.mark.parametrize("retries", ["0", "3"])
def test_a_death_that_comes_later_costs_a_few_that_are_in_run_by_then_and_no_more(job: Job, retries: str) -> None:
    job.write("code/score.py", LATER)
    job.items(400)
    job.run("--mini-batch-size", "1", "--workers", "2", "--max-retries", retries).expect(0)
    charged = job.out.charged()
    assert len(charged) <= 3, charged
    lost = 0 if retries == "3" else len(charged)
    assert len(job.out.rows) == 400 - lost


INIT_ONCE = """
import os
STATE = os.environ["STATE"]

def init():
    if os.path.exists(os.path.join(STATE, "mended")):
        return
    ready = os.path.join(STATE, "ready")
    if os.path.exists(ready):
        raise ConnectionError("the model cannot be had any more")
    open(ready, "w").close()

def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch]
    if "item3" in names:
        os._exit(1)
    return names
"""
