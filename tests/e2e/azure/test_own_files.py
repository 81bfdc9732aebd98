"""Files that the script writes itself: appended to by many mini-batches, the last one's, of init() and shutdown(),
written straight into OUT."""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e.driver import Job, Out, wait_for
from tests.e2e.halting import GATE_AT, ITEMS, Gate, halt

FOUR = ("--mini-batch-size", "4")
APPEND = (*FOUR, "--on-collision", "append")
DEPLOYMENT = "name: d\ncode_configuration: {code: code, scoring_script: score.py}\n"
BAD, FLAKY = ("item013.txt", "item026.txt"), ("item010.txt", "item030.txt")


def jsonl(job: Job) -> tuple[Gate, list[str]]:
    """A job that appends to one file, halts midway, retries and isolates; and the lines that the file must hold."""
    gate = Gate(job.folder / "gate")
    job.write("deployment.yml", DEPLOYMENT)
    job.script("jsonl", GATE=job.folder / "gate", GATE_AT=GATE_AT, BAD=" ".join(BAD), FLAKY=" ".join(FLAKY))
    job.items(ITEMS)
    names = [f"item{number:03d}.txt" for number in range(ITEMS)]
    return gate, [json.dumps({"item": name, "of": len(name)}) for name in names if name not in BAD]


def lines(out: Out) -> list[str]:
    return (out.path / "results.jsonl").read_text().splitlines()


def types(job: Job) -> list[str]:
    return [record["type"] for record in job.batchctl("inspect", "out").expect(0).lines]


def crash_with_pieces(job: Job, gate: Gate) -> None:
    """Kill the coordinator at the gate, when the first mini-batch is committed, its files in parts/."""
    with job.start("run", "code/score.py", "in", "-o", "out", *APPEND, "--workers", "1") as started:
        gate.wait_reached(started)
        wait_for(lambda: "COMMIT" in types(job), "a commit")
        started.signal(signal.SIGKILL)
        started.end()
    gate.shut()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
@pytest.mark.parametrize("workers", ["1", "3"])
def test_one_file_appended_to_holds_each_line_once_in_plan_order(job: Job, workers: str, number: int) -> None:
    gate, wanted = jsonl(job)
    halt(job, gate, *APPEND, "--workers", workers, number=number, spec="deployment.yml")
    assert not (job.out.path / "results.jsonl").exists(), "it appeared before the end"
    gate.open()
    job.batchctl("run", "deployment.yml", "in", "-o", "out", *APPEND, "--workers", workers).expect(0)
    assert lines(job.out) == wanted
    job.batchctl("run", "deployment.yml", "in", "-o", "undisturbed", *APPEND, "--workers", "2").expect(0)
    undisturbed = Out(job.folder / "undisturbed").path
    assert (job.out.path / "results.jsonl").read_bytes() == (undisturbed / "results.jsonl").read_bytes()
    assert job.out.summary["items_failed"] == len(BAD)
    assert job.out.leftovers() == []
    assert not (job.out.run_directory / "parts").exists()
    job.batchctl("verify", "out").expect(0)
    found = types(job)
    assert found[-2:] == ["ASSEMBLED", "DONE"]
    assert "PART" in found
    assert "PUBLISH" not in found


def test_the_last_one_in_plan_order_wins(job: Job) -> None:
    gate, wanted = jsonl(job)
    flags = (*FOUR, "--on-collision", "last", "--workers", "3")
    halt(job, gate, *flags, number=signal.SIGKILL)
    gate.open()
    job.run(*flags).expect(0)
    assert (job.out.path / "latest.txt").read_text() == "item036.txt item037.txt item038.txt item039.txt"
    assert lines(job.out) == wanted[-4:]
    job.batchctl("verify", "out").expect(0)


def test_a_collision_is_named_and_so_is_the_way_out(job: Job) -> None:
    gate, _ = jsonl(job)
    gate.open()
    job.run(*FOUR, "--workers", "1", "--max-retries", "0").expect(0).names(
        "'latest.txt' was written by mini-batch ", "and by mini-batch 0 (items 0 to 3)", "on_collision = append"
    )


def test_summary_only_seals_the_appended_file_too(job: Job) -> None:
    gate, wanted = jsonl(job)
    gate.open()
    flags = (*APPEND, "--output-action", "summary_only")
    job.run(*flags).expect(0)
    assert sorted(path.name for path in job.out.path.iterdir()) == [".batchctl", "latest.txt", "results.jsonl"]
    assert lines(job.out) == wanted
    job.run(*flags).expect(0).names("complete")
    (job.out.path / "results.jsonl").write_text("\n".join(wanted[1:]) + "\n")
    job.batchctl("verify", "out").expect(7).names("results.jsonl", "not what was published")
    (job.out.path / "results.jsonl").unlink()
    job.batchctl("verify", "out").expect(7).names("results.jsonl", "gone")


def test_a_damaged_piece_is_never_assembled(job: Job) -> None:
    gate, _ = jsonl(job)
    crash_with_pieces(job, gate)
    piece = job.out.run_directory / "parts" / "0.0" / "results.jsonl"
    data = bytearray(piece.read_bytes())
    data[3] ^= 1
    piece.write_bytes(bytes(data))
    job.batchctl("verify", "out").expect(7).names("0.0/results.jsonl")
    gate.open()
    job.run(*APPEND).expect(7).names("results.jsonl")
    assert not (job.out.path / "results.jsonl").exists()
    assert not (job.out.path / "predictions.csv").exists()


