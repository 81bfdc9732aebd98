"""The script's own files: what `run` left in AZUREML_BI_OUTPUT_PATH goes to the mini-batch that it was run for.

    out/     AZUREML_BI_OUTPUT_PATH, fixed for the life of a worker (scripts read it once, in init)
    stage/<epoch>.<incarnation>.<mini-batch>.<first item>.<attempt>/     where one attempt's files wait for publication

The worker itself collects between two `run`s and before it answers. Relative paths are kept; folders stay in place,
for a script may have made them in init(). Regular files only; no link is followed, and what is no regular file stays,
named once.

- A closed file is renamed into the stage. One that has other names (hard links) is copied: what happens to those must
  not happen to a published file.
- A file that this process still holds open is flushed and copied; the next mini-batch gets what was added since. So a
  log that is opened once and appended to gives each mini-batch its own lines. One that was written anew is new.
- A file that only others can still write (a process that the script left running, a mapping) is copied too, named once,
  and done with: what they write later is nobody's, and cannot change what is published.
- A file that is there when init() ends belongs to no mini-batch: it is left in place and named once. Bytes that a `run`
  appends to it later are that mini-batch's (and are cut off again); one that is otherwise changed is published whole.
- What shutdown() writes, and the script's atexit functions, belongs to no mini-batch either: it is named once.
- An attempt that failed publishes nothing: what it wrote is deleted.

What the script took away from itself by chmod is given back: the owner reads files, and enters and changes folders.

Looking costs one stat per folder and mini-batch: a swept folder's time of change is set to a mark in the past before
it is listed, so whatever is created or removed afterwards shows, however coarse the file system's clock is. Where
nothing is written at all it is the stat of a descriptor (folder_watch.py).
"""

from __future__ import annotations

import contextlib
import os
import stat
import zlib

from .folder_watch import FolderWatch
from .held import HeldFiles
from .named_tuple import NamedTuple
from .writers import can_tell, is_written

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Set, Tuple

    from .held import Identity

_MARK_NS = 1_000_000_000  # one second after the epoch: no clock of a machine in use gives it
_CHECKED_PREFIX = 1 << 20
_SAMPLE = 64 << 10


class _Kept(NamedTuple):
    """A file that stays in the folder: how far it has been dealt with, and what it looked like then."""

    path: str
    size: int
    mtime_ns: int
    held: bool  # it was open then
    crc: Optional[int]  # of its first `size` bytes (a held one: of samples); None where that would cost too much


