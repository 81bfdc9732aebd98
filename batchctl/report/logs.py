"""A worker's standard output and error, kept in a file of bounded size with secrets masked.

    worker-002-00017.log         the first 8 MiB
    worker-002-00017.log.tail0   then two segments of 4 MiB in turn, so that
    worker-002-00017.log.tail1   the last 4 to 8 MiB are always there
    close(): the segments are appended to the log, a line between saying how much is missing

What a worker floods is paid for by the coordinator, so a feed costs one write, and a few passes of memmem where there
are secrets. Nothing here raises: a log that cannot be written is counted, and the run goes on.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from batchctl.errors import NoSpaceError, StorageError
from batchctl.files import RealDisk
from batchctl.handles import AppendFile
from batchctl.report.mask import Mask

HEAD_CAP = 8 << 20
SEGMENT_CAP = 4 << 20
LINE_CAP = 64 << 10  # longer lines are written in pieces
RECENT_CAP = 64 << 10  # kept in memory for `tail`


class WorkerLog:
    """The log of one worker in `folder`; the file appears with the first byte. One thread; nothing raises StorageError.

    `written`, `dropped` (while paused, or left out between head and tail) and `errors` are counts. A name that exists
    already (an earlier epoch's) is left alone and the new one gets a number.
    """

    def __init__(self, folder: Path, slot: int, *, incarnation: int, mask: Mask | None = None) -> None:
        self._folder = folder
        self._stem = f"worker-{slot:03d}-{incarnation:05d}"
        self._mask = mask or Mask()
        self._carry = b""  # an unfinished line; only kept where there is something to mask
        self._recent = bytearray()
        self._path: Path | None = None
        self._disk = RealDisk()
        self._file: AppendFile | None = None  # the head or a segment, whichever is written to
        self._segment = -1  # -1: the head
        self._segments = 0  # begun so far
        self._past_head = 0
        self._paused = False
        self._closed = False
        self.written = 0
        self.dropped = 0
        self.errors = 0

    @property
    def path(self) -> Path | None:
        """The log file, once there is one."""
        return self._path

    def feed(self, data: bytes) -> None:
        """Take what the worker wrote. Where there are secrets, an unfinished line waits for its end (or 64 KiB)."""
        if self._mask.longest:
            data = self._finished_lines(data)
        if data:
            self._keep(data)

    def drop(self, paused: bool) -> None:
        """While storage is paused nothing is written, `tail` goes on and what is left out is counted."""
        self._paused = paused

    def tail(self, size: int) -> str:
        """The last `size` bytes (64 KiB at most) as text, unfinished line included; bad UTF-8 is escaped."""
        recent = bytes(self._recent[-size:]) + self._mask.applied(self._carry)
        return recent[-size:].decode(errors="backslashreplace") if size > 0 else ""

    def close(self) -> None:
        """Write what waits, join the segments to the log. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._carry:
            self._keep(self._mask.applied(self._carry))
            self._carry = b""
        try:
            self._join()
        except StorageError:
            self.errors += 1
        self._close_file()

    def _finished_lines(self, data: bytes) -> bytes:
        data = self._carry + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1  # progress bars end their lines with a carriage return
        if len(data) - end > LINE_CAP:
            # A secret may lie across this cut: as many bytes as could begin one stay behind, already seen whole once.
            data = self._mask.applied(data)
            end = max(0, len(data) - self._mask.longest + 1)
            self._carry = data[end:]
            return data[:end]
        self._carry = data[end:]  # as it came: masked early, a secret that begins with another would show its rest
        return self._mask.applied(data[:end]) if end else b""

    def _keep(self, data: bytes) -> None:
        self._recent += data[-RECENT_CAP:]
        if len(self._recent) > 2 * RECENT_CAP:
            del self._recent[:-RECENT_CAP]
        if self._paused:
            self.dropped += len(data)
            return
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._write(rest) :]
            except StorageError as error:
                self.errors += 1
                self.dropped += len(rest)
                self._recover(error)
                return

    def _write(self, data: memoryview) -> int:
        """Write what fits where we are; returns how much that was."""
        if self._path is None:
            self._open_head()
        file = self._file
        if file is None or file.size >= (HEAD_CAP if self._segment < 0 else SEGMENT_CAP):
            file = self._next_segment()
        piece = data[: (HEAD_CAP if self._segment < 0 else SEGMENT_CAP) - file.size]
        file.append(piece)
        self.written += len(piece)
        if self._segment >= 0:
            self._past_head += len(piece)
        return len(piece)

    def _recover(self, error: StorageError) -> None:
        try:
            if isinstance(error, NoSpaceError) and self._file is not None:
                self._file.truncate(self._file.size)  # later output may fit again
        except StorageError:
            self.errors += 1

    def _open_head(self) -> None:
        number = 1
        path = self._folder / f"{self._stem}.log"
        while self._disk.stat(path) is not None:
            number += 1
            path = self._folder / f"{self._stem}.{number}.log"
        self._file = self._disk.open_append(path, create=True)
        self._path = path

    def _segment_path(self, segment: int) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.tail{segment}")

    def _next_segment(self) -> AppendFile:
        self._close_file()
        segment = 1 - self._segment if self._segment >= 0 else 0
        path = self._segment_path(segment)
        self._disk.remove(path)
        self._file = self._disk.open_append(path, create=True)
        self._segment = segment
        self._segments += 1
        return self._file

    def _join(self) -> None:
        """Head, a line saying what is missing, the older segment, the newer one: one file of 16 MiB at most."""
        if self._segment < 0 or self._path is None:
            return
        self._close_file()
        segments = [self._segment_path(1 - self._segment)] if self._segments > 1 else []
        segments.append(self._segment_path(self._segment))
        self._file = self._disk.open_append(self._path)
        sources = [self._disk.open_read(path) for path in segments]
        with contextlib.ExitStack() as stack:
            for source in sources:
                stack.enter_context(source)
            missing = self._past_head - sum(source.size for source in sources)
            self.dropped += missing
            if missing:
                self._file.append(b"\n[batchctl: %d bytes are left out here]\n" % missing)
            for source in sources:
                self._file.append_range(source, offset=0, length=source.size)
        for path in segments:
            self._disk.remove(path)

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except StorageError:
                self.errors += 1
