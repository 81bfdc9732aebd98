"""The plan as the host reads it back: bounds, names, and what changed since it was written."""

from __future__ import annotations

import os
import stat
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from operator import lt
from pathlib import Path
from types import TracebackType
from typing import Self

from batchctl.errors import CorruptionError, StorageError
from batchctl.guest.plan_map import CRC_OFFSET, SIZED, PlanDamaged, PlanMap
from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name, machine_name
from batchctl.plan.index import Columns, FolderIndex
from batchctl.plan.look import planned_ns

_PIECE = 1 << 20
_LOOKED_AT = 4 << 20  # bytes that are mapped at a time while all of a plan is checked
# Newer kernels give exact times to files that were looked at, and the clock of the listing lags behind by up to a tick:
# a file written just before it may look younger. Where size and mtime tell too, such a file gets the benefit of that.
TICK_NS = 10_000_000


class ChangeKind(StrEnum):
    """How an item differs from what was planned."""

    MISSING = "missing"
    UNREADABLE = "unreadable"  # stat itself was refused
    NOT_A_FILE = "not a regular file"
    SIZE = "size"
    MTIME = "mtime"
    TOUCHED = "touched"  # its content or its inode changed after the listing


class Change(NamedTuple):
    """One changed item. `detail` is for people: "size 10 -> 20"."""

    item: int
    kind: ChangeKind
    detail: str


