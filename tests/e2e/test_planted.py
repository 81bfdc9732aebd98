"""A run directory, or names in OUT, that somebody else has put there: nothing outside is touched, nothing hangs.

Each case starts from a run that was stopped midway, plants one thing and types the same command again. `VICTIM` is
a file of the user's that the plant leads to; its bytes, times and mode are compared. docs/security.md has the rules.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.driver import Job, Ran
from tests.e2e.halting import gated, halt

PARTIAL = "predictions.csv.partial"
VICTIM = b"precious\n" * 1000
ONE = ("--mini-batch-size", "1", "--workers", "1")


@pytest.fixture(scope="module")
def halted(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run of which some is done. Never run again: `copy` gives each test its own."""
    job = Job(tmp_path_factory.mktemp("halted") / "job")
    gate, _ = gated(job, items=22)
    halt(job, gate, *ONE).expect(75)
    gate.open()
    return job


@pytest.fixture
def job(halted: Job, tmp_path: Path) -> Job:
    """The stopped run, to go on as `go_on` does."""
    made = Job(tmp_path / "job")
    shutil.copytree(halted.out.path, made.out.path)
    made.out.run_directory.chmod(0o700)
    made.environment = dict(halted.environment)
    return made


def go_on(job: Job, halted: Job, *argv: str | Path) -> Ran:
    """The command that began the run, with another OUT; what it did is not repeated where it was refused."""
    words = argv or ("run", halted.code / "score.py", halted.inputs, "-o", job.out.path, *ONE)
    return job.batchctl(*words, limit=30)


Plant = Callable[[Path, Path], None]


def a_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def a_hard_link(place: Path, victim: Path) -> None:
    place.hardlink_to(victim)


def a_pipe(place: Path, _: Path) -> None:
    os.mkfifo(place)


def a_folder(place: Path, _: Path) -> None:
    place.mkdir()
    (place / "mine").write_text("mine")


def a_socket(place: Path, _: Path) -> None:
    here = os.open(place.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:  # by a short path: those of sockets are limited
        made.bind(f"/proc/self/fd/{here}/{place.name}")
    os.close(here)


FILES = ("lock", "job.json", "plan", "checkpoint.log", "attempts.csv", "status.json", "summary.json", "guest.pyz")
PLANTS: dict[str, Plant] = {"link": a_link, "pipe": a_pipe, "folder": a_folder, "socket": a_socket}


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, kind) for name in FILES for kind in ("link", "pipe")), ("lock", "folder"), ("lock", "socket")],
)
def test_a_file_of_the_run_that_is_none_is_refused(job: Job, halted: Job, name: str, kind: str) -> None:
    place = job.out.run_directory / name
    victim, before = planted(job, place, PLANTS[kind])
    ran = go_on(job, halted).expect(2)
    ran.names(name)
    ran.remedied()
    assert picture(victim) == before
    assert not (job.out.path / "predictions.csv").exists()


# Files that are written in place. The others are replaced as a whole, which leaves what a second name shows alone.
@pytest.mark.parametrize("name", [".batchctl/lock", ".batchctl/checkpoint.log", ".batchctl/attempts.csv", PARTIAL])
def test_a_hard_link_is_never_written_through(job: Job, halted: Job, name: str) -> None:
    victim, before = planted(job, job.out.path / name, a_hard_link)
    ran = go_on(job, halted).expect(2)
    ran.names(name.rpartition("/")[2], "hard link")
    ran.remedied()
    assert picture(victim) == before


@pytest.mark.parametrize("name", ["status.json", "summary.json", "guest.pyz"])
def test_a_hard_link_that_is_replaced_leaves_the_other_name_alone(job: Job, halted: Job, name: str) -> None:
    victim, before = planted(job, job.out.run_directory / name, a_hard_link)
    go_on(job, halted).expect(0)
    assert picture(victim)[:3] == before[:3]  # the number of its names is another now


@pytest.mark.parametrize("name", ["stage", "spill", "parts", "logs", "model", "mlruns"])
def test_a_folder_of_the_run_that_leads_elsewhere_is_refused(job: Job, halted: Job, name: str) -> None:
    precious = job.folder / "precious"
    (precious / "sub").mkdir(parents=True)
    (precious / "sub" / "file").write_bytes(VICTIM)
    place = job.out.run_directory / name
    shutil.rmtree(place, ignore_errors=True)
    place.symlink_to(precious)
    go_on(job, halted).expect(2).names(name)
    assert (precious / "sub" / "file").read_bytes() == VICTIM
    place.unlink()
    os.mkfifo(place)
    go_on(job, halted).expect(2).names(name)


def test_what_was_planted_in_stage_is_cleared_and_leads_nowhere(job: Job, halted: Job) -> None:
    precious = job.folder / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(VICTIM)
    for folder in ("stage", "spill"):
        below = job.out.run_directory / folder
        below.mkdir(exist_ok=True)
        (below / "to-a-folder").symlink_to(precious)
        (below / "to-a-file").symlink_to(precious / "file")
        (below / "hard").hardlink_to(precious / "file")
        os.mkfifo(below / "pipe")
        (below / "deep").mkdir()
        (below / "deep" / "link").symlink_to(precious)
    go_on(job, halted).expect(0)
    assert (precious / "file").read_bytes() == VICTIM
    assert job.out.leftovers() == []


