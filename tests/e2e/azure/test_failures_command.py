"""quarantine.jsonl and `batchctl failures`, on runs that gave up on some files."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

from tests.e2e.driver import Job, Out, wait_for

FLAGS = ("--mini-batch-size", "4", "--workers", "2", "--max-retries", "0")


def troubled(job: Job) -> None:
    """12 items in mini-batches of 4: two broken in one way, one in another, one missing from its rows."""
    job.script("mended")
    job.items(12)
    for number, text in {1: "broken", 6: "broken", 7: "other", 9: "short"}.items():
        (job.inputs / f"item{number:03d}.txt").write_text(text)


def quarantine(out: Out) -> list[dict[str, Any]]:
    lines = (out.run_directory / "quarantine.jsonl").read_text(encoding="ascii").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda line: int(line["item"]))


def test_quarantine_has_a_line_for_each_item_given_up_and_the_causes_are_grouped(job: Job) -> None:
    troubled(job)
    job.run(*FLAGS, "--workers", "1").expect(0)  # so that it is known which of a cause comes first: it is the example
    lines = quarantine(job.out)
    assert [(line["item"], line["batch"], line["class"], line["kind"], line["phase"]) for line in lines] == [
        (1, 0, "ValueError", "failed", "run"),
        (6, 1, "ValueError", "failed", "run"),
        (7, 1, "KeyError", "failed", "run"),
    ]
    assert [os.path.basename(line["path"]) for line in lines] == ["item001.txt", "item006.txt", "item007.txt"]
    assert all(line["attempts"] > 1 and line["peak_memory"] > 1 << 20 for line in lines)
    assert lines[0]["message"] == "cannot read 'item001.txt'"
    one, two, other = (line["traceback_sha256"] for line in lines)
    assert one == two != other and re.fullmatch("[0-9a-f]{16}", one)

    told = job.batchctl("failures", "out", "--json").expect(0).json
    assert (told["items"], told["quarantined"], told["missing"]) == (12, 3, 1)
    assert [(cause["class"], cause["items"]) for cause in told["causes"]] == [("ValueError", 2), ("KeyError", 1)]
    assert "item001.txt" in told["causes"][0]["example"]["path"]
    assert "in one\n    raise ValueError" in told["causes"][0]["example"]["traceback"]
    assert told["short"] == [{"batch": 2, "item": 8, "items": 4, "missing": 1}]
    shown = job.batchctl("failures", "out").expect(0)
    shown.names("3 of 12 items quarantined", "1 element missing", "2 items failed: ValueError", "KeyError", "raise ")
    shown.names("mini-batch 2 (items 8 to 11): 1 of 4 missing", "batchctl retry out", "batchctl retry out --short")

    cause = told["causes"][1]["cause"]
    for only, names in {
        cause: [b"item007.txt"],
        "KeyError": [b"item007.txt"],
        "failed": [b"item001.txt", b"item006.txt", b"item007.txt"],
        "": [b"item001.txt", b"item006.txt", b"item007.txt"],
    }.items():
        flags = ("--only", only) if only else ()
        lined = job.batchctl("failures", "out", "--paths", *flags).expect(0).stdout
        nulled = job.batchctl("failures", "out", "--paths", "-0", *flags).expect(0).stdout
        assert sorted(map(os.path.basename, lined.splitlines())) == names
        assert nulled == lined.replace(b"\n", b"\0")
    wrong = job.batchctl("failures", "out", "--only", "OSError").expect(2)
    wrong.names("OSError", "ValueError", "KeyError")
    wrong.remedied()


def test_a_name_is_printed_as_it_is_and_secrets_are_masked_as_elsewhere(job: Job) -> None:
    job.script("mended")
    job.items(3)
    name = b"bro\nken \xff.txt"
    (job.inputs / os.fsdecode(name)).write_text("broken")
    job.run(*FLAGS, "--env", "MY_TOKEN=cannot read").expect(0)
    assert job.batchctl("failures", "out", "--paths", "-0").expect(0).stdout.endswith(b"/" + name + b"\0")
    (line,) = quarantine(job.out)
    assert "cannot" not in line["message"] and "ken" in line["message"]
    assert b"cannot" not in job.batchctl("failures", "out").expect(0).stdout


def test_a_run_that_goes_on_or_was_killed_is_asked_without_its_lock(job: Job) -> None:
    troubled(job)
    gate = job.folder / "gate"
    gate.mkdir()
    job.items(80, stem="later")  # parts go before what nobody has touched
    (job.inputs / "later079.txt").write_text("gated")
    with job.start(
        *("run", "code/score.py", "in", "-o", "out", *FLAGS, "--workers", "1", "--schedule", "plan"),
        env={"GATE": str(gate)},
    ) as started:
        wait_for((gate / "reached").exists, "the gate")
        wait_for(lambda: job.batchctl("failures", "out", "--json").expect(0).json["quarantined"], "an item given up")
        started.signal(signal.SIGKILL)
        started.end().expect(-signal.SIGKILL)
    assert job.batchctl("failures", "out", "--json").expect(0).json["quarantined"] > 0
    assert not (job.out.run_directory / "quarantine.jsonl").exists()
    (gate / "open").touch()
    job.run(*FLAGS, "--workers", "1", env={"GATE": str(gate)}).expect(0)
    assert [line["item"] for line in quarantine(job.out)] == [1, 6, 7]


def test_a_run_without_failures_says_so_and_has_no_file(job: Job) -> None:
    job.script("mended")
    job.items(3)
    job.run().expect(0)
    assert not (job.out.run_directory / "quarantine.jsonl").exists()
    job.batchctl("failures", "out").expect(0).names("out: no failures")
    assert job.batchctl("failures", "out", "--paths").expect(0).stdout == b""
    told = job.batchctl("failures", "out", "--json").expect(0).json
    assert told == {"items": 3, "quarantined": 0, "missing": 0, "causes": [], "short": []}
    for flags in (("-0",), ("--json", "--paths")):
        job.batchctl("failures", "out", *flags).expect(2).remedied()
    job.batchctl("failures", "nowhere").expect(2).remedied()
