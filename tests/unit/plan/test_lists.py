"""Lines of a list as paths: which are taken as they are, where windows cut, and repeats."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchctl.errors import UsageError
from batchctl.plan import lists
from batchctl.plan.inputs import InputRequest, Listing
from batchctl.plan.lists import PathList, absolute
from tests.unit.plan.trees import grow, image_of

ABSOLUTE = {
    b"a": b"/here/a",
    b"./a//b/.": b"/here/a/b",
    b"//x": b"/x",
    b"/x/": b"/x",
    b"a..b": b"/here/a..b",
}


@pytest.mark.parametrize("given", ABSOLUTE)
def test_absolute(given: bytes) -> None:
    assert absolute(given, folder=b"/here") == ABSOLUTE[given]


def test_dotdot_is_resolved_through_links(tmp_path: Path) -> None:
    grow(tmp_path, "far/deep/x", "far/y")
    os.symlink("far/deep", tmp_path / "link")
    assert absolute(b"link/../y", folder=os.fsencode(tmp_path)) == os.fsencode(tmp_path / "far" / "y")


def list_lines(content: bytes) -> list[bytes]:
    return [line for block in PathList(content, folder=b"/here").blocks() for line in block.written]


def test_list_lines() -> None:
    assert list(list_lines(b"a\n\n b \r\n \r\n")) == [b"a", b" b "]
    assert list(list_lines(b"a\nb\0c\0a\r\0")) == [b"a\nb", b"c", b"a\r"]
    assert list(list_lines(b"")) == []


def test_absolute_lines_are_taken_as_they_are_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = [b"/a/b", b"/c", b"/a/b c"]
    for odd, meant in {
        b"x": b"/here/x",
        b"/a//b": b"/a/b",
        b"/a/./b": b"/a/b",
        b"/a/.b": b"/a/.b",
        b"/a/": b"/a",
        b"/a\r": b"/a",
        b" ": None,
        b"": None,
    }.items():
        for at in range(4):
            lines = [*plain[:at], odd, *plain[at:]]
            expected = [line for line in [*plain[:at], meant, *plain[at:]] if line is not None]
            for window in (1, 9, 1000):
                monkeypatch.setattr(lists, "_WINDOW", window)
                for end in (b"", b"\n"):
                    found = PathList(b"\n".join(lines) + end, folder=b"/here")
                    for _ in range(2):
                        assert [path for block in found.blocks() for path in block.paths] == expected, (odd, at)


@pytest.mark.parametrize("buckets", [1, 3, 256])
def test_repeats_far_apart_in_unsorted_lists(tmp_path: Path, buckets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_BUCKETS", buckets)
    monkeypatch.setattr(lists, "_WINDOW", 20)
    names = [f"{n * 7 % 50:03d}" for n in range(50)]
    grow(tmp_path, *names)
    for lines, dropped in ((names, 0), ([*names, names[3], *sorted(names)], 51), ([*sorted(names), "000"], 1)):
        image = image_of(tmp_path, "-", piped={"-": "\n".join(lines).encode()})
        assert (image.items, image.findings.duplicates) == (50, dropped)
        (tmp_path / "list.txt").write_text("\n".join(lines))
        assert b"".join(image_of(tmp_path, "@list.txt").chunks())[128:] == b"".join(image.chunks())[128:]


def test_list_lines_across_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for window in range(1, 12):
        monkeypatch.setattr(lists, "_WINDOW", window)
        for content in (b"abc\nde\n\nfghij\nk", b"abc\nde\n\nfghij\nk\n"):
            assert list(list_lines(content)) == [b"abc", b"de", b"fghij", b"k"]


def test_a_list_that_comes_through_a_pipe(tmp_path: Path) -> None:
    grow(tmp_path, "a", "b")
    os.mkfifo(tmp_path / "list")
    given = f"@{tmp_path / 'list'}"
    assert image_of(tmp_path, given, piped={given: b"b\na\n"}).items == 2
    with pytest.raises(UsageError, match="only once"):
        image_of(tmp_path, given)


def test_a_list_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, *"abc")
    path = tmp_path / "list.txt"
    path.write_text("a\nb\n")
    listing = Listing(InputRequest(("@list.txt",), folder=tmp_path))
    stretches = listing.stretches()
    next(stretches)
    path.write_text("a\nb\nc\n")
    with pytest.raises(UsageError, match="changed while it was read"):
        list(stretches)
