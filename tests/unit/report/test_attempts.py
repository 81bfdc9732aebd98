from __future__ import annotations

import csv
import stat
import sys
from pathlib import Path

import pytest

from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, FailureKind, Scored, Shortage
from batchctl.model.progress import Attempt
from batchctl.report.attempts import HEADER, NAMED_FROM_NS, ROWS_BUFFERED, AttemptsFile, cell, status_of

FAILED = Attempt(Lease(4, 40, 5, 2), 1, 7, 0.25, "failed", "ValueError", 'bad "x", really\nnot good')


def attempts_file(path: Path, *, epoch: int = 1) -> AttemptsFile:
    return AttemptsFile(path, epoch=epoch, name_of=lambda item: f"in/{item},a.png")


def scored(*numbers: int) -> Scored:
    """batch, first, count, attempt, ok, failed, rows, run ns; half as much again in the worker."""
    batch, first, count, attempt, ok, failed, rows, run_ns = numbers
    return Scored(Lease(batch, first, count, attempt), b"", 0, 0, rows, ok, failed, run_ns, busy_ns=run_ns * 3 // 2)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("kind", "shortage", "charged", "status"),
    [
        ("failed", Shortage.NONE, True, "failed"),
        ("lost", Shortage.MEMORY, True, "lost"),
        ("lost", Shortage.MEMORY, False, "out_of_memory"),
        ("lost", Shortage.SUSPECTED, False, "out_of_memory"),
        ("failed", Shortage.GPU, True, "failed"),
        ("failed", Shortage.GPU, False, "out_of_memory"),
        ("timed_out", Shortage.NONE, True, "timed_out"),
    ],
)
def test_what_nobody_is_charged_for_has_a_status_of_its_own(
    kind: str, shortage: Shortage, charged: bool, status: str
) -> None:
    assert status_of(Failure(FailureKind(kind), "E", "m", shortage=shortage), charged=charged) == status


