"""What the fork server hears of the copy of it that imports."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from batchctl.guest import preload

HEARD = {
    "all done": (b'{"begins": "a"}\n{"begins": "b"}\n{"done": true}\n', None),
    "refused": (b'{"begins": "a"}\n{"refused": ["a", "threads"]}\n', ("a", "threads")),
    "silent": (b'{"begins": "a"}\n{"begins": "b"}\n', ("b", "it is not imported after 0 s")),
    "silent from the first": (b"", ("", "it is not imported after 0 s")),
    "half a line": (b'{"begins": "a"}\n{"done"', ("a", "it is not imported after 0 s")),
}


@pytest.fixture
def child() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("case", HEARD)
def test_hear(monkeypatch: pytest.MonkeyPatch, child: int, case: str) -> None:
    said, expected = HEARD[case]
    monkeypatch.setattr(preload, "PATIENCE_S", 0)
    monkeypatch.setattr(preload, "_LOOK_MS", 10)
    read_fd, write_fd = os.pipe()
    os.write(write_fd, said)
    try:
        assert preload._hear(read_fd, child) == expected
    finally:
        os.close(read_fd)
        os.close(write_fd)
