"""attempts.csv: a row per attempt, for spreadsheets; the columns of Azure's processed_mini-batches.csv and three more.

    Mini-batch Id       number of the mini-batch in the plan, from 0
    First Item          number of the first item of the range (isolation leases parts of a mini-batch)
    Picked Count        which attempt on that range, from 1
    Epoch, Process      which coordinator (from 1); slot.incarnation of the worker
    Process Start Time  when that worker's process began, UTC
    Total, Succeeded, Failed, Rows
    Elapsed Seconds     from being handed out until the answer was there: waiting in the worker's hands included
    Process Seconds     what the worker spent on it: run(), rendering rows, keeping files
    Run Method Seconds  time in run()
    Status              scored, failed, lost, timed_out; out_of_memory (nobody was charged)
    Error Category, Error Message
    Mini-batch Detail   the first item's path and how many follow; empty where all succeeded in less than 10 ms

It tells; the checkpoint log proves: a row may be missing or double after a crash. Every row is one line (line breaks in
messages are escaped), so that a torn last line is found by its missing newline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from batchctl.errors import NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.handles import AppendFile
from batchctl.model.lease import Lease
from batchctl.model.outcome import Failure, Scored
from batchctl.model.progress import Attempt
from batchctl.report.wording import clipped, printable

HEADER = (
    "Mini-batch Id,First Item,Picked Count,Epoch,Process,Process Start Time,Total,Succeeded,Failed,Rows,"
    "Elapsed Seconds,Process Seconds,Run Method Seconds,Status,Error Category,Error Message,Mini-batch Detail\n"
)
MESSAGE_CAP = 500
ROWS_BUFFERED = 8192
NAMED_FROM_NS = 10_000_000
_SECONDS_KEPT = 4096
_LOOK_BACK = 64 << 10  # no row is longer


class AttemptsFile:
    """Appends to attempts.csv (0600), creating it with its header. Buffered: call `flush` once a commit group.

    A file that cannot be written is counted in `errors` and never raised: it is no part of the result. `name_of` is how
    people know an item by its index. `now` is in monotonic seconds.
    """

    def __init__(self, path: Path, *, epoch: int, name_of: Callable[[int], str]) -> None:
        self._path = path
        self._epoch = epoch
        self._name_of = name_of
        self._began: dict[int, str] = {}  # by incarnation
        self._leased: dict[int, float] = {}  # by first item: no two that are out begin with the same one
        self._rows: list[str] = []
        self._seconds = _Seconds()
        self._file: AppendFile | None = None
        self.errors = 0
        try:
            self._file = _opened(path)
        except StorageError:
            self.errors += 1

    def process_began(self, incarnation: int, *, at: float) -> None:
        """A worker's process exists, from `at` (seconds since 1970) on."""
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        self._began[incarnation] = f"{whole}.{int(at % 1 * 1000):03d}Z"

    def leased(self, leases: Iterable[Lease], *, now: float) -> None:
        """Leases are being handed out; one that comes back unused will be handed out again."""
        self._leased.update(dict.fromkeys([first for _, first, _, _ in leases], now))

    def scored(self, slot: int, incarnation: int, found: Sequence[Scored], *, now: float) -> None:
        """The common case, on the hot path: successful attempts of one worker."""
        who, seconds = self._who(slot, incarnation), self._seconds
        since, add = self._leased.pop, self._rows.append
        last, middle = None, ""
        for (batch, first, count, attempt), _, _, _, rows, ok, failed, run_ns, _, _, _, busy_ns in found:
            alike = (attempt, count, ok, failed, rows)
            if alike != last:  # the same for nearly all of a frame
                last, middle = alike, f"{attempt},{who},{count},{ok},{failed},{rows}"
            # A name costs as much as the rest of the row: not for what nobody will look up.
            detail = self._detail(first, count) if failed or run_ns >= NAMED_FROM_NS else ""
            add(
                f"{batch},{first},{middle},{seconds[int((now - since(first, now)) * 1e6 + 0.5)]},"
                f"{seconds[(busy_ns + 500) // 1000]},{seconds[(run_ns + 500) // 1000]},scored,,,{detail}\n"
            )
        if len(self._rows) >= ROWS_BUFFERED:
            self.flush()

    def add(self, attempt: Attempt, *, now: float) -> None:
        """Any other attempt: its whole time in the worker passes for that in run()."""
        lease = attempt.lease
        began = self._leased.pop(lease.first, None)
        elapsed = "" if began is None else f"{now - began:.6f}"
        self._rows.append(
            f"{lease.batch},{lease.first},{lease.attempt},{self._who(attempt.slot, attempt.incarnation)},"
            f"{lease.count},0,{lease.count},0,{elapsed},{attempt.run_s:.6f},{attempt.run_s:.6f},"
            f"{cell(attempt.status)},{cell(attempt.error)},{cell(clipped(attempt.message, MESSAGE_CAP))},"
            f"{self._detail(lease.first, lease.count)}\n"
        )

    def _who(self, slot: int, incarnation: int) -> str:
        return f"{self._epoch},{slot}.{incarnation},{self._began.get(incarnation, '')}"

    def _detail(self, first: int, count: int) -> str:
        name = self._name_of(first)
        return cell(f"{name} and {count - 1} more" if count > 1 else name)

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
            file, self._file = self._file, None
            try:
                file.close()
            except StorageError:
                self.errors += 1

    def _cut(self, file: AppendFile) -> None:
        try:
            file.truncate(file.size)
        except StorageError:
            self.errors += 1


class _Seconds(dict[int, str]):
    """Microseconds -> seconds as text. Short attempts take one of few times, and to format one anew costs as much as to
    look up ten."""

    def __missing__(self, us: int) -> str:
        if len(self) >= _SECONDS_KEPT:
            self.clear()
        self[us] = text = f"{us // 1_000_000}.{us % 1_000_000:06d}"
        return text


def status_of(failure: Failure, *, charged: bool) -> str:
    """The Status of an attempt that came to nothing. A want of memory that nobody was charged for has its own."""
    return failure.kind.value if charged or not failure.shortage else "out_of_memory"


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
