"""Building a plan: compact columns while listing, then the bytes of the plan file.

No object per item is kept: a million files cost about 37 bytes each here (name included) and no more in the file.
Encoding makes bytes; the store makes them durable. The layout is drawn in guest/plan_map.py and docs/plan.md.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import accumulate, islice

from batchctl.errors import UsageError
from batchctl.guest.plan_map import CRC_OFFSET, FORMAT, HEADER, MAGIC, PARTITIONED, SECTIONS, SIZED
from batchctl.named_tuple import NamedTuple
from batchctl.plan.batches import batch_firsts, partition_firsts
from batchctl.plan.index import Columns, FolderIndex
from batchctl.plan.inputs import InputRequest, Listing
from batchctl.plan.partitions import LargestPartition, Partitions, partition_texts
from batchctl.plan.regroup import ItemColumns, regrouped
from batchctl.plan.stretch import Findings, Stretch

MAX_ITEMS = 2**32 - 2  # item numbers and the closing count are u32
MAX_NAMES = 2**32 - 1  # offsets into the names are u32
_PIECE = 1 << 20
_CLOCK_REALTIME_COARSE = 5  # linux/time.h; Python's time module does not name it
_REMEMBERED = 1 << 16  # folders; a folder forgotten and met again is listed twice, which readers do not mind


class LargestItem(NamedTuple):
    """The largest input: where a skewed job will spend its time."""

    path: str
    size: int


class PlanImage:
    """A finished plan in memory: counts, and `chunks()`, the bytes of the plan file (CRC-32 included)."""

    def __init__(self, builder: PlanBuilder, *, batches: array[int], findings: Findings, listed_ns: int) -> None:
        partitions = builder.partitions
        self.partition_keys = partitions.keys if partitions is not None else ()
        self.largest_partition = LargestPartition.of(partitions, batches) if partitions is not None else None
        self._sections = builder.sections(batches)
        self.items = builder.items
        self.sized = builder.sized
        self.listed_ns = listed_ns
        self.batches = len(batches) - 1
        self.folders = len(builder.folder_at) - 1
        self.total_bytes = builder.total_bytes
        self.largest = LargestItem(builder.largest_path, builder.largest_size)
        self.findings = findings
        runs = len(builder.run_folders)
        offsets, at = [], HEADER.size
        for parts in self._sections:
            at += -at % 8
            offsets.append(at)
            at += sum(part.nbytes for part in parts)
        self.length = at
        counts = (self.folders, runs, self.items, self.batches, self.total_bytes, listed_ns)
        flags = SIZED if self.sized else 0
        version, keys = PARTITIONED if partitions is not None else FORMAT, len(self.partition_keys)
        header = bytearray(HEADER.pack(MAGIC, version, flags, *counts, *offsets[:SECTIONS], self.length, 0, keys))
        crc = zlib.crc32(header)
        for piece in self._padded():
            crc = zlib.crc32(piece, crc)
        header[CRC_OFFSET : CRC_OFFSET + 4] = crc.to_bytes(4, "little")
        self._header = bytes(header)
        self.crc = crc

    def _padded(self) -> Iterator[memoryview | bytes]:
        at = HEADER.size
        for parts in self._sections:
            if -at % 8:
                yield bytes(-at % 8)
                at += -at % 8
            for part in parts:
                yield part
                at += part.nbytes

    def chunks(self) -> Iterator[bytes]:
        """The file's bytes in order, pieces of at most 1 MiB; may be iterated again."""
        yield self._header
        for part in self._padded():
            for at in range(0, len(part), _PIECE):
                yield bytes(part[at : at + _PIECE])


