"""The same damage before the real commands: `verify`, `status`, `inspect`, `failures`, `retry`, `run` again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from batchctl.errors import ExitCode
from batchctl.store.layout import RUN_DIRECTORY
from tests.crash.corrupt.answers import State
from tests.crash.corrupt.damages import Damage
from tests.crash.corrupt.subjects import Subject, command_for, restore, snapshot

_LIMIT_S = 60
_SOUND, _CORRUPT = ExitCode.OK, ExitCode.CORRUPTION
# Reading commands: sound, corrupt, another format, no run there.
_READING = {ExitCode.OK, ExitCode.CORRUPTION, ExitCode.RESUME_REFUSED, ExitCode.USAGE}
_GOING_ON = {*_READING, ExitCode.STORAGE}
_JOINED = "joined"


class Commands:
    """`states`: what the finished subjects have come to, by name."""

    def __init__(self, batchctl: str, work: Path, *, states: Mapping[str, State]) -> None:
        self._batchctl = batchctl
        self._work = work
        self._states = states

    def judge(self, subject: Subject, damage: Damage) -> tuple[dict[str, int], list[str]]:
        """(exit code of each command, what did not hold)."""
        out = self._work / "real"
        shutil.rmtree(out, ignore_errors=True)
        files = {**subject.files, **damage.changes()}
        restore({name: data for name, data in files.items() if data is not None}, out)
        mended = subject.job / "scratch" / "mended"  # what a retry scores well must not go well before
        mended.unlink(missing_ok=True)
        if subject.goal.endswith("retried"):
            mended.touch()
        codes: dict[str, int] = {}
        problems: list[str] = []
        commands = ["status", "verify", "inspect", "failures", "run", "verify"]
        if subject.finished and damage.log:
            commands.insert(4, "retry")
        for what in commands:
            name = what if what not in codes else f"{what} afterwards"
            codes[name] = code = self._command(subject, out, what)
            allowed = _GOING_ON if what in ("run", "retry") else {ExitCode.OK} if what == "status" else _READING
            if code not in allowed:
                problems.append(f"{name} exited {code}")
        problems += self._wrong(subject, damage, codes, snapshot(out))
        shutil.rmtree(out, ignore_errors=True)
        return codes, [f"{damage}: {problem}" for problem in problems]

    def _wrong(self, subject: Subject, damage: Damage, codes: Mapping[str, int], files: dict[str, bytes]) -> list[str]:
        found = []
        if subject.finished and damage.log:
            expected = _SOUND if not subject.rows and damage.only_behind(subject.log) else _CORRUPT
            # Where the script's files were joined a retry is refused before it looks at anything, damaged or not.
            retry = {expected, ExitCode.USAGE} if subject.job.name == _JOINED else {expected}
            wanted = {"verify": {expected}, "retry": retry, "run": {expected}}
            found += [
                f"{name} exited {codes[name]}, not {expected:d}"
                for name, right in wanted.items()
                if codes[name] not in right
            ]
        if codes["run"] != _SOUND:
            return found
        ends = [subject.goal, *(subject.earlier if subject.name.endswith("retrying") else ())]
        own = tuple(sorted((name, data) for name, data in files.items() if not name.startswith(RUN_DIRECTORY)))
        good = any(self._states[name].files == own for name in ends if name in self._states)
        if not good and codes["verify afterwards"] != _CORRUPT:
            found.append("run exited 0 with another result, and verify calls it sound")
        if good and codes["verify afterwards"] != _SOUND:
            found.append(f"the result is the reference's, and verify exits {codes['verify afterwards']}")
        return found

    def _command(self, subject: Subject, out: Path, what: str) -> int:
        """Its exit code; -1 where it hangs."""
        command = command_for(self._batchctl, subject.job, out, what=what)
        try:
            return subprocess.run(command, check=False, capture_output=True, timeout=_LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            return -1
