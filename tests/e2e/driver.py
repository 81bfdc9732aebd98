"""The real command in a subprocess, and what it left behind as data.

Every run is checked for what must never happen: an internal error, a frame of ours in a traceback, an ESC byte on a
stream that is no terminal, a process that stays behind.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The command under test: from source, or the packaged file that BATCHCTL_BINARY_E2E names (tests/binary/test_e2e.py).
BINARY = os.environ.get("BATCHCTL_BINARY_E2E", "")
COMMAND = [BINARY] if BINARY else [sys.executable, "-m", "batchctl"]
REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "tests" / "scripts"
LIMIT_S = 60.0
MARK = "BATCHCTL_E2E_MARK"
OUR_FRAME = re.compile(
    rb'File "[^"\n]*(?:guest\.pyz'
    rb"|/batchctl/(?:cli|run|spec|plan|engine|store|report|node|dispatch|model|files|processes))"
)
_numbers = itertools.count()


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """Standard output as one JSON object."""
        return json.loads(self.stdout)

    @property
    def lines(self) -> list[Any]:
        """Standard output as one JSON object a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def names(self, *words: str) -> None:
        """The message (either stream) names each of these."""
        said = (self.stdout + self.stderr).decode(errors="replace")
        missing = [word for word in words if word not in said]
        assert not missing, f"{missing} not named by\n{self}"

    def remedied(self) -> None:
        """The error ends with what to type or do; problems of a spec carry theirs, which check --json shows."""
        in_spec = self.stderr.startswith(b"batchctl: error: the job spec has ")
        assert in_spec or b"\n  fix: " in self.stderr, f"no remedy:\n{self}"

    def expect(self, code: int) -> Ran:
        assert self.code == code, f"exit {self.code}, not {code}\n{self}"
        return self

    def __str__(self) -> str:
        out, err = (s[-6000:].decode(errors="backslashreplace") for s in (self.stdout, self.stderr))
        head = f"$ {' '.join(self.argv)}\nexit {self.code} after {self.seconds:.2f} s"
        return f"{head}\n--- stdout\n{out}\n--- stderr\n{err}"


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = 20.0) -> Any:
    """Poll until the condition holds; returns its value."""
    deadline = time.monotonic() + seconds
    late = False
    while not (found := condition()):
        assert not late, f"waited {seconds:g} s in vain for {what}"
        late = time.monotonic() >= deadline  # then one more look: this process may have been stopped meanwhile
        time.sleep(0.01)
    return found