class PlanBuilder:
    """Appends stretches to the columns of a plan; drops what an earlier INPUT named already (`duplicates`).

    With `partitions` a run ends where the partition changes, too; `gather` then brings those of a partition together.
    """

    def __init__(self, partitions: Partitions | None = None) -> None:
        self.partitions = partitions
        self.run_partitions = array("I")  # beside run_folders; empty without partitions
        self.folder_at = array("I", [0])
        self.folder_bytes = bytearray()
        self.run_firsts = array("I")  # not closed until `sections`
        self.run_folders = array("I")
        self.name_at = array("I", [0])
        self.name_bytes = bytearray()
        self.sizes = array("Q")
        self.mtimes = array("q")
        self.sized = True  # until a stretch comes without
        self.total_bytes = 0
        self.largest_path, self.largest_size = "", -1
        self.duplicates = 0
        self._numbers: dict[bytes, int] = {}
        self._last = b""
        self._source: int | None = None
        self._known: FolderIndex | None = None

    def add(self, stretch: Stretch, *, root: bytes | None = None) -> None:
        """Append; raises UsageError beyond the limits of the format, and what Partitions raises, which `root` is for.
        Stretches come source by source."""
        if stretch.source != self._source:
            if self._source is not None:
                self._known = self._index()
            self._source = stretch.source
        if self._known is not None:
            stretch = self._without_known(stretch, self._known)
        _, folder, names, sizes, mtimes = stretch
        if not names:
            return
        joined = b"".join(names)
        if self.items + len(names) > MAX_ITEMS:
            raise UsageError(f"more than {MAX_ITEMS} items", remedy="split the input into several runs")
        if len(self.name_bytes) + len(joined) > MAX_NAMES:
            raise UsageError("more than 4 GiB of file names", remedy="split the input into several runs")
        if self.partitions is not None:
            for at, partition in self.partitions.of(stretch, root=root):
                self._enter_run(folder, at=self.items + at, partition=partition)
        elif folder != self._last or not self.run_folders:
            self._enter_run(folder, at=self.items)
        self.name_at.extend(islice(accumulate(map(len, names), initial=len(self.name_bytes)), 1, None))
        self.name_bytes += joined
        if not sizes:
            self._forget_sizes()
        if not self.sized:
            return
        self.sizes.extend(sizes)
        self.mtimes.extend(mtimes)
        self.total_bytes += sum(sizes)
        largest = max(sizes)
        if largest > self.largest_size:
            self.largest_size = largest
            self.largest_path = os.fsdecode(folder.rstrip(b"/") + b"/" + names[sizes.index(largest)])

    def _enter_run(self, folder: bytes, *, at: int, partition: int | None = None) -> None:
        """A run begins with item `at`, unless it is the last one that goes on."""
        if partition is not None:
            if folder == self._last and self.run_partitions and self.run_partitions[-1] == partition:
                return
            self.run_partitions.append(partition)
        self.run_firsts.append(at)
        self.run_folders.append(self._number(folder))
        self._last = folder

    @property
    def items(self) -> int:
        """How many there are so far."""
        return len(self.name_at) - 1

    def _forget_sizes(self) -> None:
        """Sizes of some are no use: all are recorded, or none."""
        self.sized = False
        self.sizes, self.mtimes = array("Q"), array("q")
        self.total_bytes = 0
        self.largest_path, self.largest_size = "", -1

    def _number(self, folder: bytes) -> int:
        number = self._numbers.get(folder)
        if number is None:
            if len(self._numbers) >= _REMEMBERED:
                self._numbers.clear()
            number = len(self.folder_at) - 1
            self._numbers[folder] = number
            if len(self.folder_bytes) + len(folder) > MAX_NAMES:
                raise UsageError("more than 4 GiB of folder names", remedy="split the input into several runs")
            self.folder_bytes += folder
            self.folder_at.append(len(self.folder_bytes))
        return number

    def _index(self) -> FolderIndex:
        closed = self.closed_runs()
        columns = Columns(self.folder_at, self.folder_bytes, closed, self.run_folders, self.name_at, self.name_bytes)
        return FolderIndex(columns, runs=len(self.run_folders))

    def _without_known(self, stretch: Stretch, known: FolderIndex) -> Stretch:
        planned = known.names(stretch.folder)
        if not planned:
            return stretch
        kept = [at for at, name in enumerate(stretch.names) if name not in planned]
        self.duplicates += len(stretch.names) - len(kept)
        return stretch._replace(
            names=[stretch.names[at] for at in kept],
            sizes=[stretch.sizes[at] for at in kept] if stretch.sizes else (),
            mtimes=[stretch.mtimes[at] for at in kept] if stretch.sizes else (),
        )

    def gather(self) -> array[int]:
        """Sort the items by partition; the first item of each partition, closed by their number."""
        sized = (self.sizes, self.mtimes)
        found = regrouped(
            ItemColumns(
                self.closed_runs(), self.run_folders, self.run_partitions, self.name_at, self.name_bytes, *sized
            )
        )
        batches = partition_firsts(found.run_firsts, found.run_partitions)
        self.run_firsts, self.run_folders, self.run_partitions = (
            found.run_firsts[:-1],
            found.run_folders,
            found.run_partitions,
        )
        self.name_at, self.name_bytes = found.name_at, found.name_bytes
        self.sizes, self.mtimes = found.sizes, found.mtimes
        return batches

    def sections(self, batches: array[int]) -> tuple[tuple[memoryview, ...], ...]:
        """The sections of the file, in order: eight, or ten with partitions. Ends the building."""
        if sys.byteorder != "little":  # the columns are written as they lie in memory, and mapped the same way
            raise UsageError("this machine is big-endian; the plan file is not")
        closed = self.closed_runs()
        laid_out: tuple[tuple[array[int] | bytearray, ...], ...] = (
            (self.folder_at,),
            (self.folder_bytes,),
            (closed,),
            (self.run_folders,),
            (self.name_at,),
            (self.name_bytes,),
            (self.sizes, self.mtimes),
            (batches,),
        )
        if self.partitions is not None:
            offsets, texts = partition_texts(self.partitions)
            laid_out += ((offsets,), (texts,))
        return tuple(tuple(memoryview(part).cast("B") for part in parts) for parts in laid_out)

    def closed_runs(self) -> array[int]:
        closed = self.run_firsts[:]
        closed.append(self.items)
        return closed


