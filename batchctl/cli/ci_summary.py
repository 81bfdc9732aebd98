"""In CI the end of a run is also written as Markdown, where the job's page or its artefacts show it.

| the environment has | written |
|---|---|
| GITHUB_STEP_SUMMARY=FILE | FILE, appended; unless the whole would be more than GitHub takes |
| GITLAB_CI, or the above | OUT/.batchctl/summary.md, replaced; not where OUT is not (or may not be) ours |

However the run ends, with an error or by a signal; what cannot be written costs a line of warning and no exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from batchctl.errors import BatchctlError, ExitCode, ResumeRefusedError, RunLockedError, StorageError, UsageError
from batchctl.files import RealDisk
from batchctl.model.progress import Summary
from batchctl.processes import child_environment
from batchctl.report.atomic import replace_file
from batchctl.report.summary import read_summary
from batchctl.report.wording import printable
from batchctl.store.layout import RunLayout
from batchctl.store.state_directory import find

STEP_LIMIT = 1 << 20  # GitHub drops a step's summary that is larger


class CiSummary:
    """Around a run (`with`): call `finished` with its summary; an error that leaves the block is told instead.

    Does nothing where the environment names no CI system that it knows. Never raises, never swallows an error.
    """

    def __init__(self, out: str, environ: Mapping[str, str] | None = None) -> None:
        environ = child_environment({}) if environ is None else environ
        self._step = environ.get("GITHUB_STEP_SUMMARY", "")
        self._wanted = bool(self._step or environ.get("GITLAB_CI"))
        self._out = Path(out).absolute()
        self._before = self._stamp() if self._wanted else None
        self._summary: Summary | None = None

    def finished(self, summary: Summary) -> None:
        self._summary = summary

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._wanted:
            return
        from batchctl.report.markdown import summary_markdown  # only in CI, and not before the run

        if error is not None:
            text = self._of_error(error)
        elif self._summary is not None:
            text = summary_markdown(self._summary)
        else:
            return
        if self._step:
            _attempt(self._step, lambda: _append(Path(self._step), text))
        if self._is_ours(error):
            path = self._layout.directory / "summary.md"
            _attempt(str(path), lambda: replace_file(path, _bytes(text)))

    @property
    def _layout(self) -> RunLayout:
        """Where the run lies by now; in OUT, where its state directory cannot be told."""
        bare = RunLayout(self._out)
        try:
            return find(RealDisk(), bare)
        except BatchctlError:
            return bare

    def _is_ours(self, error: BaseException | None) -> bool:
        """May OUT be written to? A refusal (exit 2) may be about OUT itself, a locked run is somebody else's."""
        if isinstance(error, UsageError | RunLockedError) and self._stamp() == self._before:
            return False
        try:
            return self._layout.directory.is_dir()
        except OSError:  # of another user, or with a name that no folder has
            return False

    def _of_error(self, error: BaseException) -> str:
        from batchctl.report.markdown import error_markdown, summary_markdown

        code, words = _told(error)
        summary = read_summary(self._layout.summary) if self._stamp() != self._before else None
        if summary is not None and summary.exit_code == code:
            return summary_markdown(summary, error=words)
        return error_markdown(words, code)

    def _stamp(self) -> tuple[int, int] | None:
        """What changes when summary.json is replaced."""
        try:
            found = self._layout.summary.lstat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def _told(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code that this error ends with, and its words."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, "interrupted"
    if not isinstance(error, BatchctlError):
        return ExitCode.INTERNAL, f"internal error: {type(error).__name__}: {error}"
    lines = [error.message]
    if isinstance(error, ResumeRefusedError):
        lines += error.differences
    if error.where:
        lines.append(f"where: {error.where}")
    if error.remedy:
        lines.append(f"fix: {error.remedy}")
    return error.exit_code, "\n".join(lines)


def _append(path: Path, text: str) -> None:
    data = _bytes(text)
    # Not blocked by a pipe that nobody reads; the runner has made the file, a step that removed it gets a new one.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o644), "ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size:
            data = b"\n\n" + data  # what another command wrote may lack its line break
        if size + len(data) > STEP_LIMIT:
            raise OSError(f"it holds {size} bytes already, and GitHub drops a summary of more than {STEP_LIMIT}")
        file.write(data)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _attempt(path: str, write: Callable[[], None]) -> None:
    try:
        write()
    except (OSError, ValueError, StorageError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        _warn(f"batchctl: warning: the summary was not written to {printable(path)}: {printable(reason)}")


def _warn(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # gone, closed, or None: it was closed before we were started
        pass  # nobody is there to be told
