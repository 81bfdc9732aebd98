"""A file that is cut short, half copied or damaged says so and unpacks nothing: exit 70."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.binary.packaged import DAMAGED, FOOTER, FULL, Packaged, Ran, count, footer_of

REMEDY = "copy it again"


@pytest.fixture(scope="module")
def copy(packaged_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy to damage; every test puts it back as it was."""
    path = tmp_path_factory.mktemp("damage") / "batchctl"
    shutil.copy2(packaged_file, path)
    yield path
    path.unlink()


@pytest.fixture
def damaged(copy: Path, cold: Packaged, packaged_file: Path) -> Iterator[Packaged]:
    yield Packaged(copy, cold.cache, cold.home)
    if copy.stat().st_size != packaged_file.stat().st_size:
        shutil.copy2(packaged_file, copy)


def flip(path: Path, offset: int, *, bit: int = 1) -> None:
    """Change one byte in place; the same again changes it back."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ bit]))


def refuses(damaged: Packaged, what: str) -> Ran:
    ran = damaged.run("--version")
    assert ran.code == DAMAGED, f"{what}: {ran}"
    assert ran.stdout == ""
    assert REMEDY in ran.stderr, f"{what}: {ran}"
    assert str(damaged.path) in ran.stderr, f"{what}: {ran}"
    assert not damaged.cache.exists(), f"{what}: nothing is written before the file is known to be whole"
    return ran


def test_an_undamaged_copy_runs(damaged: Packaged) -> None:
    damaged.run("--version").expect(0)


@pytest.mark.slow
@pytest.mark.timeout(600 if FULL else 120)
def test_a_flipped_byte_anywhere_in_the_payload(damaged: Packaged, packaged_file: Path) -> None:
    footer, dice = footer_of(packaged_file), random.Random(70)
    ends = [0, 1, 4, 5, footer.length // 2, footer.length - 4, footer.length - 1]
    total = count(short=30, full=200)
    for place in [*ends, *(dice.randrange(footer.length) for _ in range(total - len(ends)))]:
        bit = 1 << dice.randrange(8)
        flip(damaged.path, footer.offset + place, bit=bit)
        refuses(damaged, f"bit {bit} of the payload's byte {place}")
        flip(damaged.path, footer.offset + place, bit=bit)


@pytest.mark.slow
def test_a_flipped_byte_anywhere_in_the_footer(damaged: Packaged, packaged_file: Path) -> None:
    size = packaged_file.stat().st_size
    step = 1 if FULL else 8
    for place in range(0, FOOTER.size, step):
        flip(damaged.path, size - FOOTER.size + place)
        refuses(damaged, f"byte {place} of the footer")
        flip(damaged.path, size - FOOTER.size + place)


def test_a_flipped_byte_of_the_launcher(damaged: Packaged, packaged_file: Path) -> None:
    place = footer_of(packaged_file).offset - 1  # of the section headers, which nothing reads when it runs
    flip(damaged.path, place)
    refuses(damaged, "the launcher's last byte")
    flip(damaged.path, place)


def test_a_flipped_byte_is_no_reason_to_try_another_root(
    damaged: Packaged, warm: Packaged, packaged_file: Path
) -> None:
    # The next root holds a good tree of this very build; running it without a word would hide the damage.
    env = {"XDG_CACHE_HOME": str(warm.cache.parent)}
    place = footer_of(packaged_file).offset + 1000
    flip(damaged.path, place)
    ran = damaged.run("--version", env=env)
    flip(damaged.path, place)
    ran.expect(DAMAGED, REMEDY)
    assert not damaged.cache.exists()


def cut_to(size: int) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        os.truncate(path, size if size > 0 else path.stat().st_size + size)

    return harm


def zeros_from_the_middle(path: Path) -> None:
    """What a copy into a file of full length leaves when it is cut off: the rest is a hole."""
    size = path.stat().st_size
    os.truncate(path, size // 2)
    os.truncate(path, size)


def zeros_in_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(4096))


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def without_its_end(path: Path) -> None:
    os.truncate(path, footer_of(path).offset)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(cut_to(-1), id="last byte missing"),
        pytest.param(cut_to(-255), id="most of the footer missing"),
        pytest.param(cut_to(-256), id="footer missing"),
        pytest.param(cut_to(-257), id="footer and a byte missing"),
        pytest.param(cut_to(-(1 << 20)), id="last MiB missing"),
        pytest.param(cut_to(32 << 20), id="cut at 32 MiB"),
        pytest.param(cut_to(8 << 20), id="cut at 8 MiB"),
        pytest.param(without_its_end, id="the launcher alone"),
        pytest.param(zeros_from_the_middle, id="half copied, full length"),
        pytest.param(zeros_in_the_middle, id="a page of zeros"),
        pytest.param(longer, id="a byte too many"),
    ],
)
def test_a_file_that_is_not_whole(damaged: Packaged, packaged_file: Path, harm: Callable[[Path], None]) -> None:
    try:
        harm(damaged.path)
        refuses(damaged, "not whole")
    finally:
        shutil.copy2(packaged_file, damaged.path)


def test_a_file_cut_short_does_not_run_from_a_warm_cache_either(damaged: Packaged, warm: Packaged) -> None:
    os.truncate(damaged.path, damaged.path.stat().st_size - 1000)
    cut = Packaged(damaged.path, warm.cache, warm.home)
    cut.run("--version").expect(DAMAGED, REMEDY)
