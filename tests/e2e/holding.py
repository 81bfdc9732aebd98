"""A job whose script holds one item in its hands, so that a test can change the file exactly then."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.driver import Job

HELD_ITEM = "item002.txt"


@dataclass
class Held:
    """The script's side is tests/scripts/held.py. `attempts`: how often it has held the item so far."""

    job: Job
    attempts: int = 0
    lets_go: bool = True  # False: the script is killed while it holds the item
    errors: list[BaseException] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.job.folder / "held"

    @property
    def item(self) -> Path:
        return self.job.inputs / HELD_ITEM

    @contextmanager
    def changing(self, change: Callable[[Path], object], *, times: int) -> Iterator[None]:
        """In this block the first `times` attempts at the item find it changed under their hands. All of them must
        have come about by the end of the block."""
        (self.folder / "armed").touch()
        thread = threading.Thread(target=self._change, args=(change, times))
        thread.start()
        try:
            yield
        finally:
            if thread.is_alive():  # the run ended before: let the thread out of its FIFO
                with open(os.open(self.folder / "reading", os.O_RDWR), "wb", buffering=0) as reading:
                    reading.write(b"over")
            thread.join()
        assert not self.errors, self.errors
        assert self.attempts == times

    def _change(self, change: Callable[[Path], object], times: int) -> None:
        try:
            for number in range(times):
                if (self.folder / "reading").read_text() != HELD_ITEM:
                    return
                self.attempts += 1
                change(self.item)
                if number == times - 1:
                    (self.folder / "armed").unlink()
                if not self.lets_go:
                    return
                (self.folder / "go").write_text("on")
        except BaseException as error:  # shown by the test
            self.errors.append(error)


def held(job: Job, *, mode: str = "reads") -> Held:
    """A job with such a script."""
    found = Held(job)
    found.folder.mkdir()
    for name in ("reading", "go"):
        os.mkfifo(found.folder / name)
    job.script("held", HELD=found.folder, HELD_ITEM=HELD_ITEM, HELD_MODE=mode)
    return found
