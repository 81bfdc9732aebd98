"""A lock whose holder was killed a moment ago is waited for; one that somebody has is refused at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from batchctl.errors import RunLockedError
from batchctl.run import taking
from batchctl.run.taking import is_dead, take
from batchctl.store.lock import this_process


class Door:
    """A lock that is refused so many times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.tried = 0
        self.held = False

    def lock(self) -> AbstractContextManager[None]:
        return self._lock()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.tried += 1
        if self.tried <= self.refusals:
            raise RunLockedError("held")
        self.held = True
        yield
        self.held = False


def test_what_is_free_is_taken_and_given_back() -> None:
    door = Door(0)
    with ExitStack() as held:
        take(held, door.lock, is_left=lambda: pytest.fail("nobody has it"))
        assert door.held
    assert not door.held


def test_what_a_dead_process_has_left_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_PATIENCE_S", 60.0)
    door = Door(3)
    with ExitStack() as held:
        take(held, door.lock, is_left=lambda: True)
        assert (door.held, door.tried) == (True, 4)


def test_what_somebody_has_is_refused_at_once() -> None:
    door = Door(1)
    with ExitStack() as held, pytest.raises(RunLockedError):
        take(held, door.lock, is_left=lambda: False)
    assert door.tried == 1


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "_PATIENCE_S", 1.0)
    door = Door(10**9)
    with ExitStack() as held, pytest.raises(RunLockedError):
        take(held, door.lock, is_left=lambda: True)
    assert door.tried > 1


def test_who_is_dead() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = this_process()
    dead = here._replace(pid=gone.pid)
    assert is_dead(dead)
    for other in (here, here._replace(pid=os.getppid()), here._replace(pid=-1), here._replace(pid=10**12), None):
        assert not is_dead(other)
    assert not is_dead(dead._replace(host="elsewhere"))
    assert not is_dead(dead._replace(boot_id="another"))
