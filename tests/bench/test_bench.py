"""`make bench` in small: contestants run, rows are compared, figures and pages are what the data says. Untimed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import bounds, durability, elsewhere, figures, limits, named_tuple, picture, profile, record, table
from tests.bench.contest import HALVES, Found
from tests.bench.outputs import Judge, WrongRowsError
from tests.bench.peers import local
from tests.bench.peers.task import Task
from tests.bench.workload import make_inputs
from tests.bench.workloads import WORKLOADS, Prepared
from tests.published import ROOT
from tests.user_environments import environment


def bench(tmp_path: Path, *options: str) -> list[dict[str, Any]]:
    out = tmp_path / "found.json"
    command = [
        sys.executable,
        "-m",
        "tests.bench",
        "--rounds",
        "1",
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(out),
    ]
    batchctl = f"batchctl={Path(sys.executable).parent / 'batchctl'}"
    done = subprocess.run(
        [*command, "--batchctl", batchctl, *options], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.mark.timeout(300)
def test_batchctl_pool_and_the_plain_loop_make_the_same_rows(tmp_path: Path) -> None:
    small = ["--items", "25", "--megabytes", "1", "--peers", "pool,halves", "--python", sys.executable]
    found = bench(tmp_path, "--only", "w1,w2,w3", *small)
    by_workload = {name: {one["name"] for one in found if one["workload"] == name} for name in ("w1", "w2", "w3")}
    one_pool = {"batchctl", "plain loop", HALVES.name, "Pool, chunks of 1"}
    assert by_workload == {
        "w1": one_pool | {"Pool, chunks of 64"},
        "w2": one_pool | {"Pool, chunks of 16"},
        "w3": one_pool,
    }
    assert all(one["spread"] >= 1.0 for one in found if (one["workload"], one["name"]) == ("w3", "batchctl"))


@pytest.mark.timeout(300)
def test_azure_rows_of_a_table_are_byte_for_byte_those_of_pandas(tmp_path: Path) -> None:
    python = str(environment("mlflow"))
    small = ["--items", "2", "--rows", "200", "--peers", "serial", "--python", python]
    found = bench(tmp_path, "--only", "w4-azure", *small)
    assert sorted(one["name"] for one in found) == ["batchctl", "plain loop"]
    assert len({one["digest"] for one in found}) == 1


def test_rows_that_differ_or_are_missing_are_no_result(tmp_path: Path) -> None:
    inputs = Prepared(WORKLOADS["w1"], tmp_path, tmp_path, tmp_path, items=3, rows=3)
    judge, file = Judge(inputs), tmp_path / "predictions.csv"
    file.write_text("a\nb\nc\n", encoding="utf-8")
    judge.check(tmp_path, items=3, header=False)
    file.write_text("c\nb\na\n", encoding="utf-8")
    judge.check(tmp_path, items=3, header=False)
    file.write_text("a\nb\n", encoding="utf-8")
    judge.check(tmp_path, items=2, header=False)
    for rows, items in (("a\nb\n", 3), ("a\nb\nd\n", 3), ("a\nb\nb\n", 3), ("a\nc\n", 2)):
        file.write_text(rows, encoding="utf-8")
        with pytest.raises(WrongRowsError):
            judge.check(tmp_path, items=items, header=False)


def test_floats_of_a_model_may_differ_by_what_rounding_does(tmp_path: Path) -> None:
    inputs = Prepared(WORKLOADS["w5"], tmp_path, tmp_path, tmp_path, items=2, rows=2)
    judge, file = Judge(inputs), tmp_path / "predictions.csv"

    def written(name: str, first: float) -> None:
        rest = ",".join(["0.25"] * 383)
        file.write_text(f"a,{first},{rest}\n{name},0.5,{rest}\n", encoding="utf-8")

    written("b", 0.125)
    judge.check(tmp_path, items=2, header=False)
    written("b", 0.125001)
    judge.check(tmp_path, items=2, header=False)
    for name, first in (("b", 0.1251), ("c", 0.125)):
        written(name, first)
        with pytest.raises(WrongRowsError):
            judge.check(tmp_path, items=2, header=False)


def laps(workload: str, walls: Sequence[dict[str, float]], *, work_s: float = 0.0) -> list[Found]:
    """By round, seconds by name."""
    return [
        Found(workload, number, name, wall, 1.0, 100.0, 0.0, 10, work_s=work_s if name == "plain loop" else 0.0)
        for number, by_name in enumerate(walls)
        for name, wall in by_name.items()
    ]


W2 = laps(
    "w2",
    [
        {"plain loop": 5.0, "Pool, chunks of 16": 3.0, "Ray Data": 27.0, "batchctl": 3.3},
        {"plain loop": 9.0, "Pool, chunks of 16": 6.0, "Ray Data": 54.0, "batchctl": 5.4},
        {"plain loop": 5.0, "Pool, chunks of 16": 3.0, "Ray Data": 20.0, "batchctl": 2.7},
    ],
    work_s=4.0,
)


def test_ratios_are_taken_within_rounds() -> None:
    group = figures.groups(W2)["w2"]
    assert group.best == "Pool, chunks of 16"
    assert [round(ratio, 6) for ratio in group.ratios("batchctl", group.walls("Pool, chunks of 16"))] == [1.1, 0.9, 0.9]
    assert group.ideal == {0: 3.0, 1: 7.0, 2: 3.0}


def test_a_bound_is_met_missed_or_not_run() -> None:
    found = figures.groups(W2)
    verdicts = {bound.figure: bound.verdict(found, "batchctl", told={})[1] for bound in bounds.BOUNDS}
    assert verdicts["W2: wall over the best peer's"] == "met"
    assert verdicts["W2: times as fast as Ray Data"] == "met"
    assert verdicts["W3: wall over the ideal"] == "not run"
    slow = [replace(one, wall_s=one.wall_s * 2) if one.name == "batchctl" else one for one in W2]
    verdicts = {bound.figure: bound.verdict(figures.groups(slow), "batchctl", told={})[1] for bound in bounds.BOUNDS}
    assert verdicts["W2: wall over the best peer's"] == "**missed**"
    assert verdicts["W2: times as fast as Ray Data"] == "**missed**"


def test_a_peer_that_did_a_part_of_the_work_is_no_best_peer() -> None:
    partial = Found("w2", 0, "HyperQueue", 0.1, 1.0, 1.0, 0.0, items=2)
    assert figures.groups([*W2, partial])["w2"].best == "Pool, chunks of 16"


def test_loops_that_share_nothing_are_no_peer_and_have_no_bar() -> None:
    found = figures.groups([*W2, Found("w2", 0, HALVES.name, 0.1, 1.0, 1.0, 0.0, items=10)])["w2"]
    assert found.best == "Pool, chunks of 16"
    assert f"| {HALVES.name} | 1 | 0.1 |" in figures.table(found)
    assert HALVES.name not in picture.draw({"w2": found})


def test_limits_are_of_the_same_rounds_as_the_figures_beside_them() -> None:
    halves = laps("w2", [{HALVES.name: 2.0}, {HALVES.name: 4.0}, {HALVES.name: 1.0}])
    row = "| W2: wall over the best peer's | <= 1 | 0.9 | 0.667 |"
    assert f"{row} - | - |" in limits.table(figures.groups([*W2, *halves]))
    start = [replace(one, cpu_s=0.4) for one in laps("start", [{"plain loop": 0.1, "batchctl": 0.3}])]
    table = limits.table(figures.groups([*start, *W2, *halves]))
    assert f"{row} 0.7 | 0.2 |" in table  # starts 0.2 s later; 1 s on two cores, 0.1 s on none
    assert "W3" not in table
    assert "PSS" not in table


@pytest.mark.parametrize(("n", "looked_at"), [(5, 5), (5, 4)])
def test_each_half_has_its_own_mini_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, looked_at: int
) -> None:
    inputs = make_inputs(tmp_path, n)
    todo = [[line] for line in inputs.listing.read_text(encoding="utf-8").splitlines()]
    monkeypatch.setattr(local, "_LOOKED_AT", looked_at)
    one, other = local._shares(todo, 2)
    assert sorted(one + other) == todo
    assert {len(one), len(other)} == {n // 2, n - n // 2}


def test_work_is_divided_by_bytes_and_a_loop_that_fails_is_an_error(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, 3)
    for path, size in zip(sorted(inputs.folder.rglob("*.txt")), (300, 200, 100), strict=True):
        path.write_bytes(b"x" * size)
    told = "import os\n\ndef init(): pass\n\ndef run(mini_batch): return [f'{os.getpid()} {mini_batch[0][-5]}']\n"
    inputs.script.write_text(told, encoding="utf-8")
    task = Task(str(inputs.script), str(inputs.listing), str(tmp_path), 1, "lists")
    command = [sys.executable, "-m", "tests.bench.peers", "halves"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **task.environment}, check=True, timeout=60)
    pids = [line.split() for line in (tmp_path / "predictions.csv").read_text(encoding="utf-8").splitlines()]
    assert [item for _, item in pids] == ["0", "1", "2"]
    assert pids[0][0] != pids[1][0] == pids[2][0]
    inputs.script.write_text("def init(): raise OSError('no model')\n", encoding="utf-8")
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **task.environment}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "no model" in done.stderr


def test_a_picture_has_a_bar_for_each_that_did_all_of_the_work() -> None:
    drawn = ElementTree.fromstring(picture.draw(figures.groups(W2)))
    told = [one.text or "" for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [name for name in told if name in {one.name for one in W2}] == [
        *("batchctl", "Pool, chunks of 16", "plain loop", "Ray Data")
    ]


def test_pieces_add_rounds_to_the_column_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- performance: bounds -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(record, "FILE", tmp_path / "found.json")
    monkeypatch.setattr(record, "PAGE", page)
    monkeypatch.setattr(record, "PICTURE", tmp_path / "found.svg")
    for _ in range(2):
        record.publish(W2, command="make bench", versions={"ray": "2"}, not_run={"w5": "no torch"})
    (column,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["columns"]
    assert record.laps_of(column) == [*W2, *(replace(one, round=one.round + 3) for one in W2)]
    assert column["not_run"] == {"w5": "no torch"}
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text


def test_what_other_benches_tell_has_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curve = [{"shape": "", "items": items, **scale_costs(items)} for items in (1_000, 100_000, 1_000_000, 10_000_000)]
    shapes = [
        {"shape": name, "items": 100_000, **scale_costs(100_000)} for name in ("mini-batches of 1", "rows of 10 KB")
    ]
    told = elsewhere.of_scale([*curve, *shapes])
    assert told == {
        elsewhere.AT_REST: [20.0],
        elsewhere.PER_MILLION: [30.0],
        elsewhere.PLAN: [1.0],
        elsewhere.PLAN_SIZED: [1.0],
        elsewhere.NO_OP: [0.1],
        elsewhere.FINISH: [10_240.0],
    }
    rounds = [{items: scale_costs(items) for items in elsewhere.CURVE}] * 2
    books = [
        {100_000: {"recover": 0.1, "verify": 0.2}, 1_000_000: {"recover": 1.0, "verify": 2.0 * by}} for by in (1, 9)
    ]
    assert elsewhere.over_linear(rounds, books[:1]) == [pytest.approx(1.5)] * 2  # of the run, not of a step
    assert elsewhere.over_linear(rounds, books) == [pytest.approx(1.0), pytest.approx(9.0)]  # the highest median
    told[elsewhere.OVER_LINEAR] = elsewhere.over_linear(rounds, books[:1])
    for name in ("FILE", "PAGE", "PICTURE"):
        monkeypatch.setattr(record, name, tmp_path / name)
    record.PAGE.write_text("<!-- performance: bounds -->\n<!-- end -->\n", encoding="utf-8")
    record.tell({**told, elsewhere.syncs("w2", slower=False): [1.01, 1.09, 1.02]}, command="make bench")
    (column,) = json.loads(record.FILE.read_text(encoding="utf-8"))["columns"]
    verdicts = {one.figure: one.verdict({}, "batchctl", told=column["told"]) for one in bounds.BOUNDS if one.told}
    assert verdicts["W2: syncs on over off"] == ("1.02 (1.01-1.09)", "met")
    assert verdicts["W2: syncs on over off, each 10 ms slower"] == ("-", "not run")
    assert verdicts["any cost of 10^7 items, over linear from 10^5"] == ("1.5 (1.5-1.5)", "**missed**")
    assert verdicts["coordinator's PSS at rest"] == ("20", "met")


def scale_costs(items: int) -> dict[str, float]:
    """As scale.py tells them: a second and 30 MB for a million items, a run that costs half as much again beyond."""
    seconds = items / 1e6
    walls = dict.fromkeys(("plan_in_run_s", "plan_sized_s", "resume_finished_s", "finish_s"), seconds)
    costs = {"plan_sized_cpu_s": seconds, "coordinator_cpu_s": seconds + max(0.0, seconds - 1) / 2}
    return {**costs, **walls, "run_pss_mb": 20.0 + 30 * (items >= 1e6)}


def test_page_and_picture_are_made_of_the_data() -> None:
    found = json.loads(record.FILE.read_text(encoding="utf-8"))
    text = record.PAGE.read_text(encoding="utf-8")
    assert record.filled(text, found) == text, "run python -m tests.bench.record"
    assert record.drawn(found) == record.PICTURE.read_text(encoding="utf-8"), "run python -m tests.bench.record"


@pytest.mark.skipif(shutil.which("cc") is None, reason="not run: there is no C compiler here")
def test_durability_in_its_short_form(tmp_path: Path) -> None:
    """Runs with syncs, without, and with slow ones are told apart by what they waited, not by the clock."""
    asked = ["w1", "--rounds", "1", "--items", "500", "--data", str(tmp_path), "--out", str(tmp_path / "out.json")]
    assert durability.main(asked) == 0
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["w1"]
    counted = {mode: sum(count for count, _ in runs[0]["syncs"]) for mode, runs in found.items()}
    waited = {mode: sum(seconds for _, seconds in runs[0]["syncs"]) for mode, runs in found.items()}
    assert min(counted.values()) >= 10
    assert waited["10 ms slower"] >= 0.01 * counted["10 ms slower"]


PARENT = 'process 1:"batchctl run score.py"'
SERVER = f'{PARENT};process 2:"python out/.batchctl/guest.pyz serve 5 1"'
WORKER = f'{SERVER};process 3:"python out/.batchctl/guest.pyz serve 5 1"'
MAIN = "thread (1): MainThread;main (batchctl/cli/main.py:62)"
LIVE = "thread (3): MainThread;main (server.py:237);live (worker.py:47);Loop.serve (loop.py:93)"


@pytest.mark.parametrize(
    ("stack", "process", "what"),
    [
        (f"{PARENT};{MAIN};poll (batchctl/engine/pool.py:160);wait (selectors.py:4)", "parent", "engine/pool"),
        (
            f"{PARENT};{MAIN};_load (<frozen importlib._bootstrap>:7);<module> (batchctl/run/a.py:1)",
            "parent",
            "imports",
        ),
        (f"{SERVER};thread (2): MainThread;main (server.py:237)", "fork server", "guest/server"),
        (f"{WORKER};{LIVE};run (/job/code/score.py:3);loads (json/__init__.py:1)", "workers", profile.SCRIPT),
        (f"{WORKER};{LIVE};Renderer._csv (rows.py:173);to_csv (pandas/core/generic.py:9)", "workers", "guest/rows"),
        (f"{WORKER};thread (3): sender;run (threading.py:1);Outbox._flush (outbox.py:100)", "workers", "guest/outbox"),
        (f'{PARENT};process 9:"python -m pool";start (tests/bench/peers/pool.py:5)', "workers", "the peer's driver"),
        (f"{PARENT};thread (1): MainThread;main (other.py:62)", "parent", profile.ELSE),
    ],
)
def test_a_sample_counts_for_the_innermost_place_of_ours(stack: str, process: str, what: str) -> None:
    assert profile.place_of(stack) == (process, what)


def test_a_profile_adds_up_and_names_what_is_not_small() -> None:
    found = profile.counted([f"{PARENT};{MAIN} 150\n", f"{WORKER};{LIVE} 49\n", f"{SERVER};x (server.py:1) 1\n"])
    rows = profile.table(found, rate=100, least=0.01).splitlines()[2:]
    assert rows == [
        "| fork server | else (each below 1%) | 0.01 | 0.5% |",
        "| parent | cli/main | 1.50 | 75.0% |",
        "| workers | guest/loop | 0.49 | 24.5% |",
    ]


def test_the_time_of_classes_in_its_short_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert named_tuple.main(["--rounds", "1"]) == 0
    told = capsys.readouterr().out
    assert int(told.split(maxsplit=1)[0]) > 100, "not all of the classes were found"
    assert [line.split("|")[1].strip() for line in told.splitlines()[4:]] == list(named_tuple.MAKERS)


def test_making_a_table_in_its_short_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main(["--rounds", "1", "--rows", "40000"]) == 0
    told = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in told.splitlines()[4:]] == list(table.WAYS)
    smaller, all_of_them = (float(line.split("|")[3]) for line in told.splitlines()[4:])
    assert 0 < smaller < all_of_them