def test_times_are_rounded_to_microseconds(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    attempts = attempts_file(path, epoch=1)
    times = {0: "0.000000", 499: "0.000000", 500: "0.000001", 10**9 - 1: "1.000000", 3_600_000_000_001: "3600.000000"}
    many = dict.fromkeys(range(10**7, 10**7 + 5_000_000, 1000))  # more different ones than are kept
    for ns in (*times, *many, *times):
        attempts.scored(0, 1, [scored(0, 0, 1, 1, 1, 0, 1, ns)], now=1.0)
    attempts.close()
    found = [row["Run Method Seconds"] for row in rows_of(path)]
    assert found == [*times.values(), *(f"{ns / 1e9:.6f}" for ns in many), *times.values()]


def test_one_row_per_attempt(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    attempts = attempts_file(path, epoch=2)
    attempts.process_began(5, at=1_700_000_000.25)
    attempts.leased([Lease(3, 30, 10, 1), FAILED.lease], now=100.0)
    attempts.scored(0, 5, [scored(3, 30, 10, 1, 9, 1, 9, 1_500_000)], now=100.5)
    attempts.add(FAILED, now=102.0)
    attempts.close()
    first, second = rows_of(path)
    assert first == {
        "Mini-batch Id": "3",
        "First Item": "30",
        "Picked Count": "1",
        "Epoch": "2",
        "Process": "0.5",
        "Process Start Time": "2023-11-14T22:13:20.250Z",
        "Total": "10",
        "Succeeded": "9",
        "Failed": "1",
        "Rows": "9",
        "Elapsed Seconds": "0.500000",
        "Process Seconds": "0.002250",
        "Run Method Seconds": "0.001500",
        "Status": "scored",
        "Error Category": "",
        "Error Message": "",
        "Mini-batch Detail": "in/30,a.png and 9 more",
    }
    assert second == {
        "Mini-batch Id": "4",
        "First Item": "40",
        "Picked Count": "2",
        "Epoch": "2",
        "Process": "1.7",
        "Process Start Time": "",
        "Total": "5",
        "Succeeded": "0",
        "Failed": "5",
        "Rows": "0",
        "Elapsed Seconds": "2.000000",
        "Process Seconds": "0.250000",
        "Run Method Seconds": "0.250000",
        "Status": "failed",
        "Error Category": "ValueError",
        "Error Message": 'bad "x", really\\nnot good',
        "Mini-batch Detail": "in/40,a.png and 4 more",
    }
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
    before = attempts_file(path)
    before.add(FAILED, now=1.0)
    before.close()
    whole = path.read_text()
    path.write_text(whole + torn)
    after = attempts_file(path, epoch=2)
    after.add(FAILED, now=1.0)
    after.close()
    assert path.read_text().startswith(whole)
    assert [row["Epoch"] for row in rows_of(path)] == ["1", "2"]


def test_a_torn_header_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    path.write_text(HEADER[:20])
    attempts_file(path).close()
    assert path.read_text() == HEADER


def test_rows_wait_for_flush_and_never_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    attempts = attempts_file(path)
    attempts.scored(0, 1, [scored(0, 0, 1, 1, 1, 0, 1, 1)], now=1.0)
    assert path.read_text() == HEADER
    attempts.flush()
    assert path.read_text().count("\n") == 2
    for _ in range(ROWS_BUFFERED):
        attempts.scored(0, 1, [scored(0, 0, 1, 1, 1, 0, 1, 1)], now=1.0)
    assert path.read_text().count("\n") == 2 + ROWS_BUFFERED
    attempts.close()


def test_a_file_that_cannot_be_written_is_counted_and_never_raised(tmp_path: Path) -> None:
    attempts = attempts_file(tmp_path / "absent" / "attempts.csv")
    attempts.add(FAILED, now=1.0)
    attempts.close()
    assert attempts.errors == 2


def test_links_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "attempts.csv").symlink_to(target)
    attempts = attempts_file(tmp_path / "attempts.csv")
    attempts.add(FAILED, now=1.0)
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


def test_times_of_what_was_handed_out_twice_are_those_of_the_last_time(tmp_path: Path) -> None:
    path = tmp_path / "attempts.csv"
    attempts = attempts_file(path)
    lease = Lease(0, 0, 1, 1)
    for now in (1.0, 5.0):
        attempts.leased([lease], now=now)
    attempts.scored(0, 1, [scored(*lease, 1, 0, 1, 1)], now=6.0)
    attempts.add(FAILED, now=7.0)  # never handed out, as far as this file knows
    attempts.close()
    assert [row["Elapsed Seconds"] for row in rows_of(path)] == ["1.000000", ""]


# name: attempt -> Mini-batch Detail
DETAILS = {
    "all well and quick": (scored(0, 7, 2, 1, 2, 0, 2, NAMED_FROM_NS - 1), ""),
    "one file, slow": (scored(0, 7, 1, 1, 1, 0, 1, NAMED_FROM_NS), "in/7,a.png"),
    "several, slow": (scored(0, 7, 3, 1, 3, 0, 3, NAMED_FROM_NS), "in/7,a.png and 2 more"),
    "one missing": (scored(0, 7, 2, 1, 1, 1, 1, 5), "in/7,a.png and 1 more"),
}


@pytest.mark.parametrize("name", DETAILS)
def test_what_failed_or_was_slow_is_named(tmp_path: Path, name: str) -> None:
    attempt, detail = DETAILS[name]
    attempts = attempts_file(tmp_path / "attempts.csv")
    attempts.scored(0, 1, [attempt], now=1.0)
    attempts.close()
    assert [row["Mini-batch Detail"] for row in rows_of(tmp_path / "attempts.csv")] == [detail]


def test_a_row_is_cheap(tmp_path: Path) -> None:
    """In calls, of Python's functions and of C's: a clock would tell what else the machine does."""
    attempts = attempts_file(tmp_path / "attempts.csv")
    found = [scored(number, number * 10, 10, 1, 10, 0, 10, 123_456) for number in range(4000)]
    calls = 0

    def count(_frame: object, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        for one in found:
            attempts.scored(0, 1, [one], now=1.0)
        attempts.flush()
    finally:
        sys.setprofile(None)
    attempts.close()
    assert 1 <= calls / len(found) < 10  # 6