def test_a_name_that_somebody_took_meanwhile_is_not_replaced(job: Job) -> None:
    gate, wanted = jsonl(job)
    crash_with_pieces(job, gate)
    gate.open()
    (job.out.path / "latest.txt").write_text("somebody else's")
    # Mini-batches still to come are refused by name; those that came before cannot be assembled.
    job.run(*APPEND, "--max-retries", "0").expect(74).names("latest.txt", "move it away")
    assert (job.out.path / "latest.txt").read_text() == "somebody else's"
    (job.out.path / "latest.txt").rename(job.folder / "mine")
    job.run(*APPEND, "--max-retries", "0").expect(0)
    assert set(lines(job.out)) < set(wanted)
    job.batchctl("verify", "out").expect(0)


def test_another_rule_is_another_run_and_fresh_deletes_what_was_assembled(job: Job) -> None:
    gate, wanted = jsonl(job)
    gate.open()
    job.run(*APPEND).expect(0)
    job.run(*FOUR).expect(6).names("on_collision append -> fail")
    job.run(*FOUR, "--accept-changes").expect(6)
    (job.out.path / "mine.txt").write_text("somebody else's")
    job.run("--mini-batch-size", "100", "--on-collision", "append", "--fresh").expect(0)
    assert lines(job.out) == wanted
    assert (job.out.path / "mine.txt").read_text() == "somebody else's"


EDGES = """
import os
OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]
def init(): open(os.path.join(OUT, "of_init.txt"), "w").write("labels")
def run(mini_batch):
    assert open(os.path.join(OUT, "of_init.txt")).read() == "labels"
    for path in mini_batch: open(os.path.join(OUT, os.path.basename(path) + ".out"), "w").close()
    return mini_batch
def shutdown(): open(os.path.join(OUT, "of_shutdown.txt"), "w").write("metrics")
"""


@pytest.mark.parametrize("rule", ["fail", "append", "last"])
def test_files_of_init_and_shutdown_are_named_and_not_published(job: Job, rule: str) -> None:
    job.write("code/score.py", EDGES)
    job.items(6)
    ran = job.run("--mini-batch-size", "2", "--workers", "2", "--on-collision", rule).expect(0)
    names = sorted(path.name for path in job.out.path.iterdir())
    assert names == [".batchctl", *(f"item{n:03d}.txt.out" for n in range(6)), "predictions.csv"]
    ran.names("files of init() are not published", "files of shutdown() are not published")
    notes = " ".join(job.out.summary["notes"])
    assert "'of_init.txt'" in notes
    assert "'of_shutdown.txt'" in notes


BUFFERED = """
import os
def init():
    global log
    log = open(os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], "log.txt"), "w")
def run(mini_batch):
    for path in mini_batch: log.write(os.path.basename(path) + "\\n")
    return mini_batch
"""


def test_lines_that_the_script_never_flushes_are_there_in_plan_order(job: Job) -> None:
    job.write("code/score.py", BUFFERED)
    job.items(30)
    job.run("--mini-batch-size", "3", "--workers", "2", "--on-collision", "append").expect(0)
    text = (job.out.path / "log.txt").read_text()
    assert text == "".join(f"item{number:03d}.txt\n" for number in range(30))


DIRECT = """
import os
OUT = os.environ["AZUREML_BI_OUTPUT_PATH"]
def run(mini_batch):
    seen = sorted(name for name in os.listdir(OUT) if name.endswith(".done"))
    name = os.path.basename(mini_batch[0])
    with open(os.path.join(OUT, "log.txt"), "a") as log: log.write(name + "\\n")
    if name.startswith("item003") and not os.path.exists(os.path.join(OUT, "once")):
        open(os.path.join(OUT, "once"), "w").close()
        raise ValueError("once")
    open(os.path.join(OUT, name + ".done"), "w").close()
    return [len(seen)]
"""


def test_direct_files_are_seen_by_later_mini_batches_and_written_at_least_once(job: Job) -> None:
    job.write("code/score.py", DIRECT)
    job.items(6)
    job.run("--mini-batch-size", "1", "--workers", "1", "--own-files", "direct").expect(0)
    assert sorted(job.out.rows) == ["0", "1", "2", "3", "4", "5"]
    written = (job.out.path / "log.txt").read_text().split()
    assert sorted(set(written)) == [f"item{number:03d}.txt" for number in range(6)]
    assert written.count("item003.txt") == 2
    assert job.out.leftovers() == []
    job.batchctl("verify", "out").expect(0)


def test_a_direct_file_in_the_results_place_stops_the_run_and_is_kept(job: Job) -> None:
    text = "import os\ndef run(b):\n    p = os.path.join(os.environ['AZUREML_BI_OUTPUT_PATH'], 'predictions.csv')\n"
    job.write(
        "code/score.py",
        text
        + "    if not os.path.exists('%s'): open(p, 'w').write('mine')\n" % (job.folder / "mine")
        + "    return b\n",
    )
    job.items(4)
    flags = ("--own-files", "direct")
    job.run(*flags).expect(74).names("predictions.csv", "move it away")
    job.run(*flags).expect(2).names("predictions.csv", "move it away")
    assert (job.out.path / "predictions.csv").read_text() == "mine"
    (job.out.path / "predictions.csv").rename(job.folder / "mine")
    job.run(*flags).expect(0)
    assert len(job.out.rows) == 4
