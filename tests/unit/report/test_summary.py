from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from batchctl.model.progress import RunState
from batchctl.report.summary import CAUSES_SHOWN, read_summary, summary_dict, summary_text, write_summary

from .records import CAUSE, SUMMARY, summary


def test_the_whole_text() -> None:
    assert summary_text(SUMMARY, verbose=True).split("\n") == [
        "digits: finished in 20s",
        "  items      9,997 of 10,000 succeeded, 3 failed (threshold 10), 500/s",
        "  attempts   1,012 on 1,000 mini-batches, 9 failed, 2 lost, 1 timed out",
        "  ran on     2 workers",
        "  output     out/predictions.csv (9,997 rows)",
        "  sizing     2 workers: 2 cpus",
        "  failed     ValueError: cannot read 'a\\x1b[2J.png'",
        "             3 items, 9 attempts, e.g. in/a\\x1b[2J.png",
        "             Traceback (most recent call last):",
        '               File "score.py", line 3, in run',
        "             ValueError: bad",
        "  note       a note",
        "  next       batchctl verify out",
    ]


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        pytest.param({"items_failed": 0, "causes": ()}, "9,997 of 10,000 succeeded", "threshold", id="nothing failed"),
        pytest.param({"state": RunState.STOPPED, "exit_code": 75}, "stopped early", "finished", id="stopped"),
        pytest.param({"exit_code": 3, "state": RunState.FAILED}, "(exit code 3)", "finished", id="failed"),
        pytest.param({"items_succeeded": 5000}, "4,997 left to do", "x", id="stopped midway"),
        pytest.param({"epochs": 3}, "resumed 2 times", "500/s", id="a resume claims no rate"),
        pytest.param({"output": ""}, "items", "output", id="summary_only"),
        pytest.param({"items": 1, "items_succeeded": 1, "batches": 1, "attempts": 1}, "1 mini-batch", "x", id="one"),
    ],
)
def test_cases(changes: dict[str, object], said: str, unsaid: str) -> None:
    text = summary_text(summary(**changes))
    assert said in text
    assert unsaid not in text.replace("next", "") or unsaid == "x"


def test_what_kept_workers_away_is_told_without_being_asked() -> None:
    lines = summary_text(summary(held_back="memory 1.0 GiB free for them / 900 MiB each")).split("\n")
    at = lines.index("  ran on     2 workers")
    assert lines[at + 1] == "             no more: memory 1.0 GiB free for them / 900 MiB each"
    assert not any(line.startswith("  sizing") for line in lines)


def test_many_causes_and_long_tracebacks_are_cut() -> None:
    long = CAUSE._replace(example_traceback="Traceback\n" + "  line\n" * 500 + "ValueError: end", message="m" * 5000)
    text = summary_text(summary(causes=(long,) * 40))
    assert f"and {40 - CAUSES_SHOWN} more causes in summary.json" in text
    assert "... 490 more lines ..." in text
    assert "ValueError: end" in text
    assert len(text) < 5000


def test_summary_json_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_summary(path, summary(name="\udcff"))
    assert read_summary(path) == summary(name="\udcff")
    assert json.loads(path.read_text())["format"] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty, as after a power cut"),
        pytest.param("\0\0\0", id="zeros"),
        pytest.param("[1]", id="no object"),
        pytest.param("[" * 100_000, id="bomb"),
        pytest.param("{}", id="nothing in it"),
        pytest.param(json.dumps({**summary_dict(SUMMARY), "items": "many"}), id="a word for a number"),
        pytest.param(json.dumps({**summary_dict(SUMMARY), "items": True}), id="true for a number"),
        pytest.param(json.dumps({**summary_dict(SUMMARY), "state": "odd"}), id="unknown state"),
        pytest.param(json.dumps({**summary_dict(SUMMARY), "causes": {}}), id="an object for a list"),
        pytest.param(json.dumps({**summary_dict(SUMMARY), "causes": [7]}), id="a number for an object"),
        pytest.param(json.dumps({**summary_dict(SUMMARY), "name": None}), id="null for a word"),
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    assert read_summary(path) is None


def test_a_newer_versions_keys_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({**summary_dict(SUMMARY), "novelty": [1]}))
    assert read_summary(path) == SUMMARY


def test_no_link_and_no_pipe_is_read(tmp_path: Path) -> None:
    import os

    write_summary(tmp_path / "real", SUMMARY)
    (tmp_path / "summary.json").symlink_to(tmp_path / "real")
    assert read_summary(tmp_path / "summary.json") is None
    os.mkfifo(tmp_path / "pipe")
    assert read_summary(tmp_path / "pipe") is None
    assert read_summary(tmp_path / "absent") is None
