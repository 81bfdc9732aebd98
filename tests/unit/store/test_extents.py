"""Damaged rows are found, whatever the order in which they are looked at, and no more is read than a few times all."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from batchctl.files import RealDisk
from batchctl.handles import ReadFile
from batchctl.store import extents
from batchctl.store.extents import damaged
from batchctl.store.ledger import Extent


class Counting:
    """A `ReadFile` that notes how much was read."""

    def __init__(self, file: ReadFile) -> None:
        self._file, self.size, self.read = file, file.size, 0

    def pread(self, offset: int, length: int) -> bytes:
        self.read += length
        return self._file.pread(offset, length)

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *_: object) -> None:
        """The file is the test's."""


@pytest.mark.parametrize("held", [1, 4])
def test_every_damaged_extent_in_any_order(held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "BLOCK", 64)
    monkeypatch.setattr(extents, "_WINDOW", 100)
    monkeypatch.setattr(extents, "_HELD", held)
    dice = random.Random(held)
    content = dice.randbytes(3000)
    path = tmp_path / "rows"
    path.write_bytes(content)
    found, at = [], 0
    while at < len(content):
        length = min(dice.choice((0, 1, 7, 30, 64, 65, 230)), len(content) - at)
        found.append(Extent(len(found), 1, at, length, zlib.crc32(content[at : at + length])))
        at += length
    bad = set(dice.sample([one.first for one in found if one.length], 9))
    told = [one._replace(crc=one.crc ^ 1) if one.first in bad else one for one in found]
    told.append(Extent(len(told), 1, len(content) - 1, 2, 0))  # ends behind the file
    told.append(Extent(len(told), 1, len(content) + 500, 2, 0))
    with RealDisk().open_read(path) as rows:
        for _ in range(20):
            dice.shuffle(told)
            assert {one.first for one in damaged(rows, told)} == {*bad, len(told) - 2, len(told) - 1}


def test_two_streams_that_lie_far_apart_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "BLOCK", 64)
    row = b"0123456789abcdef"
    path = tmp_path / "rows"
    path.write_bytes(row * 2000)
    woven = [place for pair in zip(range(1000), range(1000, 2000), strict=True) for place in pair]
    with RealDisk().open_read(path) as file:
        rows = Counting(file)
        assert not list(damaged(rows, (Extent(n, 1, n * 16, 16, zlib.crc32(row)) for n in woven)))
        assert rows.read == rows.size
