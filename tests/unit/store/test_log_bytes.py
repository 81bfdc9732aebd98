"""The bytes of a log in blocks: every slice, and that what is not yet durable is held from its first reading on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from batchctl.files import RealDisk
from batchctl.store import log_bytes
from batchctl.store.log_bytes import LogBytes

CONTENT = bytes(random.Random(1).randbytes(100))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(log_bytes, "_BLOCK", 16)
    path = tmp_path / "log"
    path.write_bytes(CONTENT)
    return path


def test_every_slice(file: Path) -> None:
    with RealDisk().open_read(file) as source:
        data = LogBytes(source)
        assert len(data) == len(CONTENT)
        for durable in (0, 40, 100):
            data.keep_from(durable)
            for low in range(len(CONTENT) + 1):
                for high in range(len(CONTENT) + 3):
                    assert data[low:high] == CONTENT[low:high], (durable, low, high)
        assert data[:] == CONTENT


@pytest.mark.parametrize(("durable", "fresh"), [(0, 0), (15, 0), (16, 16), (47, 32), (100, 96)])
def test_what_is_durable_is_read_again_and_the_rest_is_held(file: Path, durable: int, fresh: int) -> None:
    with RealDisk().open_read(file) as source:
        data = LogBytes(source)
        assert data[0:100] == CONTENT
        data.keep_from(durable)
        file.write_bytes(bytes(100))  # as a page cache that has lost what never reached the disk
        assert data[0:100] == bytes(fresh) + CONTENT[fresh:]


def test_what_is_held_does_not_grow_with_what_is_durable(file: Path) -> None:
    with RealDisk().open_read(file) as source:
        data = LogBytes(source)
        for at in range(0, 100, 10):
            assert data[at : at + 10] == CONTENT[at : at + 10]
            data.keep_from(at)
            assert len(data._held) <= 2