def build_plan(
    request: InputRequest,
    *,
    mini_batch_size: int,
    max_batch_bytes: int | None = None,
    partitions: Partitions | None = None,
    children: int | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> PlanImage:
    """List the inputs and plan them. Raises UsageError (no items, bad INPUT, limits); see Listing and Partitions.

    With `max_batch_bytes` the request must be one that looks at all sizes. With `partitions` (fresh ones) each of them
    is a mini-batch, whatever `mini_batch_size` and `max_batch_bytes` say.
    For a large listing child processes are forked (`children` at most; see Lookers); they are gone on return.
    `meanwhile` is called again and again; what it raises ends the listing.
    """
    if mini_batch_size < 1:
        raise UsageError(f"mini-batch size {mini_batch_size}: must be 1 or more", where="mini_batch_size")
    # The clock of inode times, which lags behind the exact one: no change after this instant can look older.
    listed_ns = time.clock_gettime_ns(_CLOCK_REALTIME_COARSE)
    listing, builder = Listing(request, children=children, meanwhile=meanwhile), PlanBuilder(partitions)
    with closing(listing.stretches()) as stretches:
        for stretch in stretches:
            builder.add(stretch, root=listing.roots.get(stretch.source))
    if not builder.items:
        raise listing.nothing()
    listing.findings.duplicates += builder.duplicates
    if partitions is not None:
        batches = builder.gather()
    else:
        batches = batch_firsts(
            builder.closed_runs(),
            size=mini_batch_size,
            grouping=request.grouping,
            sizes=builder.sizes,
            max_bytes=max_batch_bytes,
        )
    return PlanImage(builder, batches=batches, findings=listing.findings, listed_ns=listed_ns)