class Plan:
    """A plan file, mapped read-only; items and mini-batches are numbered from 0. A context manager; `close` is enough.

    Item numbers out of range raise IndexError.
    """

    def __init__(self, mapped: PlanMap, *, path: Path) -> None:
        self._mapped = mapped
        self.file = path
        self.items = mapped.items
        self.batches = mapped.batches
        self.folders = mapped.folders
        self.total_bytes = mapped.total_bytes
        self.crc = mapped.crc
        self.sized = bool(mapped.flags & SIZED)
        self.listed_ns = mapped.listed_ns

    @classmethod
    def open(cls, path: Path, *, verify: bool = True, columns: bool = True) -> Self:
        """Map `path` and, unless told otherwise, check its CRC-32 and (`columns`) their order (1,000,000 items: about
        60 ms).

        Raises CorruptionError where it is not a whole plan; StorageError where it cannot be read.
        """
        try:
            plan = cls(PlanMap(os.fspath(path)), path=path)
        except PlanDamaged as error:
            raise CorruptionError(str(error), where=str(path)) from error
        except FileNotFoundError as error:  # job.json is written after the plan: no crash takes it away
            raise CorruptionError("the plan is gone", where=str(path)) from error
        except OSError as error:
            raise StorageError(f"plan cannot be read: {error.strerror}", where=str(path)) from error
        if verify:
            found = plan.computed_crc()
            if found != plan.crc:
                damage = f"CRC-32 is {found:08x}, recorded {plan.crc:08x}"
            else:
                damage = _disorder(plan._mapped) if columns else ""
            plan._mapped.forget()  # who opens it reads little of it
            if damage:
                plan.close()
                raise CorruptionError(f"plan: {damage}", where=str(path))
        return plan

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the mapping back; nothing of this plan may be used afterwards."""
        self._mapped.close()

    def computed_crc(self) -> int:
        view = self._mapped.view
        crc = zlib.crc32(bytes(4), zlib.crc32(view[:CRC_OFFSET]))
        for at in range(CRC_OFFSET + 4, len(view), _LOOKED_AT):
            crc = zlib.crc32(view[at : at + _LOOKED_AT], crc)
            self._mapped.forget()
        return crc

    @property
    def batch_firsts(self) -> Sequence[int]:
        """First item of each mini-batch, closed by the number of items; a view, valid until `close`."""
        return self._mapped.batch_firsts

    @property
    def sizes(self) -> Sequence[int]:
        """Bytes of each item, empty unless `sized`; a view, valid until `close`."""
        return self._mapped.sizes

    def bounds(self, batch: int) -> tuple[int, int]:
        """(first item, number of items) of a mini-batch."""
        if batch < 0:
            raise IndexError(batch)
        first = self._mapped.batch_firsts[batch]
        return first, self._mapped.batch_firsts[batch + 1] - first

    @property
    def partition_keys(self) -> tuple[str, ...]:
        """The partition keys; none where mini-batches were formed by size."""
        return self._mapped.keys

    def partition(self, batch: int) -> dict[str, str]:
        """Partition key -> value of a mini-batch, as scripts get it."""
        return self._mapped.partition(batch)

    def batch_of(self, item: int) -> int:
        """The mini-batch that an item belongs to."""
        self._check(item)
        return bisect_right(self._mapped.batch_firsts, item) - 1

    def paths(self, first: int, count: int) -> list[str]:
        """Absolute paths, as `run()` gets them (undecodable bytes by surrogateescape)."""
        if count:
            self._check(first)
            self._check(first + count - 1)
        return self._mapped.paths(first, count)

    def path(self, item: int) -> str:
        return self.paths(item, 1)[0]

    def path_bytes(self, item: int) -> bytes:
        return os.fsencode(self.path(item))

    def display(self, item: int) -> str:
        """The path for people: control characters, direction marks and undecodable bytes escaped."""
        return display_name(self.path(item))

    def machine_name(self, item: int) -> str:
        """The path for JSON and CSV: valid Unicode, changed only where its bytes are not UTF-8."""
        return machine_name(self.path(item))

    def size(self, item: int) -> int:
        self._check(item)
        return self._mapped.sizes[item]

    def mtime_ns(self, item: int) -> int:
        self._check(item)
        return self._mapped.mtimes[item]

    def changed(self, first: int, count: int) -> list[Change]:
        """Stat the items (links followed) and compare with the plan: size and mtime_ns where it holds
        them, and the change time with that of the listing; empty: all as planned."""
        found = []
        for item, path in enumerate(self.paths(first, count), first):
            try:
                now = os.stat(path)  # noqa: PTH116  2 us an item, a Path would double it
            except (FileNotFoundError, NotADirectoryError):
                found.append(Change(item, ChangeKind.MISSING, "missing"))
                continue
            except OSError as error:
                found.append(Change(item, ChangeKind.UNREADABLE, f"unreadable: {error.strerror}"))
                continue
            if not stat.S_ISREG(now.st_mode):
                found.append(Change(item, ChangeKind.NOT_A_FILE, "no longer a regular file"))
                continue
            if self.sized:
                size, mtime = self._mapped.sizes[item], self._mapped.mtimes[item]
                if now.st_size != size:
                    found.append(Change(item, ChangeKind.SIZE, f"size {size} -> {now.st_size}"))
                    continue
                if planned_ns(now.st_mtime_ns) != mtime:
                    found.append(Change(item, ChangeKind.MTIME, f"mtime_ns {mtime} -> {now.st_mtime_ns}"))
                    continue
            # The change time cannot be set: whatever wrote, replaced or touched the file has moved it on.
            if now.st_ctime_ns > self.listed_ns + (TICK_NS if self.sized else 0):
                told = "changed after the inputs were listed"
                if self.sized:
                    told += ", says its change time; size and mtime are as planned"
                found.append(Change(item, ChangeKind.TOUCHED, told))
        return found

    def folder_index(self) -> FolderIndex:
        """Names by folder, to tell which files are not in the plan."""
        mapped = self._mapped
        columns = Columns(
            mapped.folder_at,
            mapped.folder_bytes,
            mapped.run_firsts,
            mapped.run_folders,
            mapped.name_at,
            mapped.name_bytes,
        )
        return FolderIndex(columns, runs=mapped.runs)

    def _check(self, item: int) -> None:
        if not 0 <= item < self.items:
            raise IndexError(f"item {item}: the plan holds {self.items}")


def _disorder(mapped: PlanMap) -> str:
    """What no plan of ours has, whatever its CRC says, "" where there is nothing: a run directory may come from
    elsewhere, and nobody who walks the columns looks again."""
    for column in (mapped.run_firsts, mapped.batch_firsts):
        if column[0] or not all(map(lt, column, column[1:])):
            return "runs or mini-batches of nothing, or out of order"
    for column in (mapped.folder_at, mapped.name_at):
        if column[0] or not all(map(lt, column, column[1:])):
            return "names of nothing, or out of order"
        mapped.forget()
    if any(folder >= mapped.folders for folder in mapped.run_folders):
        return "items of no folder"
    for names in (mapped.folder_bytes, mapped.name_bytes):
        for at in range(0, len(names), _PIECE):
            if b"\0" in bytes(names[at : at + _PIECE]):
                return "names that nothing can have"
            mapped.forget()
    return mapped.text_disorder()