RUN_DIRECTORIES: dict[str, Plant] = {
    "link to a folder": lambda place, victim: place.symlink_to(victim.parent),
    "link to a run of ours": lambda place, _: place.symlink_to(place.parent.parent / "moved"),
    "file": lambda place, victim: shutil.copyfile(victim, place) and None,
    "pipe": a_pipe,
    "mode 0755": lambda place, _: shutil.copytree(place.parent.parent / "moved", place) and place.chmod(0o755),
    "mode 0777": lambda place, _: shutil.copytree(place.parent.parent / "moved", place) and place.chmod(0o777),
}


@pytest.mark.parametrize(
    "argv",
    [(), ("verify", "OUT"), ("status", "OUT")],
    ids=lambda argv: argv[0] if argv else "run",
)
def test_a_run_directory_that_others_could_have_made_is_refused(job: Job, halted: Job, argv: tuple[str, ...]) -> None:
    for kind, make in RUN_DIRECTORIES.items():
        shutil.rmtree(job.folder / "moved", ignore_errors=True)
        shutil.copytree(halted.out.run_directory, job.folder / "moved")
        remove(job.out.run_directory)
        victim, before = planted(job, job.out.run_directory, make)
        ran = go_on(job, halted, *(str(job.out.path) if word == "OUT" else word for word in argv))
        if argv[:1] == ("status",):  # anybody may look, and it only reads, no links, and so much
            assert ran.code in (0, 2), f"{kind}: {ran}"
        else:
            assert ran.code == 2, f"{kind}: {ran}"
            ran.names(".batchctl")
        assert picture(victim) == before, kind


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: no file can be given to another user")
@pytest.mark.parametrize("name", ["", "lock", "checkpoint.log", "attempts.csv", "../predictions.csv.partial"])
def test_what_belongs_to_another_user_is_refused(job: Job, halted: Job, name: str) -> None:
    os.chown(job.out.run_directory / name, 12345, 12345)
    go_on(job, halted).expect(2).names("belongs to user 12345")


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
def test_results_that_somebody_planted_stay(job: Job, halted: Job, kind: str) -> None:
    """A name that is to be the result is nobody's to replace; rows that are not ours are not gone on with."""
    plant = PLANTS.get(kind, a_hard_link)
    for name, codes in (("predictions.csv", (2, 7)), (PARTIAL, (2, 7))):
        out = job.folder / f"out-{name}"
        shutil.copytree(job.out.path, out)
        victim, before = planted(job, out / name, plant)
        ran = go_on(job, halted, "run", halted.code / "score.py", halted.inputs, "-o", out, *ONE)
        assert ran.code in codes, ran
        ran.names(name)
        assert picture(victim) == before
        assert os.path.lexists(out / name)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_the_temporary_name_of_the_result_is_made_anew(job: Job, halted: Job, kind: str) -> None:
    """What was left there by a finish that was cut off is removed; a folder cannot have been, and is left."""
    place = job.out.path / "predictions.csv.sorting"
    victim, before = planted(job, place, PLANTS[kind])
    ran = go_on(job, halted)
    assert picture(victim) == before
    assert ran.code in ((0, 74) if kind == "folder" else (0,)), ran
    if kind == "folder":
        assert (place / "mine").read_text() == "mine"


def test_a_guest_that_was_altered_is_replaced(job: Job, halted: Job) -> None:
    guest = job.out.run_directory / "guest.pyz"
    good = guest.read_bytes()
    guest.write_bytes(b"import os; os.mkdir('owned')\n")
    go_on(job, halted).expect(0)
    assert guest.read_bytes() == good
    assert not (job.folder / "owned").exists()


def test_an_output_folder_that_is_open_to_all_is_warned_of(job: Job, halted: Job) -> None:
    job.out.path.chmod(0o777)
    go_on(job, halted).expect(0).names("open to all users")


@pytest.mark.parametrize("mode", [0o1777, 0o775])
def test_an_output_folder_with_a_sticky_bit_is_not(tmp_path: Path, mode: int) -> None:
    job = Job(tmp_path / "job")
    job.script()
    job.items(1)
    job.out.path.mkdir()
    job.out.path.chmod(mode)
    assert b"open to all" not in job.run().expect(0).stderr


def planted(job: Job, place: Path, plant: Plant) -> tuple[Path, tuple[object, ...]]:
    """Put it there instead of what is there; the victim and how it looks now."""
    victim = job.folder / "victim" / "file"
    victim.parent.mkdir(exist_ok=True)
    victim.write_bytes(VICTIM)
    os.utime(victim, ns=(10**18, 10**18))
    remove(place)
    plant(place, victim)
    return victim, picture(victim)


def picture(path: Path) -> tuple[object, ...]:
    found = path.stat()
    return (path.read_bytes(), found.st_mtime_ns, found.st_mode, found.st_nlink)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
