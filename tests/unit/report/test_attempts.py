from __future__ import annotations

import csv
import stat
import time
from pathlib import Path

import pytest

from batchctl.model.lease import Lease
from batchctl.model.outcome import Scored
from batchctl.model.progress import Attempt
from batchctl.report.attempts import HEADER, ROWS_BUFFERED, AttemptsFile, cell

FAILED = Attempt(4, 40, 5, 2, 1, 7, 0, 5, 0, 0.25, "failed", "ValueError", 'bad "x", really\nnot good')


def scored(*numbers: int) -> Scored:
    """batch, first, count, attempt, ok, failed, rows, run ns."""
    batch, first, count, attempt, ok, failed, rows, run_ns = numbers
    return Scored(Lease(batch, first, count, attempt), b"", 0, 0, rows, ok, failed, run_ns)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_attempt(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    attempts = AttemptsFile(path, epoch=2)
    attempts.scored(0, 5, [scored(3, 30, 10, 1, 9, 1, 9, 1_500_000)])
    attempts.add(FAILED)
    attempts.close()
    first, second = rows_of(path)
    assert first == {
        "Mini-batch Id": "3",
        "First Item": "30",
        "Picked Count": "1",
        "Epoch": "2",
        "Process": "0.5",
        "Total": "10",
        "Succeeded": "9",
        "Failed": "1",
        "Rows": "9",
        "Run Method Seconds": "0.001500",
        "Status": "scored",
        "Error Category": "",
        "Error Message": "",
    }
    assert second["Status"] == "failed"
    assert second["Error Message"] == 'bad "x", really\\nnot good'
    assert path.read_bytes().count(b"\n") == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param("3,30,1,1,0.5,10", id="half a row"),
        pytest.param("\0\0\0\0", id="zeros after a power cut"),
        pytest.param("", id="nothing torn"),
    ],
)
def test_a_resume_appends_after_the_last_whole_row(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "attempts.csv"
    before = AttemptsFile(path, epoch=1)
    before.add(FAILED)
    before.close()
    whole = path.read_text()
    path.write_text(whole + torn)
    after = AttemptsFile(path, epoch=2)
    after.add(FAILED)
    after.close()
    assert path.read_text().startswith(whole)
    assert [row["Epoch"] for row in rows_of(path)] == ["1", "2"]


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    path.write_text(HEADER[:20])
    AttemptsFile(path, epoch=1).close()
    assert path.read_text() == HEADER


def test_rows_wait_for_flush_and_never_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    attempts = AttemptsFile(path, epoch=1)
    attempts.scored(0, 1, [scored(0, 0, 1, 1, 1, 0, 1, 1)])
    assert path.read_text() == HEADER
    attempts.flush()
    assert path.read_text().count("\n") == 2
    for _ in range(ROWS_BUFFERED):
        attempts.scored(0, 1, [scored(0, 0, 1, 1, 1, 0, 1, 1)])
    assert path.read_text().count("\n") == 2 + ROWS_BUFFERED
    attempts.close()


def test_a_file_that_cannot_be_written_is_counted_and_never_raised(tmp_path: Path) -> None:
    attempts = AttemptsFile(tmp_path / "absent" / "attempts.csv", epoch=1)
    attempts.add(FAILED)
    attempts.close()
    assert attempts.errors == 2


def test_links_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "attempts.csv").symlink_to(target)
    attempts = AttemptsFile(tmp_path / "attempts.csv", epoch=1)
    attempts.add(FAILED)
    attempts.close()
    assert target.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a,b", '"a,b"'),
        ('"', '""""'),
        ("a\nb", "a\\nb"),
        ("=cmd()", "'=cmd()"),
        ("\x1b[2J", "\\x1b[2J"),
        ("-1,2", '"\'-1,2"'),
    ],
)
def test_fields(text: str, field: str) -> None:
    assert cell(text) == field


def test_a_row_is_cheap(tmp_path: Path) -> None:
    attempts = AttemptsFile(tmp_path / "attempts.csv", epoch=1)
    best = min(_seconds_per_row(attempts) for _ in range(5))
    attempts.close()
    assert best < 10e-6  # 1-2 us on a quiet machine; this guards the order of magnitude


def _seconds_per_row(attempts: AttemptsFile) -> float:
    start = time.perf_counter()
    for number in range(4000):
        attempts.scored(0, 1, [scored(number, number * 10, 10, 1, 10, 0, 10, 123_456)])
    attempts.flush()
    return (time.perf_counter() - start) / 4000