class Harvest:
    """Collects files of one worker. `stage` and the out folder lie on one file system."""

    def __init__(self, out: str, stage: str, note: Callable[[str, str], None]) -> None:
        self._out = out
        self._stage = stage
        self._note = note
        self._held = HeldFiles(out)
        self._kept: Dict[Identity, _Kept] = {}
        self._midway = False  # a sweep was begun whose files were not all dealt with
        self._folders: Set[str] = {out}
        self._watch = FolderWatch()  # of `out`, while it holds no folders
        self._tells_writers: Optional[bool] = None  # can this file system say who writes a file?

    def after_init(self) -> None:
        """Whatever is there now is nobody's."""
        names = []
        held = self._held.look()
        for path, found in self._sweep():
            self._keep(path, found, held=(found.st_dev, found.st_ino) in held)
            names.append(os.path.relpath(path, self._out))
        self._tell_unpublished("init", names)

    def after_shutdown(self) -> None:
        """Whatever is there that was not is nobody's: no mini-batch is left to answer for it."""
        if not self.has_new():
            return
        names = []
        for path, found in self._sweep():
            kept = self._known(path, found)
            if kept is None or kept.size != found.st_size or (not kept.held and kept.mtime_ns != found.st_mtime_ns):
                names.append(os.path.relpath(path, self._out))
        self._tell_unpublished("shutdown", names)

    def _tell_unpublished(self, function: str, names: List[str]) -> None:
        if names:
            shown = ", ".join(repr(name) for name in sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            text = "%s() wrote to AZUREML_BI_OUTPUT_PATH: %s; files of %s() are not published"
            self._note(function + "-files", text % (function, shown, function))

    def has_new(self) -> bool:
        """May anything have been written since the last sweep? Cheap; never says no wrongly."""
        if self._kept or self._midway:
            return True
        if self._watch.is_unchanged():
            return False
        try:
            found = [os.stat(folder, follow_symlinks=False) for folder in self._folders]
        except OSError:
            return True
        if any(one.st_mtime_ns != _MARK_NS for one in found):
            return True
        if len(found) == 1:
            self._watch.begin(self._out, found[0])
        return False

    def collect(self, name: str) -> List[Tuple[str, int]]:
        """Move what is new to stage/`name`; (path relative to it, size) of each file, by path. [] makes no folder."""
        target = os.path.join(self._stage, name)
        taken: List[Tuple[str, int]] = []
        held = self._held.look()
        self._midway = True
        for path, found in self._sweep():
            relative = os.path.relpath(path, self._out)
            size = self._take(path, found, os.path.join(target, relative), held)
            if size is not None:
                taken.append((relative, size))
        self._midway = False
        return sorted(taken)

    def discard(self) -> None:
        """Delete what a failed attempt wrote."""
        held = self._held.look()
        self._midway = True
        for path, found in self._sweep():
            identity = (found.st_dev, found.st_ino)
            kept = self._known(path, found)
            if identity in held:
                # Cutting it short under an open descriptor would leave a hole; its bytes so far are skipped instead.
                self._keep(path, found, held=True)
            elif kept is None or kept.held or found.st_size < kept.size:
                os.unlink(path)
                self._kept.pop(identity, None)
            elif found.st_size > kept.size:
                self._cut_back(path, identity, kept)
            elif found.st_mtime_ns != kept.mtime_ns:
                self._keep(path, found, held=False)
        self._midway = False

    def _take(self, path: str, found: os.stat_result, target: str, held: Set[Identity]) -> Optional[int]:
        """Bytes staged of one file, or None where nothing of it is new."""
        identity = (found.st_dev, found.st_ino)
        kept = self._known(path, found)
        if identity in held:
            goes_on = kept is not None and _goes_on(path, found, kept)
            begin = kept.size if kept is not None and goes_on else 0
            self._keep(path, found, held=True)
            if goes_on and begin == found.st_size:
                return None
            return _copy(path, target, begin, found.st_size)
        if kept is None:
            return self._move(path, found, target)
        grown = found.st_size - kept.size
        if kept.held and _goes_on(path, found, kept):
            # Closed since: the rest is this mini-batch's, and then the file is done with.
            del self._kept[identity]
            if grown:
                _copy(path, target, kept.size, found.st_size)
            os.unlink(path)
            return grown or None
        if not kept.held and grown == 0 and found.st_mtime_ns == kept.mtime_ns:
            return None
        if not kept.held and grown > 0 and kept.crc is not None and _goes_on(path, found, kept):
            _copy(path, target, kept.size, found.st_size)
            self._cut_back(path, identity, kept)
            return grown
        del self._kept[identity]
        return self._move(path, found, target)

    def _known(self, path: str, found: os.stat_result) -> Optional[_Kept]:
        """What is known of this file. One with another name is another file, or becomes one by being renamed."""
        kept = self._kept.get((found.st_dev, found.st_ino))
        return kept if kept is not None and kept.path == path else None

    def _is_written(self, path: str) -> bool:
        if self._tells_writers is None:
            self._tells_writers = can_tell(self._stage)
        return self._tells_writers and is_written(path)

    def _move(self, path: str, found: os.stat_result, target: str) -> int:
        """Stage a file as it is, as something that nobody can change any more; its size."""
        os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
        if found.st_nlink == 1:
            os.rename(path, target)
            if not self._is_written(target):  # asked after the rename: nobody finds it by its name any more
                return os.stat(target, follow_symlinks=False).st_size
            text = "%r could still be written by what run() had left behind; it is published as it was then"
            self._note("written", text % os.path.relpath(path, self._out))
            os.rename(target, path)
        size = _copy(path, target, 0, os.stat(path, follow_symlinks=False).st_size)
        os.unlink(path)
        return size

    def _keep(self, path: str, found: os.stat_result, *, held: bool) -> None:
        crc: Optional[int] = None
        if held:
            crc = _sample_crc(path, found.st_size)
        elif found.st_size <= _CHECKED_PREFIX:
            crc = _prefix_crc(path, found.st_size)
        self._kept[(found.st_dev, found.st_ino)] = _Kept(path, found.st_size, found.st_mtime_ns, held, crc)

    def _cut_back(self, path: str, identity: Identity, kept: _Kept) -> None:
        os.truncate(path, kept.size)
        self._kept[identity] = kept._replace(mtime_ns=os.stat(path, follow_symlinks=False).st_mtime_ns)

    def _sweep(self) -> List[Tuple[str, os.stat_result]]:
        """Every regular file below out/, marking each folder as seen before it is listed."""
        if os.path.islink(self._out):  # what a link leads to is not ours to move or to delete
            os.unlink(self._out)
            text = "AZUREML_BI_OUTPUT_PATH was replaced by a link; the link was removed, nothing was taken from there"
            self._note("linked", text)
        os.makedirs(self._out, 0o700, exist_ok=True)  # the script removed its own output folder
        files: List[Tuple[str, os.stat_result]] = []
        folders: Set[str] = set()
        waiting = [self._out]
        while waiting:
            folder = waiting.pop()
            folders.add(folder)
            _give_back(folder, os.stat(folder, follow_symlinks=False), stat.S_IRWXU)
            os.utime(folder, ns=(_MARK_NS, _MARK_NS), follow_symlinks=False)
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                try:
                    found = os.stat(path, follow_symlinks=False)
                except FileNotFoundError:  # a helper process of the script tidies up
                    continue
                if stat.S_ISDIR(found.st_mode):
                    waiting.append(path)
                elif stat.S_ISREG(found.st_mode):
                    _give_back(path, found, stat.S_IRUSR)
                    files.append((path, found))
                else:
                    text = "%r in AZUREML_BI_OUTPUT_PATH is no regular file and is not published"
                    self._note("irregular", text % name)
        self._folders = folders
        return files


class NoHarvest(Harvest):
    """The script writes into OUT itself (own_files = direct): nothing is collected and nothing deleted."""

    def after_init(self) -> None:
        """See Harvest."""

    def has_new(self) -> bool:
        """See Harvest."""
        return False

    def after_shutdown(self) -> None:
        """See Harvest."""


def _goes_on(path: str, found: os.stat_result, kept: _Kept) -> bool:
    """Does the file begin with what it held when it was looked at last? (Where that was not kept: it is believed.)"""
    if found.st_size < kept.size:
        return False
    crc_of = _sample_crc if kept.held else _prefix_crc
    return kept.crc is None or crc_of(path, kept.size) == kept.crc


def _prefix_crc(path: str, length: int) -> int:
    with open(path, "rb") as handle:
        return zlib.crc32(handle.read(length))


def _sample_crc(path: str, length: int) -> int:
    """Of the beginning and the end of its first `length` bytes: as dear for a gigabyte as for a short log."""
    with open(path, "rb") as handle:
        crc = zlib.crc32(handle.read(min(length, _SAMPLE)))
        handle.seek(max(0, length - _SAMPLE))
        return zlib.crc32(handle.read(min(length, _SAMPLE)), crc)


def _give_back(path: str, found: os.stat_result, needed: int) -> None:
    """Let the owner do what is needed with a file or folder; the other bits stay."""
    if found.st_mode & needed != needed:
        os.chmod(path, stat.S_IMODE(found.st_mode) | needed)


def _copy(path: str, target: str, begin: int, end: int) -> int:
    """Bytes copied; less than asked for where the file became shorter meanwhile."""
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    with open(path, "rb") as source, open(target, "xb") as sink:
        source.seek(begin)
        left = end - begin
        while left > 0:
            piece = source.read(min(left, 1 << 20))
            if not piece:
                break
            sink.write(piece)
            left -= len(piece)
    return end - begin - left


def remove_tree(path: str) -> None:
    """Delete a staged folder; what cannot be deleted is the coordinator's to clear at the next recovery."""
    with contextlib.suppress(Exception):  # no descriptor may be left for the import
        import shutil  # 3 ms, with all that packs archives, which most workers can do without

        shutil.rmtree(path, ignore_errors=True)


def remove_predecessors(home: str) -> None:
    """Delete what earlier workers of this slot left: `home` is <slot>.<incarnation>, and a slot has one worker at a
    time. A long run in which many die would fill the disk otherwise."""
    folder, name = os.path.split(home)
    prefix = name.rpartition(".")[0] + "."
    for other in os.listdir(folder) if len(prefix) > 1 and os.path.isdir(folder) else ():
        if other.startswith(prefix) and other != name:
            remove_tree(os.path.join(folder, other))
