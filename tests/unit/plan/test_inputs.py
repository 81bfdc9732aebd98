"""What becomes an item, and in which order: real files, named cases."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchctl.errors import UsageError
from tests.unit.plan.trees import DIRECTORY, PATH, grow, image_of, planned, relative

ORDER_CASES = {
    "files by bytes": (["b", "a", "B", "a1"], ["B", "a", "a1", "b"]),
    "a folder sorts as if it ended in a slash": (["a/x", "a.txt", "a-b", "a0"], ["a-b", "a.txt", "a/x", "a0"]),
    "folder before, between and behind files": (["b/1", "a", "c", "d/2"], ["a", "b/1", "c", "d/2"]),
    "nested": (["a/b/c", "a/b.x", "a/a", "z"], ["a/a", "a/b.x", "a/b/c", "z"]),
    "hidden, marker and empty files count": ([".DS_Store", "_SUCCESS", "x"], [".DS_Store", "_SUCCESS", "x"]),
    "only in sub-folders": (["a/b/c/d/e"], ["a/b/c/d/e"]),
}


@pytest.mark.parametrize("case", ORDER_CASES)
def test_path_order(tmp_path: Path, case: str) -> None:
    names, expected = ORDER_CASES[case]
    grow(tmp_path / "in", *names)
    assert relative(planned(tmp_path, "in", file=tmp_path / "plan"), tmp_path / "in") == expected


def test_directory_order_has_files_before_sub_folders(tmp_path: Path) -> None:
    grow(tmp_path / "in", "b/1", "a", "z", "b/a/0", "b/2", "b.d/5")
    found = planned(tmp_path, "in", file=tmp_path / "plan", grouping=DIRECTORY)
    assert relative(found, tmp_path / "in") == ["a", "z", "b.d/5", "b/1", "b/2", "b/a/0"]


ODD_NAMES = {
    "space": b"a b",
    "newline": b"a\nb",
    "escape": b"\x1b[31mred",
    "not UTF-8": b"\xff\xfe\x80",
    "255 bytes": b"x" * 255,
    "quotes": b"'\"`$(rm)",
    "backslash": b"a\\nb",
    "leading dash": b"-rf",
    "unicode": "日本語é".encode(),
    "only dots": b"...",
}


@pytest.mark.parametrize("case", ODD_NAMES)
def test_odd_names_come_through(tmp_path: Path, case: str) -> None:
    name = ODD_NAMES[case]
    grow(tmp_path / "in", name, name + b"d/" + name if len(name) < 200 else b"d/" + name)
    found = planned(tmp_path, "in", file=tmp_path / "plan")
    assert len(found) == 2
    assert os.fsencode(tmp_path / "in") + b"/" + name in found


def test_only_regular_files_and_links_to_them(tmp_path: Path) -> None:
    root = grow(tmp_path / "in", "real", "sub/inner")
    os.mkfifo(root / "pipe")
    os.symlink("real", root / "link")
    os.symlink("nowhere", root / "dangling")
    os.symlink("circle", root / "circle")
    os.symlink("sub", root / "way")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(root)  # the path of a socket may only have 108 bytes
        bound.bind("sock")
        os.chdir(here)
        image = image_of(tmp_path, "in")
    assert image.items == 4  # real, link, sub/inner, way/inner
    assert image.findings.special.count == 2
    assert image.findings.dangling.count == 2
    assert any("dangling" in line for line in image.findings.warnings())


LOOPS = {"itself": ".", "parent": "..", "above the input": "../..", "root of all": "/"}


@pytest.mark.parametrize("case", LOOPS)
def test_a_loop_is_reported_and_not_walked(tmp_path: Path, case: str) -> None:
    root = grow(tmp_path / "in", "a", "sub/b")
    os.symlink(LOOPS[case], root / "sub" / "loop")
    image = image_of(tmp_path, "in")
    assert image.items == 2
    assert image.findings.loops.first == [os.fsencode(root / "sub" / "loop")]
    assert "sub/loop" in image.findings.warnings()[0]


def test_two_links_at_each_other(tmp_path: Path) -> None:
    root = grow(tmp_path / "in", "a/1", "b/2")
    os.symlink("../b", root / "a" / "to_b")
    os.symlink("../a", root / "b" / "to_a")
    found = planned(tmp_path, "in", file=tmp_path / "plan")
    assert relative(found, root) == ["a/1", "a/to_b/2", "b/2", "b/to_a/1"]


FILTER_CASES = {
    "base name at any depth": (("*.txt",), (), ["a.txt", "d/b.txt", "d/e/c.txt"]),
    "with a slash, the whole path": (("d/*.txt",), (), ["d/b.txt"]),
    "two stars": (("d/**/*.txt",), (), ["d/b.txt", "d/e/c.txt"]),
    "two stars at the end": (("d/**",), (), ["d/b.txt", "d/e/c.txt", "d/x.bin"]),
    "folder with a slash behind": (("d/e/",), (), ["d/e/c.txt"]),
    "two stars in front": (("**/*.bin",), (), ["d/x.bin"]),
    "exclude wins": (("*.txt",), ("a.*",), ["d/b.txt", "d/e/c.txt"]),
    "exclude a folder": ((), ("d/**",), ["a.txt"]),
    "question mark": (("?.txt",), ("d/**",), ["a.txt"]),
    "class": (("[ab].txt",), (), ["a.txt", "d/b.txt"]),
    "negated class": (("[!ab].txt",), (), ["d/e/c.txt"]),
    "several": (("*.bin", "a.txt"), (), ["a.txt", "d/x.bin"]),
    "everything": (("**",), (), ["a.txt", "d/b.txt", "d/e/c.txt", "d/x.bin"]),
}


@pytest.mark.parametrize("case", FILTER_CASES)
def test_filters(tmp_path: Path, case: str) -> None:
    include, exclude, expected = FILTER_CASES[case]
    grow(tmp_path / "in", "a.txt", "d/b.txt", "d/e/c.txt", "d/x.bin")
    found = planned(tmp_path, "in", file=tmp_path / "plan", include=include, exclude=exclude)
    assert relative(found, tmp_path / "in") == expected


GLOB_CASES = {
    "star": ("in/*.txt", ["a.txt"]),
    "star matches folders too, as a shell would": ("in/*", [".hid", "a.txt", "d/b.txt", "d/e/c.txt"]),
    "folder part": ("in/*/b.txt", ["d/b.txt"]),
    "two stars": ("in/**/*.txt", ["a.txt", "d/b.txt", "d/e/c.txt"]),
    "class": ("in/[a-b].txt", ["a.txt"]),
    "from the start": ("i?/a.txt", ["a.txt"]),
}


@pytest.mark.parametrize("case", GLOB_CASES)
def test_globs(tmp_path: Path, case: str) -> None:
    given, expected = GLOB_CASES[case]
    grow(tmp_path / "in", "a.txt", ".hid", "d/b.txt", "d/e/c.txt")
    for pattern in (given, str(tmp_path / given)):
        assert relative(planned(tmp_path, pattern, file=tmp_path / "plan"), tmp_path / "in") == expected


def test_an_existing_name_wins_over_the_glob(tmp_path: Path) -> None:
    grow(tmp_path, "[ab].txt", "a.txt")
    assert relative(planned(tmp_path, "[ab].txt", file=tmp_path / "plan"), tmp_path) == ["[ab].txt"]


def test_lists_keep_their_order_and_drop_repeats(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a", "b", b"new\nline")
    one, two = os.fsencode(tmp_path / "in" / "b"), b"in/a"
    by_line = tmp_path / "list.txt"
    by_line.write_bytes(one + b"\n\n" + two + b"\r\n  \n./in/b\n" + two)
    assert relative(planned(tmp_path, "@list.txt", file=tmp_path / "plan"), tmp_path / "in") == ["b", "a"]
    by_nul = one + b"\0in/new\nline\0" + one + b"\0"
    for given in ("-", "@-"):
        found = planned(tmp_path, given, file=tmp_path / "plan", piped={given: by_nul})
        assert relative(found, tmp_path / "in") == ["b", "new\nline"]


def test_a_list_in_directory_grouping_gathers_folders(tmp_path: Path) -> None:
    grow(tmp_path, "x/1", "y/1", "x/2")
    found = planned(tmp_path, "-", file=tmp_path / "plan", grouping=DIRECTORY, piped={"-": b"y/1\nx/2\ny/1\nx/1\n"})
    assert relative(found, tmp_path) == ["y/1", "x/2", "x/1"]
    assert image_of(tmp_path, "x/1", "y/1", "x/2", grouping=DIRECTORY).batches == 2


def test_several_inputs_keep_first_mention(tmp_path: Path) -> None:
    grow(tmp_path, "in/a", "in/b", "in/sub/c", "other/d")
    found = planned(tmp_path, "in/b", "in", "other", "in", "in/sub", "in/a", file=tmp_path / "plan")
    assert relative(found, tmp_path) == ["in/b", "in/a", "in/sub/c", "other/d"]
    image = image_of(tmp_path, "in/b", "in", "in/sub")
    assert (image.items, image.findings.duplicates) == (3, 2)


def test_out_inside_input_is_left_out_and_said(tmp_path: Path) -> None:
    grow(tmp_path / "in", "a", "out/predictions.csv", "out/.batchctl/plan")
    image = image_of(tmp_path, "in", out=tmp_path / "in" / "out")
    assert image.items == 1
    assert "left out" in image.findings.notes()[0]


def refusals(root: Path) -> dict[str, tuple[tuple[str, ...], dict[str, object], str]]:
    grow(root, "in/a", "empty/", "has/missing_list")
    (root / "list").write_text("in/a\nin/typo\nin/other\n")
    (root / "folders").write_text("in\n")
    os.mkfifo(root / "pipe")
    os.symlink("in", root / "way")
    return {
        "missing": (("nope",), {}, "No such file"),
        "empty folder": (("empty",), {}, "no input items"),
        "all filtered": (("in",), {"include": ("*.png",)}, "include '*.png'"),
        "glob without a match": (("in/*.png",), {}, "matches no item"),
        "glob in no folder": (("gone/*",), {}, "does not exist"),
        "list with a typo": (("@list",), {}, "in/typo"),
        "list with a folder": (("@folders",), {}, "not regular"),
        "list missing": (("@none",), {}, "list cannot be read"),
        "no standard input": (("-",), {}, "standard input"),
        "a FIFO": (("pipe",), {}, "neither"),
        "OUT is INPUT": (("in",), {"out": root / "in"}, "output folder"),
        "OUT is INPUT through a link": (("way",), {"out": root / "in"}, "output folder"),
        "INPUT in OUT": (("in",), {"out": root}, "output folder"),
        "file in OUT": (("in/a",), {"out": root / "in"}, "output folder"),
        "bad class": (("in",), {"include": ("[z-a]",)}, "glob '[z-a]'"),
        "below a file": (("in/a/b",), {}, "Not a directory"),
    }


@pytest.mark.parametrize("grouping", [PATH, DIRECTORY])
def test_refusals_name_what_is_wrong(tmp_path: Path, grouping: object) -> None:
    for case, (inputs, request, expected) in refusals(tmp_path).items():
        with pytest.raises(UsageError) as caught:
            image_of(tmp_path, *inputs, grouping=grouping, **request)
        said = f"{caught.value.where}: {caught.value.message} {caught.value.remedy}"
        assert expected in said, case
        assert caught.value.where, case
        assert caught.value.exit_code == 2


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A scratch folder that any user may enter; pytest's own are for their owner alone."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        yield Path(scratch)


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o400])
def test_an_unreadable_folder_is_refused_by_name(open_folder: Path, mode: int) -> None:
    locked = grow(open_folder / "in", "a", "locked/b") / "locked"
    locked.chmod(mode)
    child = os.fork()
    if child == 0:  # root reads everything, so the child gives root up
        said = "not even started"
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            try:
                image_of(open_folder, "in")
                said = "not refused"
            except UsageError as error:
                named = error.where == str(locked) and "--exclude" in error.remedy
                without = image_of(open_folder, "in", exclude=("locked/**",))
                said = "" if named and without.items == 1 else f"{error.where} {error.remedy} {without.items}"
        finally:
            if said:
                os.write(2, said.encode())
            os._exit(bool(said))
    status = os.waitpid(child, 0)[1]
    locked.chmod(0o755)
    assert status == 0


def test_deeper_than_the_recursion_limit(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        Path("x").touch()
    finally:
        os.chdir(here)
    try:
        assert image_of(tmp_path, "d").items == 1
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # shutil.rmtree recurses


def test_a_path_too_long_to_open_is_refused(tmp_path: Path) -> None:
    here, folder = Path.cwd(), "f" * 250
    os.chdir(tmp_path)
    try:
        for _ in range(15):
            os.mkdir(folder)
            os.chdir(folder)
        Path("x" * 255).touch()
        for _ in range(2):
            os.mkdir(folder)
            os.chdir(folder)
    finally:
        os.chdir(here)
    with pytest.raises(UsageError, match=r"longer than|too long"):
        image_of(tmp_path, folder)


def test_a_link_into_a_circle_of_two_is_named(tmp_path: Path) -> None:
    root = grow(tmp_path / "in", "a")
    os.symlink("two", root / "one")
    os.symlink("one", root / "two")
    assert sorted(image_of(tmp_path, "in").findings.dangling.first) == [
        os.fsencode(root / "one"),
        os.fsencode(root / "two"),
    ]


# name: how many sizes without being asked, a preview, files of two folders -> recorded, would not be
SIZED = {
    "few enough": (5, False, (2, 3), True, False),
    "too many": (2, False, (3, 2), False, True),
    "too many, but shown": (2, True, (3, 2), True, True),
    "few, and shown": (5, True, (2, 3), True, False),
    "no limit": (None, False, (3, 2), True, False),
}


@pytest.mark.parametrize("case", SIZED)
def test_sizes_are_looked_at_up_to_a_number(tmp_path: Path, case: str) -> None:
    limit, preview, counts, sized, unsized = SIZED[case]
    for folder, count in zip("ab", counts, strict=True):
        grow(tmp_path / "in", *(f"{folder}/{n}" for n in range(count)), content=b"xy")
    image = image_of(tmp_path, "in", sizes_up_to=limit, preview=preview)
    assert (image.sized, image.findings.unsized) == (sized, unsized)
    assert image.total_bytes == (2 * sum(counts) if sized else 0)
