"""Walking one folder: the names of regular files in plan order, part by part, for others to look at.

Grouping.PATH    bytes of the relative path: depth first, a folder sorted as if its name ended with "/".
Grouping.DIRECTORY  the files of a folder, then its sub-folders in the same order.

The kind comes from the directory entry, so a file costs 0.5 us here (200,000 files, warm ext4).
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from bisect import bisect_left
from collections.abc import Generator, Iterator, Sequence
from itertools import islice

from batchctl.errors import UsageError
from batchctl.model.job import Grouping
from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name
from batchctl.plan.listers import Listers
from batchctl.plan.look import CHUNK, LONGEST, SIZE, Part, mtimes_of
from batchctl.plan.names import NameSorter
from batchctl.plan.patterns import Chooser
from batchctl.plan.stretch import Findings, Stretch

_GONE = (errno.ENOENT, errno.ENOTDIR)

Identity = tuple[int, int]  # st_dev, st_ino


def identity(path: bytes) -> Identity:
    found = os.stat(path)  # noqa: PTH116  names are bytes all the way
    return found.st_dev, found.st_ino


def refuse(path: bytes, error: OSError) -> UsageError:
    """A folder that cannot be listed must not silently lose items."""
    entry = f" ({display_name(os.fsdecode(error.filename))})" if error.filename not in (None, path) else ""
    return UsageError(
        f"cannot list folder: {error.strerror}{entry}",
        where=display_name(os.fsdecode(path)),
        remedy="make it readable, or leave it out: --exclude 'FOLDER/**' (FOLDER relative to the INPUT)",
    )


class OutGuard(NamedTuple):
    """The folders that a run writes into, which no walk enters. `identities` are those of the ones that exist."""

    paths: tuple[bytes, ...]  # resolved
    identities: frozenset[Identity]

    @classmethod
    def of(cls, *folders: os.PathLike[str] | None) -> OutGuard | None:
        paths = tuple(os.path.realpath(os.fsencode(folder)) for folder in folders if folder is not None)
        if not paths:
            return None
        there: set[Identity] = set()
        for path in paths:
            with contextlib.suppress(OSError):
                there.add(identity(path))
        return cls(paths, frozenset(there))

    def holds(self, folder: bytes) -> bool:
        """Whether the folder is one of them or lies in one."""
        real = os.path.realpath(folder)
        return any(real == path or real.startswith(path.rstrip(b"/") + b"/") for path in self.paths)


def _kind(entry: os.DirEntry[bytes]) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return "dangling" if entry.is_symlink() and not os.path.exists(entry.path) else "special"  # noqa: PTH110  bytes
    except OSError as error:
        if error.errno in (errno.ELOOP, *_GONE):
            return "dangling"
        raise


def look(part: Part, *, source: int, findings: Findings) -> Stretch:
    """The names with sizes and times, links followed; those gone meanwhile are noticed and dropped."""
    folder, names = part
    if len(folder) + 1 + max(map(len, names)) > LONGEST:
        raise UsageError("paths in this folder are longer than 4,095 bytes", where=display_name(os.fsdecode(folder)))
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise refuse(folder, error) from error
    found, kept = [], []
    try:
        for name in names:
            try:
                found.append(os.stat(name, dir_fd=handle))
                kept.append(name)
            except OSError as error:
                if error.errno not in (*_GONE, errno.ELOOP):
                    raise refuse(folder, error) from error
                findings.vanished.add(os.path.join(folder, name))  # noqa: PTH118  bytes
    finally:
        os.close(handle)
    return Stretch(source, folder, kept, list(map(SIZE, found)), mtimes_of(found))


class Walk:
    """One folder INPUT. Iterate `parts` once and close them; what it notices is in `findings` when it ends. `children`
    is as in Listers."""

    def __init__(
        self,
        root: bytes,
        findings: Findings,
        *,
        grouping: Grouping,
        choosers: Sequence[Chooser],
        out: OutGuard | None,
        children: int | None = None,
    ) -> None:
        self._root, self._findings = root, findings
        self._by_path = grouping is Grouping.PATH
        self._choosers, self._out = choosers, out
        self._listers = Listers(choosers, relative_of=self._relative, children=children)
        self._above = frozenset(self._parents(os.path.realpath(root)))

    @staticmethod
    def _parents(path: bytes) -> Iterator[Identity]:
        """Folders above the root: a link up to one of them leads back into the root, so it is a loop too."""
        while path != b"/":
            path = os.path.dirname(path)  # noqa: PTH120  bytes
            try:
                yield identity(path)
            except OSError:  # above a mount that hides it: nothing to compare with
                return

    def parts(self) -> Generator[Part, None, None]:
        try:
            yield from self._parts()
        finally:
            self._listers.close()

    def _parts(self) -> Iterator[Part]:
        # A stack of generators, not recursion: a path may be 2,000 folders deep.
        stack: list[tuple[bytes, Identity, Iterator[list[bytes] | bytes]]] = []
        entered: bytes | None = self._root
        while True:
            if entered is not None:
                me = self._enter(entered, {here for _, here, _ in stack})
                if me is None:
                    self._listers.passed(entered)
                else:
                    stack.append((entered, me, self._content(entered)))
            if not stack:
                return
            folder, _, content = stack[-1]
            step = next(content, None)
            entered = None
            if step is None:
                stack.pop()
            elif isinstance(step, bytes):
                entered = folder.rstrip(b"/") + b"/" + step
            else:
                yield Part(folder, step)

    def _enter(self, folder: bytes, ancestors: set[Identity]) -> Identity | None:
        try:
            me = identity(folder)
        except OSError as error:
            raise refuse(folder, error) from error
        if folder != self._root and (me in ancestors or me in self._above):
            self._findings.loops.add(folder)
            return None
        if self._out is not None and me in self._out.identities:
            self._findings.left_out.add(folder)
            return None
        return me

    def _content(self, folder: bytes) -> Iterator[list[bytes] | bytes]:
        """What lies in a folder, in plan order: lists of file names, and names of sub-folders to enter."""
        relative = self._relative(folder)
        content = self._listers.content(folder)
        if content is None:
            sorted_parts, folders = self._listed(folder, relative)
        else:
            sorted_parts, folders = iter((content.names,)), content.folders
            self._findings.filtered += content.filtered
        folders = [f for f in folders if all(c.enters(f"{relative}{os.fsdecode(f)}/") for c in self._choosers)]
        folders.sort(key=lambda name: name + b"/")
        self._listers.offer(folder.rstrip(b"/") + b"/", folders)
        following = iter(folders) if self._by_path else iter(())
        ahead = next(following, None)
        for part in sorted_parts:
            at = 0
            while ahead is not None:
                # Exact, because no file of this folder has the same name and "/" is in none.
                cut = bisect_left(part, ahead + b"/", at)
                yield from self._chunks(part, at, cut)
                at = cut
                if cut == len(part):
                    break  # it may belong behind names of the next part
                yield ahead
                ahead = next(following, None)
            yield from self._chunks(part, at, len(part))
        if ahead is not None:
            yield ahead
        yield from following if self._by_path else folders

    def _listed(self, folder: bytes, relative: str) -> tuple[Iterator[list[bytes]], list[bytes]]:
        """Names of its files, sorted, part by part, and of its sub-folders."""
        sorter, folders = NameSorter(), list[bytes]()
        began = time.monotonic_ns()
        try:
            with os.scandir(folder) as entries:
                while block := list(islice(entries, CHUNK)):
                    sorter.add(self._files(folder, relative, block, folders))
        except OSError as error:
            raise refuse(folder, error) from error
        self._listers.took(time.monotonic_ns() - began)
        return sorter.parts(), folders

    @staticmethod
    def _chunks(names: list[bytes], low: int, high: int) -> Iterator[list[bytes]]:
        for at in range(low, high, CHUNK):
            yield names[at : min(at + CHUNK, high)]

    def _relative(self, folder: bytes) -> str:
        below = folder[len(self._root) :].lstrip(b"/")
        return os.fsdecode(below) + "/" if below else ""

    def _files(
        self, folder: bytes, relative: str, block: list[os.DirEntry[bytes]], folders: list[bytes]
    ) -> list[bytes]:
        """Names of the chosen regular files of a block of entries; sub-folders are appended to `folders`."""
        try:
            names = [entry.name for entry in block if entry.is_file()]
        except OSError:  # a link in a circle
            names = []
        if len(names) != len(block):
            names = self._sorted_out(block, folders)
        for chooser in self._choosers:
            chosen = chooser.choose(relative, names)
            if chooser.counted:
                self._findings.filtered += len(names) - len(chosen)
            names = chosen
        return names

    def _sorted_out(self, block: list[os.DirEntry[bytes]], folders: list[bytes]) -> list[bytes]:
        names = []
        for entry in block:
            kind = _kind(entry)
            if kind == "file":
                names.append(entry.name)
            elif kind == "folder":
                folders.append(entry.name)
            else:
                (self._findings.dangling if kind == "dangling" else self._findings.special).add(entry.path)
        return names