def carriers(variable: str, value: str) -> list[int]:
    """Pids of live processes whose environment carries this variable."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                environment = Path("/proc", entry.name, "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted in environment:
                found.append(int(entry.name))
    return found


class PidFd:
    """A process of ours that has not been reaped, to wait for with a limit."""

    def __init__(self, pid: int) -> None:
        self._fd = os.pidfd_open(pid)

    def wait(self, seconds: float) -> bool:
        """Has it ended within so many seconds?"""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        os.close(self._fd)


class Started:
    """A command that is under way."""

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes], streams: Path, mark: str) -> None:
        self.argv = tuple(argv)
        self.process = process
        self._streams = streams
        self._mark = mark
        self._began = time.monotonic()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self, *, limit: float = LIMIT_S) -> Ran:
        """Wait for it and look at what it leaves."""
        # Popen.wait with a limit polls, which costs every test of this folder some hundredths of a second.
        in_time = not self.alive()  # and reaped, by a signal that came too late: its pid is nobody's, or a stranger's
        if not in_time:
            with contextlib.closing(PidFd(self.process.pid)) as watched:
                in_time = watched.wait(limit)
        if not in_time:
            self.kill()
            raise AssertionError(f"not ended after {limit:g} s:\n{self._ran(-1)}")
        code = self.process.wait()
        ran = self._ran(code)
        assert code != 1, f"an internal error:\n{ran}"
        assert not OUR_FRAME.search(ran.stdout + ran.stderr), f"a traceback of ours:\n{ran}"
        assert b"\x1b" not in ran.stdout + ran.stderr, f"an ESC byte:\n{ran}"
        wait_for(lambda: not carriers(MARK, self._mark), "the processes of the run to be gone")
        return ran

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _ran(self, code: int) -> Ran:
        stdout, stderr = ((self._streams / name).read_bytes() for name in ("stdout", "stderr"))
        return Ran(self.argv, code, stdout, stderr, time.monotonic() - self._began)


@dataclass
class Out:
    """An output folder."""

    path: Path

    @property
    def home(self) -> Path:
        """OUT's part of the run directory: all of it, unless there is a state directory."""
        return self.path / ".batchctl"

    @property
    def run_directory(self) -> Path:
        try:
            return Path(json.loads((self.home / "state.json").read_bytes())["document"]["directory"])
        except (FileNotFoundError, NotADirectoryError):
            return self.home

    @property
    def predictions(self) -> bytes:
        return (self.path / "predictions.csv").read_bytes()

    @property
    def rows(self) -> list[str]:
        """Lines of predictions.csv, without csv's header."""
        lines = self.predictions.decode("utf-8", "surrogateescape").splitlines()
        return lines[1:] if lines[:1] == ["prediction"] else lines

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_directory / "summary.json").read_bytes())
        return found

    @property
    def state(self) -> str:
        """What status.json says the coordinator is doing; "" before there is one."""
        try:
            return str(json.loads((self.run_directory / "status.json").read_bytes())["progress"]["state"])
        except (OSError, ValueError):
            return ""

    @property
    def attempts(self) -> list[dict[str, str]]:
        with (self.run_directory / "attempts.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def charged(self) -> list[tuple[str, int, int]]:
        """(status, first item, items) of the attempts that came to nothing, in order."""
        return [(a["Status"], int(a["First Item"]), int(a["Total"])) for a in self.attempts if a["Status"] != "scored"]

    def leftovers(self) -> list[str]:
        """What is left in stage and spill, which a run that has ended leaves empty."""
        folders = [self.home / "stage", self.run_directory / "spill"]
        return sorted(str(path) for folder in folders for path in folder.rglob("*"))

    def picture(self, *, beside: Iterable[str] = ()) -> dict[str, tuple[int, bytes]]:
        """(mtime_ns, bytes) of every file of the run but those named, to see that nothing was touched."""
        return {
            str(path.relative_to(self.path)): (path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and path.name not in beside
        }


@dataclass
class Job:
    """A folder with inputs in `in/`, a script in `code/score.py`, an OUT beside them, and the command to run there."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.inputs, self.code):
            folder.mkdir(parents=True)

    @property
    def inputs(self) -> Path:
        return self.folder / "in"

    @property
    def code(self) -> Path:
        return self.folder / "code"

    @property
    def out(self) -> Out:
        return Out(self.folder / "out")

    def items(self, count: int, *, stem: str = "item", below: str = "") -> list[str]:
        """Make `count` inputs in in/`below`; returns the rows that score.py gives for them, in plan order."""
        folder = self.inputs / below
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{stem}{number:03d}.txt" for number in range(count)]
        for name in names:
            (folder / name).write_text(f"content of {name}\n")
        return [row(name, f"content of {name}\n".encode()) for name in names]

    def script(self, name: str = "score", **environment: object) -> Path:
        """Put tests/scripts/`name`.py into the code folder as score.py, and what it reads into the environment."""
        target = self.code / "score.py"
        shutil.copyfile(SCRIPTS / f"{name}.py", target)
        self.environment.update({key: str(value) for key, value in environment.items()})
        return target

    def write(self, name: str, text: str) -> Path:
        """A file in the job's folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    @contextmanager
    def start(
        self,
        *argv: str | Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        cwd: Path | None = None,
    ) -> Iterator[Started]:
        """`batchctl argv...` in the job's folder (or `cwd`); killed at the end of the block if it still runs."""
        mark = f"{os.getpid()}-{next(_numbers)}"
        streams = self.folder / ".streams" / mark
        streams.mkdir(parents=True)
        (streams / "stdin").write_bytes(stdin)
        words = [*prefix, *COMMAND, *map(str, argv)]
        # Files, not pipes: a stray process that holds the other end must not hold the test.
        with (
            (streams / "stdin").open("rb") as given,
            (streams / "stdout").open("wb") as out,
            (streams / "stderr").open("wb") as err,
        ):
            process = subprocess.Popen(
                words,
                cwd=cwd or self.folder,
                env=self._environment(mark, env or {}),
                stdin=given,
                stdout=out,
                stderr=err,
            )
        started = Started(("batchctl", *map(str, argv)), process, streams, mark)
        try:
            yield started
        finally:
            if started.alive():
                started.kill()
            for pid in carriers(MARK, mark):
                with contextlib.suppress(ProcessLookupError):  # its parent's death has reached it meanwhile
                    os.kill(pid, signal.SIGKILL)

    def batchctl(self, *argv: str | Path, limit: float = LIMIT_S, **given: Any) -> Ran:
        """The command, to its end."""
        with self.start(*argv, **given) as started:
            return started.end(limit=limit)

    def run(self, *flags: str | Path, out: str = "out", **given: Any) -> Ran:
        """`batchctl run code/score.py in -o OUT flags...`"""
        return self.batchctl("run", "code/score.py", "in", "-o", out, *flags, **given)

    def _environment(self, mark: str, extra: Mapping[str, str]) -> dict[str, str]:
        dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "GITHUB_STEP_SUMMARY", "GITLAB_CI", "NOTIFY_SOCKET")
        found = {
            name: value
            for name, value in os.environ.items()
            if name not in dropped and not name.startswith(("BATCHCTL_", "PYTHON", "COV_"))
        }
        if BINARY:
            found["BATCHCTL_CACHE"] = os.environ["BATCHCTL_CACHE"]
        return {**found, **self.environment, MARK: mark, **extra}


def row(name: str, content: bytes) -> str:
    """What tests/scripts/score.py returns for a file."""
    return f"{name} {len(content)} {content[:24].hex()}"
