"""The plan file as host and guest map it: items and mini-batches, without an object per item.

    header   magic "BCTLPLAN" | format u32 | flags u32 | folders u32 | runs u32 | items u32 | batches u32
             | total input bytes u64 | listed at u64 (ns since 1970) | section offsets u64 * 8 | file length u64
             | CRC-32 u32 (of the whole file with this field zero) | partition keys u32 (format 1: zero)
    sections, each starting at a multiple of 8, little-endian:
      0 folder offsets  u32 * (folders + 1)   into section 1
      1 folder bytes                          absolute paths, no trailing slash except the root itself
      2 run firsts      u32 * (runs + 1)      a run is a stretch of items of one folder; the last entry is `items`
      3 run folders     u32 * runs
      4 name offsets    u32 * (items + 1)     into section 5
      5 name bytes                            base names as the file system has them
      6 sizes           u64 * items           then, directly behind, mtime_ns i64 * items; empty without flag SIZED
      7 batch firsts    u32 * (batches + 1)   first item of each mini-batch; the last entry is `items`
    and in format 2, which has partition keys, directly behind, each at the next multiple of 8 again:
      8 text offsets    u32 * (keys * (batches + 1) + 1)   into section 9
      9 text bytes                            the keys (UTF-8), then for each mini-batch its values of them, parts of
                                              paths

The path of an item is folder + "/" + name, decoded with the file system's encoding (surrogateescape).
"""

from __future__ import annotations

import bisect
import mmap
import os
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

MAGIC = b"BCTLPLAN"
FORMAT = 1
PARTITIONED = 2  # the format of plans with partition keys
HEADER = struct.Struct("<8sIIIIIIQQ8QQII")
SECTIONS = 8
SIZED = 1  # flag: sizes and modification times were recorded
CRC_OFFSET = HEADER.size - 8

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()


class PlanDamaged(Exception):
    """The file is not a plan of this format, or its lengths contradict each other."""


