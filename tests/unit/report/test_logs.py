from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from batchctl.report import logs
from batchctl.report.logs import WorkerLog
from batchctl.report.mask import Mask


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "HEAD_CAP", 800)
    monkeypatch.setattr(logs, "SEGMENT_CAP", 400)
    monkeypatch.setattr(logs, "LINE_CAP", 100)


def log_in(folder: Path, *, secrets: tuple[str, ...] = ()) -> WorkerLog:
    return WorkerLog(folder, 2, incarnation=17, mask=Mask(secrets))


def test_what_was_fed_is_in_the_file_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    assert log.path is None
    log.feed(b"loading\n")
    log.feed(b"no line break")
    log.close()
    log.close()
    assert log.path == tmp_path / "worker-002-00017.log"
    assert log.path.read_bytes() == b"loading\nno line break"
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert log.tail(13) == "no line break"
    assert (log.written, log.dropped, log.errors) == (21, 0, 0)


def test_a_silent_worker_leaves_no_file(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.feed(b"")
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_epochs_log_is_left_alone(tmp_path: Path) -> None:
    for text in (b"first", b"second"):
        log = log_in(tmp_path)
        log.feed(text)
        log.close()
    assert (tmp_path / "worker-002-00017.log").read_bytes() == b"first"
    assert (tmp_path / "worker-002-00017.2.log").read_bytes() == b"second"


@pytest.mark.parametrize("size", [0, 1, 799, 800, 801, 1199, 1200, 1201, 1600, 1601, 2000, 2001, 2400, 50_000])
@pytest.mark.parametrize("piece", [1, 7, 400, 3000, 50_000])
@pytest.mark.usefixtures("small")
def test_head_and_tail_are_kept(tmp_path: Path, size: int, piece: int) -> None:
    data = random.Random(size).randbytes(size)
    log = log_in(tmp_path)
    for start in range(0, size, piece):
        log.feed(data[start : start + piece])
    log.close()
    kept = log.path.read_bytes() if log.path else b""
    assert len(list(tmp_path.iterdir())) <= 1
    if size <= 1600:
        assert kept == data
        return
    head, _, rest = kept.partition(b"\n[batchctl: ")
    missing, _, tail = rest.partition(b" bytes are left out here]\n")
    assert head == data[:800]
    assert 400 <= len(tail) <= 800
    assert data.endswith(tail)
    assert int(missing) == size - 800 - len(tail) == log.dropped


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("fed", "kept"),
    [
        pytest.param([f"a {SECRET} b\n"], "a *** b\n", id="in a line"),
        pytest.param([f"{SECRET}{SECRET}"], "******", id="without a line end"),
        pytest.param(list(f"a {SECRET} b\n"), "a *** b\n", id="byte by byte"),
        pytest.param(["x" * 95, SECRET, "y" * 95], "x" * 95 + "***" + "y" * 95, id="in a line longer than the buffer"),
        pytest.param(["x" * 98 + SECRET[:5], SECRET[5:] + "y" * 300], "x" * 98 + "***" + "y" * 300, id="over the cut"),
        pytest.param(["10%\r", f"{SECRET}\r", "20%"], "10%\r***\r20%", id="progress bar"),
    ],
)
@pytest.mark.usefixtures("small")
def test_secrets_are_masked(tmp_path: Path, fed: list[str], kept: str) -> None:
    log = log_in(tmp_path, secrets=(SECRET,))
    for piece in fed:
        log.feed(piece.encode())
        assert SECRET not in log.tail(10_000)
    log.close()
    assert log.path is not None
    assert log.path.read_bytes() == kept.encode()
    assert log.tail(10_000) == kept


@pytest.mark.usefixtures("small")
def test_secrets_are_masked_wherever_the_pieces_end(tmp_path: Path) -> None:
    chance = random.Random(1)
    text = "".join(chance.choice([SECRET, "x" * 37, "\n", "y", SECRET[:6]]) for _ in range(400)).encode()
    for number in range(40):
        log = WorkerLog(tmp_path, number, incarnation=1, mask=Mask((SECRET,)))
        rest = text
        fed = b""
        while rest and len(fed) < 700:
            cut = chance.randrange(1, 60)
            fed, rest = fed + rest[:cut], rest[cut:]
            log.feed(fed[-min(cut, len(fed)) :])
        log.close()
        assert log.path is not None
        assert log.path.read_bytes() == fed.replace(SECRET.encode(), b"***")


def test_while_storage_is_paused_nothing_is_written_and_the_tail_goes_on(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.feed(b"one\n")
    log.drop(True)
    log.feed(b"two\n")
    log.drop(False)
    log.feed(b"three\n")
    log.close()
    assert log.path is not None
    assert log.path.read_bytes() == b"one\nthree\n"
    assert log.tail(100) == "one\ntwo\nthree\n"
    assert log.dropped == 4


def test_write_errors_are_counted_and_never_raised(tmp_path: Path) -> None:
    log = log_in(tmp_path / "absent")
    log.feed(b"hello\n")
    log.feed(b"world\n")
    log.close()
    assert (log.errors, log.dropped, log.written) == (2, 12, 0)
    assert log.tail(100) == "hello\nworld\n"


def test_a_full_disk_costs_the_log_and_nothing_else(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    (tmp_path / "worker-002-00017.log").symlink_to("/dev/full")
    log.feed(b"hello\n")  # the link is not followed: a new name is taken
    log.close()
    assert log.errors == 0
    assert (tmp_path / "worker-002-00017.2.log").read_bytes() == b"hello\n"


@pytest.mark.usefixtures("small")
def test_a_segment_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.feed(b"h" * 800)
    obstacle = tmp_path / "worker-002-00017.log.tail0"
    obstacle.mkdir()
    log.feed(b"lost")
    obstacle.rmdir()
    log.feed(b"kept")
    log.close()
    assert log.path is not None
    assert log.path.read_bytes() == b"h" * 800 + b"kept"
    assert (log.errors, log.dropped) == (1, 4)


def test_bad_utf8_in_the_tail_is_escaped(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.feed(b"caf\xe9")
    log.close()
    assert log.tail(100) == "caf\\xe9"
    assert log.tail(0) == ""
