"""`batchctl retry`: what was given up on is scored again, into the same output, exactly once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Out, Ran, Started, row, wait_for
from tests.e2e.halting import Gate

FLAGS = ("--mini-batch-size", "10", "--workers", "2", "--max-retries", "0")
BROKEN = (17, 58)
ITEMS = 102


def broken(job: Job, *numbers: int, items: int = ITEMS, text: str = "broken") -> list[str]:
    """A job in which these items cannot be scored; the rows that it gives once they can."""
    job.script("mended", RUNS=job.folder / "runs")
    rows = job.items(items)
    for number in numbers:
        put(job, number, text)
    return rows


def put(job: Job, number: int, text: str = "") -> None:
    """Give an item its good content, or this one."""
    name = f"item{number:03d}.txt"
    (job.inputs / name).write_text(text or f"content of {name}\n")


def runs(job: Job) -> list[str]:
    """(first item, items) of each call of run() since the last time."""
    log = job.folder / "runs"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def contents(out: Out) -> dict[str, bytes]:
    return {name: data for name, (_, data) in out.picture(beside=("lock", "guest.pyz")).items()}


def undisturbed(job: Job, *flags: str) -> bytes:
    """The result of a run that never met a broken file."""
    job.run(*(flags or FLAGS), out="reference").expect(0)
    return Out(job.folder / "reference").predictions


def sound(job: Job, *, rows: int) -> None:
    told = job.batchctl("verify", "out", "--json").expect(0).json
    assert (told["sound"], told["n_rows"]) == (True, rows), told


def test_102_images_of_which_2_are_broken(job: Job) -> None:
    rows = broken(job, *BROKEN)
    job.run(*FLAGS, "--error-threshold", "1", out="strict").expect(3)
    ran = job.run(*FLAGS, "--error-threshold", "2", "--json").expect(0).json
    assert (ran["items_succeeded"], ran["items_quarantined"], ran["rows"]) == (100, 2, 100)
    assert job.out.rows == [line for number, line in enumerate(rows) if number not in BROKEN]
    for number in BROKEN:
        put(job, number)
    runs(job)
    told = job.batchctl("retry", "out", "--json").expect(0).json
    assert sorted(runs(job)) == ["item017.txt 1", "item058.txt 1"]  # two workers: either may be the first
    assert (told["items_succeeded"], told["items_quarantined"], told["rows"], told["epochs"]) == (102, 0, 102, 2)
    assert job.out.rows == rows
    assert job.out.predictions == undisturbed(job)
    sound(job, rows=102)
    assert job.out.summary["items_quarantined"] == 0
    assert not (job.out.run_directory / "quarantine.jsonl").exists()
    job.batchctl("failures", "out").expect(0).names("no failures")
    assert sorted(path.name for path in job.out.path.iterdir()) == [".batchctl", "predictions.csv"]
    assert job.out.leftovers() == []
    before = contents(job.out)
    job.batchctl("retry", "out").expect(0).names("nothing to retry")
    job.run(*FLAGS, "--error-threshold", "2").expect(0).names("complete")
    assert contents(job.out) == before


def test_a_run_that_ended_by_its_threshold_goes_on(job: Job) -> None:
    rows = broken(job, *BROKEN)
    job.run(*FLAGS, "--error-threshold", "1").expect(3).names("batchctl failures")
    assert not (job.out.path / "predictions.csv").exists()
    for number in BROKEN:
        put(job, number)
    job.batchctl("retry", "out").expect(0)
    assert job.out.rows == rows
    assert job.out.predictions == undisturbed(job)
    sound(job, rows=102)


def test_a_retry_that_fails_is_judged_anew_and_may_be_retried(job: Job) -> None:
    rows = broken(job, *BROKEN)
    job.run(*FLAGS, "--error-threshold", "1").expect(3)
    job.batchctl("retry", "out").expect(3)
    put(job, BROKEN[0])
    told = job.batchctl("retry", "out", "--json").expect(0).json
    assert told["items_quarantined"] == 1
    kept = job.out.predictions
    job.batchctl("retry", "out").expect(0)
    assert job.out.predictions == kept
    put(job, BROKEN[1])
    job.batchctl("retry", "out", "--error-threshold", "0").expect(0)
    assert job.out.rows == rows
    sound(job, rows=102)


def committed(job: Job) -> bool:
    """Is one of the two scored again, for good?"""
    lines = job.batchctl("inspect", "out").expect(0).lines
    return any(line["type"] == "COMMIT" and line["epoch"] > 1 for line in lines)


def at_the_gate(job: Job, gate: Gate, started: Started) -> None:
    """In run(), one of the two committed or on its way."""
    gate.wait_reached(started)


def with_a_row(job: Job, gate: Gate, started: Started) -> None:
    """A row of the retry is on disk, and the old result still stands."""
    gate.wait_reached(started)
    wait_for(lambda: committed(job), "a row of the retry")


def reopening(job: Job, gate: Gate, started: Started) -> None:
    """Somewhere between the reopening and the first run()."""
    wait_for((job.out.path / "predictions.csv.partial").exists, "the retry to begin")


def ended(job: Job, gate: Gate, started: Started) -> None:
    """About to finish: the new result is being put into place."""
    gate.wait_reached(started)
    gate.open()
    wait_for(lambda: job.out.state in ("finishing", "finished") or not started.alive(), "the end")


MOMENTS = (reopening, at_the_gate, with_a_row, ended)


@pytest.mark.parametrize(
    ("moment", "again", "number"),
    [
        *((moment, again, signal.SIGKILL) for moment in MOMENTS for again in ("retry", "run")),
        (at_the_gate, "retry", signal.SIGTERM),
        (with_a_row, "run", signal.SIGTERM),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_retry_cut_off_at_any_moment_goes_on(
    job: Job, moment: Callable[[Job, Gate, Started], None], again: str, number: signal.Signals
) -> None:
    broken(job, *BROKEN)
    gate = Gate(job.folder / "gate")
    job.environment["GATE"] = str(job.folder / "gate")
    job.run(*FLAGS).expect(0)
    old = job.out.predictions
    put(job, BROKEN[0])
    put(job, BROKEN[1], "gated, but good\n")
    flags = ("retry", "out", "--workers", "1", "--grace", "1")
    with job.start(*flags) as started:
        moment(job, gate, started)
        if moment is not ended:
            assert job.out.predictions == old
        started.signal(number)
        ran = started.end()
    assert ran.code in ({-signal.SIGKILL, 0} if number == signal.SIGKILL else {75, 0})
    assert job.batchctl("verify", "out", "--json").expect(0).json["sound"]
    gate.open()
    runs(job)
    (job.batchctl(*flags) if again == "retry" else job.run(*FLAGS)).expect(0)
    done = runs(job)
    assert set(done) <= {"item017.txt 1", "item058.txt 1"}
    assert "item017.txt 1" not in done or moment is not with_a_row, "a committed item was scored again"
    if "item058.txt" not in job.out.predictions.decode():  # cut off before the log knew of the retry: `run` was right
        assert moment is reopening and again == "run"
        job.batchctl(*flags).expect(0)
    assert job.out.predictions == undisturbed(job)
    sound(job, rows=102)
    assert job.out.leftovers() == []


def test_what_a_retry_has_given_up_on_itself_waits_for_the_next_one(job: Job) -> None:
    broken(job, *BROKEN)
    gate = Gate(job.folder / "gate")
    job.environment["GATE"] = str(job.folder / "gate")
    job.run(*FLAGS).expect(0)
    put(job, BROKEN[1], "gated, but good\n")
    with job.start("retry", "out", "--workers", "1") as started:
        gate.wait_reached(started)
        wait_for(lambda: job.batchctl("failures", "out", "--json").expect(0).json["quarantined"], "one to be given up")
        started.signal(signal.SIGKILL)
        started.end()
    gate.open()
    runs(job)
    job.batchctl("retry", "out", "--workers", "1").expect(0)
    assert runs(job) == ["item058.txt 1"]
    put(job, BROKEN[0])
    job.batchctl("retry", "out").expect(0)
    assert runs(job) == ["item017.txt 1"]
    assert job.out.predictions == undisturbed(job)


def test_only_one_cause_is_retried_and_others_stay(job: Job) -> None:
    rows = broken(job, *BROKEN, items=60)
    put(job, 33, "other")
    job.run(*FLAGS).expect(0)
    for number in (*BROKEN, 33):
        put(job, number)
    runs(job)
    told = job.batchctl("retry", "out", "--only", "KeyError", "--json").expect(0).json
    assert runs(job) == ["item033.txt 1"]
    assert told["items_quarantined"] == 2
    assert job.out.rows == [line for number, line in enumerate(rows) if number not in BROKEN]
    assert [line["class"] for line in job.batchctl("failures", "out", "--json").expect(0).json["causes"]] == [
        "ValueError"
    ]
    job.batchctl("retry", "out", "--only", "KeyError").expect(0).names("nothing to retry")
    job.batchctl("retry", "out", "--only", "OSError").expect(2).remedied()
    job.batchctl("retry", "out", "--only", "failed").expect(0)
    assert job.out.rows == rows
    sound(job, rows=60)


def test_mini_batches_that_returned_too_little_are_scored_as_a_whole(job: Job) -> None:
    rows = broken(job, 12, 15, items=40, text="short")
    put(job, 33)
    put(job, 25, "broken")
    job.run(*FLAGS).expect(0)
    assert len(job.out.rows) == 37
    for number in (12, 15, 25):
        put(job, number)
    runs(job)
    told = job.batchctl("retry", "out", "--short", "--json").expect(0).json
    assert runs(job) == ["item010.txt 10"]
    assert (told["items_succeeded"], told["items_failed"], told["rows"]) == (39, 1, 39)
    sound(job, rows=39)
    job.batchctl("retry", "out").expect(0)
    assert job.out.rows == rows
    assert job.out.predictions == undisturbed(job)
    job.batchctl("retry", "out", "--short").expect(0).names("nothing to retry")


def test_a_short_mini_batch_whose_files_stand_is_left_as_it_is(job: Job) -> None:
    broken(job, 3, items=20, text="short")
    job.run(*FLAGS, env={"FILES": "1"}).expect(0)
    put(job, 3)
    before = job.out.predictions
    ran = job.batchctl("retry", "out", "--short", env={"FILES": "1"}).expect(0)
    ran.names("1 mini-batch", "not scored again", "nothing to retry")
    assert job.out.predictions == before


@pytest.mark.parametrize("flags", [("--order", "completion"), ("--output-format", "jsonl"), ("--no-isolate",)])
def test_other_shapes_of_the_result(job: Job, flags: tuple[str, ...]) -> None:
    rows = broken(job, *BROKEN)
    job.run(*FLAGS, *flags).expect(0)
    for number in BROKEN:
        put(job, number)
    job.batchctl("retry", "out").expect(0)
    name = "predictions.jsonl" if "jsonl" in flags else "predictions.csv"
    job.run(*FLAGS, *flags, out="reference").expect(0)
    found, reference = ((job.folder / out / name).read_bytes() for out in ("out", "reference"))
    assert sorted(found.splitlines()) == sorted(reference.splitlines())
    assert found == reference or "completion" in flags
    sound(job, rows=len(rows))


def test_summary_only_and_files_of_its_own(job: Job) -> None:
    state = job.folder / "state"
    state.mkdir()
    job.script("files", STATE=state)
    job.items(20)
    (job.inputs / "item007.txt").write_bytes(b"\xff")  # read_text() raises
    job.run(*FLAGS, "--output-action", "summary_only").expect(0)
    texts = job.out.path / "texts"
    assert len(list(texts.iterdir())) == 19
    (job.inputs / "item007.txt").write_text("mended")
    told = job.batchctl("retry", "out", "--json").expect(0).json
    assert (told["items_succeeded"], told["output"]) == (20, "")
    assert (texts / "item007.txt").read_text() == "MENDED"
    assert len(list(texts.iterdir())) == 20
    assert job.batchctl("verify", "out", "--json").expect(0).json["finished"]
    job.batchctl("retry", "out").expect(0).names("nothing to retry")


def test_the_run_must_still_be_the_same_one(job: Job) -> None:
    rows = broken(job, *BROKEN)
    job.run(*FLAGS, "--env", "TOKEN=secret").expect(0)
    for number in BROKEN:
        put(job, number)
    job.batchctl("retry", "out").expect(2).names("--env TOKEN", "batchctl retry OUT")
    job.batchctl("retry", "out", "--env", "TOKEN=another").expect(6).names("TOKEN")
    script = job.code / "score.py"
    script.write_text(script.read_text() + "\n# mended\n")
    job.batchctl("retry", "out", "--env", "TOKEN=secret").expect(6).names("score.py changed")
    assert len(job.out.rows) == 100
    moved = job.out.path.rename(job.folder / "moved")
    job.batchctl("retry", "moved", "--env", "TOKEN=secret", "--accept-changes").expect(0)
    assert Out(moved).rows == rows
    assert b"secret" not in b"".join(data for _, data in Out(moved).picture().values())


def test_retry_is_typed_anywhere_and_needs_a_run(job: Job) -> None:
    rows = broken(job, *BROKEN)
    job.run(*FLAGS).expect(0)
    for number in BROKEN:
        put(job, number)
    job.batchctl("retry", "nowhere").expect(2).remedied()
    assert not Path(job.folder / "nowhere").exists()
    ran: Ran = job.batchctl("retry", "../out", cwd=job.code)
    ran.expect(0)
    assert job.out.rows == rows


def test_an_item_that_is_gone_stays_given_up(job: Job) -> None:
    broken(job, *BROKEN)
    job.run(*FLAGS).expect(0)
    before = job.out.predictions
    for number in BROKEN:
        (job.inputs / f"item{number:03d}.txt").unlink()
    told = job.batchctl("retry", "out", "--json").expect(0).json
    assert told["items_quarantined"] == 2
    assert job.out.predictions == before
    causes = job.batchctl("failures", "out", "--json").expect(0).json["causes"]
    assert {cause["class"] for cause in causes} == {"FileNotFoundError"}
    assert row("item017.txt", b"") not in job.out.rows
