"""The parts of the families `syscall` and `error`: what is read from strace, and that a broken promise is found."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.crash.campaign import beside_python
from tests.crash.findings import Asked, Findings, OptionError
from tests.crash.syscalls import error, kill
from tests.crash.syscalls.jobs import FRESH
from tests.crash.syscalls.points import Point, errors, kills, last, part_of, shard, spread
from tests.crash.syscalls.strace import Call, calls_in

HERE = Path("/w/here")
SAID = """\
10 openat(AT_FDCWD</w>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3</etc/hosts>
10 mkdir("/w/here/out", 0777)            = 0
10 openat(AT_FDCWD</w/here>, "/w/here/out/log", O_RDWR|O_CREAT|O_EXCL, 0600) = 3</w/here/out/log>
10 newfstatat(3</w/here/out/log>, "", {st_mode=S_IFREG|0600, st_size=0, ...}, AT_EMPTY_PATH) = 0
10 newfstatat(AT_FDCWD</w>, "/w/here/out/log", {st_mode=S_IFREG|0600, st_size=0, ...}, 0) = 0
11 pwrite64(3</w/here/out/log>, ""..., 99, 0 <unfinished ...>
10 pwrite64(4</w/herewith>, ""..., 99, 0) = 99
11 <... pwrite64 resumed>)               = 99
10 pwrite64(3</w/here/out/log>, ""..., 99, 99) = 99
11 unlinkat(4</w/here/out>, "name", 0)   = 0
10 renameat2(AT_FDCWD</w>, "/w/here/out/a", AT_FDCWD</w>, "/w/here/out/b", RENAME_NOREPLACE) = 0
10 renameat2(AT_FDCWD</w>, "/w/here/out/b", AT_FDCWD</w>, "/w/here/out/c", RENAME_NOREPLACE) = 0
"""
CALLS = [
    Call("main", "mkdir", "out", 1),
    Call("main", "openat", "out/log", 1, creates=True),
    Call("main", "newfstatat", "out/log", 2),  # strace counts the fstat too
    Call("flusher", "pwrite64", "out/log", 1),
    Call("main", "pwrite64", "out/log", 1),
    Call("flusher", "unlinkat", "out", 1),
    Call("main", "renameat2", "out/a", 1),
    Call("main", "renameat2", "out/b", 2),  # the call before touched it as well
]


def test_calls_are_numbered_as_strace_counts_them() -> None:
    assert list(calls_in(SAID, HERE)) == CALLS


def test_a_third_thread_is_not_overlooked() -> None:
    with pytest.raises(AssertionError, match="third thread"):
        list(calls_in(SAID + '12 mkdir("/w/here/out/d", 0777) = 0\n', HERE))


def test_which_calls_are_points() -> None:
    assert [point.call for point in kills("rows", FRESH, CALLS)] == [c for c in CALLS if c.name != "newfstatat"]
    assert [point.fault for point in errors("rows", FRESH, CALLS[:3])] == ["EIO", "ENOSPC", "EIO", "ENOSPC", "EIO"]


def test_shards_are_disjoint_and_complete_and_an_order_begins_evenly() -> None:
    points = [*errors("rows", FRESH, CALLS), *kills("rows", FRESH, CALLS)]
    parts = [shard(points, part_of(f"{number}/3")) for number in (1, 2, 3)]
    assert sorted(str(point) for part in parts for point in part) == sorted(map(str, points))
    order = spread(points, random.Random(1))
    assert sorted(map(str, order)) == sorted(map(str, points))
    strata = {point.stratum for point in points}
    assert {point.stratum for point in order[: len(strata)]} == strata


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "0/0", "-1/4", "1", "", "1/4/4", "a/b", "\u0661/\u0664"])
def test_a_shard_that_there_is_not_is_refused(text: str) -> None:
    """It would have no points, and a campaign without points finds nothing wrong."""
    with pytest.raises(OptionError):
        part_of(text)


def test_a_state_is_cut_at_the_last_call_that_fits() -> None:
    calls = [Call("main", "rename", f"results/out/{name}", 1) for name in ("a.x", "a.y", "b")]
    assert last(calls, ("main", "rename", "a.*")) == [calls[1], calls[0]]
    link = Call("flusher", "link", "results/out/a", 1)
    assert last([*calls, link], ("flusher", "renameat2", "*")) == [link]


# Commands whose coordinator breaks a promise: the patched functions do what a careless program would.
CARELESS_SYNC = """\
import contextlib, os
real = os.fdatasync
def careless(fd):
    with contextlib.suppress(OSError):
        real(fd)
os.fdatasync = careless
"""
FORGETFUL_RECOVERY = """\
import batchctl.store.recover as recover
recover.place_files = lambda *given, **more: None
"""


def _broken(command: Path, how: str) -> str:
    shebang = Path(beside_python()).read_text(encoding="utf-8").splitlines()[0]
    ending = "import sys\nfrom batchctl.cli.main import main\nsys.exit(main())\n"
    command.write_text(f"{shebang}\n{how}{ending}", encoding="utf-8")
    command.chmod(0o755)
    return str(command)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("broken", "campaign", "job", "only"),
    [
        (CARELESS_SYNC, error.campaign, "rows", "EIO at flusher fdatasync results/out/.batchctl/checkpoint.log #1"),
        (FORGETFUL_RECOVERY, kill.campaign, "files", "KILL at flusher renameat2"),
    ],
    ids=["a sync is not looked at", "announced files are forgotten"],
)
def test_a_broken_promise_is_found(broken: str, campaign: object, job: str, only: str, tmp_path: Path) -> None:
    command = _broken(tmp_path / "batchctl", broken)
    work = tmp_path / "work"
    work.mkdir()
    options = {"jobs": job, "starts": "0", "lanes": "1", "only": only, "python": sys.executable}
    assert callable(campaign)
    found: Findings = campaign(Asked(1, 1, work, command, options=options))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert len(found.violations) >= 1
    assert sum(found.counts[name] for name in ("syscall_points", "error_points") if name in found.counts) == 1


@pytest.mark.parametrize(
    ("fault", "call", "good"),
    [
        ("EIO", Call("main", "pwrite64", "results/out/.batchctl/checkpoint.log", 1), {74}),
        ("EIO", Call("main", "pwrite64", "results/out/.batchctl/.status.json.tmp", 1), {0, 74}),
        ("EIO", Call("main", "ftruncate", "results/out/.batchctl/lock", 1), {0, 74}),
        ("EIO", Call("main", "openat", "results/out/.batchctl/.learned.json.tmp", 1), {0, 74}),
        ("EIO", Call("main", "newfstatat", "results", 1), {0, 74}),
        ("EIO", Call("main", "mkdir", "results", 1), {74}),
        ("ENOSPC", Call("main", "mkdir", "results", 1), {0, 74}),
        ("ENOSPC", Call("flusher", "pwrite64", "results/out/predictions.csv.partial", 1), {0}),
        ("ENOSPC", Call("flusher", "fdatasync", "results/out/predictions.csv.partial", 1), {74}),
    ],
    ids=str,
)
def test_which_exit_codes_an_error_may_end_with(fault: str, call: Call, good: set[int]) -> None:
    point = Point("rows", FRESH, call, fault)
    assert {code for code in (0, 1, 2, 4, 7, 74, 75) if not error.exit_code_problem(point, code)} == good


FORGETFUL_OF_TAILS = """\
import batchctl.store.recover as recover
recover.cut_tail = lambda file, *, good_end: 0
"""


@pytest.mark.timeout(180)
def test_a_state_from_which_no_life_ends_well_is_a_broken_promise(tmp_path: Path) -> None:
    """Not a campaign that could not be held: that would be published by nobody."""
    work = tmp_path / "work"
    work.mkdir()
    command = _broken(tmp_path / "batchctl", FORGETFUL_OF_TAILS)
    options = {"jobs": "rows", "only": "torn", "python": sys.executable}
    found = kill.campaign(Asked(1, 1, work, command, options={**options, "starts": "6"}))
    if found.not_run:
        pytest.skip(f"not run: {found.not_run}")
    assert len(found.violations) == 1
    assert not found.worked