class PlanMap:
    """A plan file, mapped read-only. Cheap to open; safe to inherit through fork. The CRC is checked by the host.

    `view` is the whole file; the other public columns are views into it, as drawn above. They stay valid as long as
    this object does.
    """

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            length = os.fstat(fd).st_size
            if length < HEADER.size:
                raise PlanDamaged("%s: too short for a plan" % path)
            self._map = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        found = HEADER.unpack_from(self._map, 0)
        magic, version, self.flags, folders, runs, self.items, self.batches, self.total_bytes = found[:8]
        self.listed_ns = found[8]
        sized = self.items if self.flags & SIZED else 0
        keys = found[9 + SECTIONS + 2]
        if magic != MAGIC or version != (PARTITIONED if keys else FORMAT):
            raise PlanDamaged("%s: not a plan of format %d or %d" % (path, FORMAT, PARTITIONED))
        at = list(found[9 : 9 + SECTIONS])
        self.crc = found[9 + SECTIONS + 1]
        if found[9 + SECTIONS] != length or any(o > length or o % 8 for o in at) or at != sorted(at):
            raise PlanDamaged("%s: lengths contradict each other" % path)
        self.view = view = memoryview(self._map)
        self.folders, self.runs = folders, runs
        try:
            self.folder_at = view[at[0] : at[0] + 4 * (folders + 1)].cast("I")
            self.run_firsts = view[at[2] : at[2] + 4 * (runs + 1)].cast("I")
            self.run_folders = view[at[3] : at[3] + 4 * runs].cast("I")
            self.name_at = view[at[4] : at[4] + 4 * (self.items + 1)].cast("I")
            self.sizes = view[at[6] : at[6] + 8 * sized].cast("Q")
            self.mtimes = view[at[6] + 8 * sized : at[6] + 16 * sized].cast("q")
            self.batch_firsts = view[at[7] : at[7] + 4 * (self.batches + 1)].cast("I")
            ends = (self.folder_at[folders], self.run_firsts[runs], self.name_at[self.items])
            if ends[1] != self.items or self.batch_firsts[self.batches] != self.items:
                raise PlanDamaged("%s: counts contradict each other" % path)
            if at[1] + ends[0] > length or at[5] + ends[2] > length:
                raise PlanDamaged("%s: names lie outside the file" % path)
            # A short column would otherwise answer with an IndexError much later.
            if len(self.mtimes) != sized or len(self.run_folders) != runs:
                raise PlanDamaged("%s: sections lie outside the file" % path)
            self.folder_bytes = view[at[1] : at[1] + ends[0]]
            self.name_bytes = view[at[5] : at[5] + ends[2]]
            texts_at = _aligned(at[7] + 4 * (self.batches + 1))
            texts = keys * (self.batches + 1) if keys else -1
            self._text_at = view[texts_at : texts_at + 4 * (texts + 1)].cast("I")
            texts_at = _aligned(texts_at + 4 * (texts + 1))
            self._texts = view[texts_at : texts_at + (self._text_at[texts] if keys else 0)]
            if keys and len(self._texts) != self._text_at[texts]:
                raise PlanDamaged("%s: partitions lie outside the file" % path)
            self.keys = tuple(self._text(key).decode("utf-8", "surrogateescape") for key in range(keys))
            self._run_begin = self._run_end = 0
            self._run_prefix = ""
        except (IndexError, TypeError, ValueError) as error:
            raise PlanDamaged("%s: sections lie outside the file" % path) from error

    def paths(self, first: int, count: int) -> List[str]:
        """Absolute paths of items first .. first + count - 1, a fresh list of str. IndexError beyond the last item."""
        end = first + count
        if end > self.items:
            raise IndexError("the plan holds no items %d .. %d" % (first, end - 1))
        found: List[str] = []
        while first < end:
            if not self._run_begin <= first < self._run_end:
                self._enter_run(bisect.bisect_right(self.run_firsts, first) - 1)
            stop = min(end, self._run_end)
            if stop <= first:
                raise PlanDamaged("the plan's runs are out of order")
            # One slice and one list of offsets for the run's share: half the time of an index and a slice per item.
            cuts = self.name_at[first : stop + 1].tolist()
            base, prefix = cuts[0], self._run_prefix
            names = bytes(self.name_bytes[base : cuts[-1]])
            if names.isascii():
                # And one decode: in every file system encoding, a byte of ASCII is the character of that number.
                text = names.decode("ascii")
                found += [prefix + text[low - base : high - base] for low, high in zip(cuts, cuts[1:])]
            else:
                found += [
                    prefix + names[low - base : high - base].decode(_ENCODING, _ERRORS)
                    for low, high in zip(cuts, cuts[1:])
                ]
            first = stop
        return found

    def partition(self, batch: int) -> Dict[str, str]:
        """Partition key -> its value in this mini-batch, a fresh dict; empty where the plan has no keys."""
        keys = self.keys
        if not keys:
            return {}
        if not 0 <= batch < self.batches:
            raise IndexError("the plan holds no mini-batch %d" % batch)
        at = len(keys) * (batch + 1)
        return {key: self._text(at + n).decode(_ENCODING, _ERRORS) for n, key in enumerate(keys)}

    def text_disorder(self) -> str:
        """What is wrong with keys and values, "" where nothing is."""
        if len(set(self.keys)) != len(self.keys) or b"\0" in bytes(self._texts):
            return "partition keys that are none"
        offsets = self._text_at.tolist()
        return "" if offsets == sorted(offsets) and not any(offsets[:1]) else "partitions out of order"

    def _text(self, number: int) -> bytes:
        return bytes(self._texts[self._text_at[number] : self._text_at[number + 1]])

    def _enter_run(self, run: int) -> None:
        """Remember the run that answers come from: workers walk the plan forwards, the next ones do too."""
        folder = self.run_folders[run]
        prefix = str(self.folder_bytes[self.folder_at[folder] : self.folder_at[folder + 1]], _ENCODING, _ERRORS)
        self._run_prefix = prefix if prefix == "/" else prefix + "/"
        self._run_begin, self._run_end = self.run_firsts[run], self.run_firsts[run + 1]

    def forget(self) -> None:
        """Pages that were looked at are no longer this process's memory; they come back when they are wanted."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Unmap. No column may be used afterwards; a view that somebody still holds keeps the mapping alive."""
        columns = (self.folder_at, self.run_firsts, self.run_folders, self.name_at, self.sizes, self.mtimes)
        texts = (self._text_at, self._texts)
        for view in (*columns, *texts, self.batch_firsts, self.folder_bytes, self.name_bytes, self.view):
            view.release()
        try:
            self._map.close()
        except BufferError:  # unmapped when that view goes
            pass


def _aligned(at: int) -> int:
    return (at + 7) // 8 * 8
