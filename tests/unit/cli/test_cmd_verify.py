from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from batchctl.cli.cmd_verify import as_dict, render
from batchctl.cli.main import main
from batchctl.store.verify import Verification

SOUND = Verification(
    problems=(),
    finished=True,
    items=1000,
    committed=997,
    quarantined=3,
    n_rows=997,
    epochs=2,
    log_bytes=12_000,
    torn_log_bytes=0,
    torn_rows_bytes=0,
)
CHECKED = "every CRC in the job, the plan, 12 kB of log and the rows was checked"


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        pytest.param(
            {},
            [f"out: sound, finished: 997 of 1,000 items committed, 3 quarantined, 997 rows; {CHECKED}"],
            id="finished",
        ),
        pytest.param(
            {"finished": False, "committed": 500, "n_rows": 500, "torn_log_bytes": 10, "torn_rows_bytes": 1490},
            [
                "out: sound, unfinished: 500 of 1,000 items committed, 3 quarantined, 497 to do, 500 rows; " + CHECKED,
                "  1.5 kB after the last commit are not counted; the next resume cuts them",
            ],
            id="cut off",
        ),
    ],
)
def test_what_is_sound_takes_a_line_or_two(changes: dict[str, Any], lines: list[str]) -> None:
    assert render("out", SOUND._replace(**changes), ()) == lines


def test_damage_is_named_and_nothing_of_it_reaches_the_terminal_raw() -> None:
    lines = render("o\x1but", SOUND, ("a\x1b: rows are damaged", "b"))
    assert lines[0] == "o\\x1but: corrupt: 2 problems. Nothing was changed"
    assert lines[1:3] == ["  a\\x1b: rows are damaged", "  b"]
    assert "--fresh" in lines[3]


def test_json() -> None:
    assert json.loads(json.dumps(as_dict(SOUND, ("x",))))["problems"] == ["x"]
    assert as_dict(SOUND, ())["sound"] is True
    assert as_dict(SOUND, ("x",))["sound"] is False


@pytest.mark.parametrize("command", ["verify", "inspect"])
@pytest.mark.parametrize(
    ("made", "code", "said"),
    [
        pytest.param([], 2, "is no folder", id="absent"),
        pytest.param(["."], 2, "holds no run", id="no run"),
        pytest.param([".batchctl"], 2, "holds no run", id="half created"),
        pytest.param([".batchctl", ".batchctl/checkpoint.log"], 7, "job.json is gone", id="a log without job.json"),
        pytest.param([".batchctl", ".batchctl/job.json"], 7, "is damaged", id="empty job.json"),
    ],
)
def test_what_is_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, made: list[str], code: int, said: str
) -> None:
    out = tmp_path / "out"
    for name in made:
        if name in (".", ".batchctl"):
            (out / name).mkdir(mode=0o700, parents=True)
        else:
            (out / name).touch()
    assert main([command, str(out)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
