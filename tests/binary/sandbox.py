"""Commands in a root of their own: the machine's files with a layer above them that takes, and shows, every write.

    overlay( lower: /, upper: tmpfs ) + /proc, /dev as they are + fresh /dev/shm + file systems that the case mounts

What a command wrote, wherever on the machine, is in the upper layer; nothing reaches the machine, and the mount
namespace takes all mounts with it when it ends, however it ends. Needs root.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

INSIDE = Path(__file__).with_name("sandbox_inside.py")
LIMIT_S = 240.0


@dataclass(frozen=True, slots=True)
class Step:
    """One command in the sandbox. It ends by itself, or is sent `signal` at `after` (s), to its group if `group`.

    `until`: with a signal, wait first until this path exists. `beside`: start it so many times at once.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    uid: int = 0
    cwd: str = "/"
    signal: int = 0
    after: float = 0.0
    until: str = ""
    group: bool = False
    beside: int = 1


@dataclass(frozen=True, slots=True)
class Done:
    """How one start of a step ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    def expect(self, code: int, *words: str) -> Done:
        assert self.code == code, f"exit {self.code}, not {code}\n{self}"
        missing = [word for word in words if word not in self.stderr]
        assert not missing, f"{missing} not said by\n{self}"
        return self

    def __str__(self) -> str:
        return f"exit {self.code} after {self.seconds:.2f} s\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


@dataclass(frozen=True, slots=True)
class Written:
    """A file, folder or link that is in the upper layer (or on a file system that the case mounted) at the end."""

    kind: str
    mode: int
    uid: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All starts in order, and what was written, by absolute path as seen inside."""

    done: tuple[Done, ...]
    written: Mapping[str, Written]

    @property
    def only(self) -> Done:
        (found,) = self.done
        return found

    def files(self, *, outside: Sequence[str] = ()) -> list[str]:
        """Paths of files and links written, except below `outside`."""
        return [
            path
            for path, what in self.written.items()
            if what.kind != "d" and not any(path == folder or path.startswith(folder + "/") for folder in outside)
        ]

    def trees(self, build_id: str) -> list[str]:
        """Folders that hold a tree's manifest."""
        tail = f"/{build_id}/MANIFEST"
        return [path.removesuffix(tail) for path in self.written if path.endswith(tail)]


@functools.cache
def unavailable() -> str:
    """Why there can be no sandbox here; "" where there can."""
    if os.geteuid() != 0:
        return "not root (mounts)"
    try:
        play(steps=[Step(("/bin/true",))])
    except (OSError, RuntimeError) as error:
        return f"no overlay in a mount namespace here: {str(error).splitlines()[-1]}"
    return ""


def require() -> None:
    """Skip the test where there can be no sandbox."""
    if unavailable():
        pytest.skip(unavailable())


def play(
    *,
    steps: Sequence[Step],
    prepare: str = "",
    mounts: Mapping[str, str] = {},
    proc: bool = True,
) -> Outcome:
    """Run `prepare` (shell) and the steps in a new sandbox. `mounts`: path to options of a tmpfs put there first.

    Whatever `prepare` makes is not among what was written. Raises RuntimeError where the sandbox cannot be made.
    """
    plan = {
        "mounts": dict(mounts),
        "prepare": prepare,
        "proc": proc,
        "steps": [asdict(step) for step in steps],
    }
    words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-I", str(INSIDE)]
    done = subprocess.run(words, input=json.dumps(plan), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the sandbox failed: {done.stderr.strip() or done.returncode}")
    said: dict[str, Any] = json.loads(done.stdout)
    return Outcome(
        tuple(Done(**each) for each in said["done"]),
        {path: Written(*what) for path, what in said["written"].items()},
    )
