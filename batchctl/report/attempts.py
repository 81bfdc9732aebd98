"""attempts.csv: a row per attempt, for spreadsheets; Azure's names (processed_mini-batches.csv) where they fit.

    Mini-batch Id       number of the mini-batch in the plan, from 0
    First Item          number of the first item of the range (isolation leases parts of a mini-batch)
    Picked Count        which attempt on that range, from 1
    Epoch, Process      which coordinator (from 1); slot.incarnation of the worker
    Total, Succeeded, Failed, Rows
    Run Method Seconds  time in run()
    Status              scored, failed, lost, timed_out, returned (came to nothing and was not charged)
    Error Category, Error Message

It tells; the checkpoint log proves: a row may be missing or double after a crash. Every row is one line (line breaks in
messages are escaped), so that a torn last line is found by its missing newline.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batchctl.errors import NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.handles import AppendFile
from batchctl.model.outcome import Scored
from batchctl.model.progress import Attempt
from batchctl.report.wording import clipped, printable

HEADER = (
    "Mini-batch Id,First Item,Picked Count,Epoch,Process,Total,Succeeded,Failed,Rows,"
    "Run Method Seconds,Status,Error Category,Error Message\n"
)
MESSAGE_CAP = 500
ROWS_BUFFERED = 8192
_LOOK_BACK = 64 << 10  # no row is longer


class AttemptsFile:
    """Appends to attempts.csv (0600), creating it with its header. Buffered: call `flush` once a commit group.

    A file that cannot be written is counted in `errors` and never raised: it is no part of the result.
    """

    def __init__(self, path: Path, *, epoch: int) -> None:
        self._path = path
        self._epoch = epoch
        self._rows: list[str] = []
        self._file: AppendFile | None = None
        self.errors = 0
        try:
            self._file = _opened(path)
        except StorageError:
            self.errors += 1

    def scored(self, slot: int, incarnation: int, found: Sequence[Scored]) -> None:
        """The common case, on the hot path: successful attempts of one worker."""
        who = f"{self._epoch},{slot}.{incarnation}"
        self._rows += [
            f"{lease[0]},{lease[1]},{lease[3]},{who},{lease[2]},{ok},{failed},{rows},{run_ns / 1e9:.6f},scored,,\n"
            for lease, _, _, _, rows, ok, failed, run_ns, _, _, _ in found
        ]
        if len(self._rows) >= ROWS_BUFFERED:
            self.flush()

    def add(self, attempt: Attempt) -> None:
        """Any other attempt."""
        self._rows.append(
            f"{attempt.batch},{attempt.first},{attempt.attempt},{self._epoch},{attempt.slot}.{attempt.incarnation},"
            f"{attempt.count},{attempt.succeeded},{attempt.failed},{attempt.rows},{attempt.run_s:.6f},"
            f"{cell(attempt.status)},{cell(attempt.error)},{cell(clipped(attempt.message, MESSAGE_CAP))}\n"
        )

    def flush(self) -> None:
        """Hand the buffered rows to the system (not synced)."""
        if not self._rows:
            return
        data = "".join(self._rows).encode(errors="backslashreplace")
        self._rows.clear()
        if self._file is None:
            self.errors += 1
            return
        try:
            self._file.append(data)
        except NoSpaceError:
            self.errors += 1
            self._cut(self._file)  # half a row may be there; later rows may fit again
        except StorageError:
            self.errors += 1

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut(self, file: AppendFile) -> None:
        try:
            file.truncate(file.size)
        except StorageError:
            self.errors += 1


def cell(text: str) -> str:
    """One CSV field (RFC 4180) on one line; what a spreadsheet would run as a formula is quoted by an apostrophe."""
    text = printable(text)
    if text.startswith(("=", "+", "-", "@")):
        text = "'" + text
    if '"' in text or "," in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _opened(path: Path) -> AppendFile:
    disk = RealDisk()
    if disk.stat(path) is None:
        file = disk.open_append(path, create=True)
    else:
        file = disk.open_append(path)
        start = max(0, file.size - _LOOK_BACK)
        with disk.open_read(path) as source:
            whole = start + source.pread(start, file.size - start).rfind(b"\n") + 1
        if whole < file.size:
            file.truncate(whole)  # a torn last line
    if not file.size:
        file.append(HEADER.encode())
    return file
