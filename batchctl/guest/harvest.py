"""The script's own files: what `run` left in AZUREML_BI_OUTPUT_PATH goes to the mini-batch that it was run for.

    out/     AZUREML_BI_OUTPUT_PATH, fixed for the life of a worker (scripts read it once, in init)
    stage/<epoch>.<incarnation>.<mini-batch>.<first item>.<attempt>/     where one attempt's files wait for publication

The worker itself collects between two `run`s and before it answers. Relative paths are kept; folders stay in place,
for a script may have made them in init(). Regular files only; no link is followed, and what is no regular file stays,
named once.

- A closed file is renamed into the stage.
- A file that this process still holds open is flushed and copied; the next mini-batch gets what was added since. So a
  log that is opened once and appended to gives each mini-batch its own lines.
- A file that is there when init() ends belongs to no mini-batch: it is left in place and named once. Bytes that a `run`
  appends to it later are that mini-batch's (and are cut off again); one that is otherwise changed is published whole.
- What shutdown() writes, and the script's atexit functions, belongs to no mini-batch either: it is named once.
- An attempt that failed publishes nothing: what it wrote is deleted.

Looking costs one stat per folder and mini-batch: a swept folder's time of change is set to a mark in the past before
it is listed, so whatever is created or removed afterwards shows, however coarse the file system's clock is.
"""

from __future__ import annotations

import os
import shutil
import stat
import zlib
from typing import Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from .held import HeldFiles, Identity

_MARK_NS = 1_000_000_000  # one second after the epoch: no clock of a machine in use gives it
_CHECKED_PREFIX = 1 << 20


class _Kept(NamedTuple):
    """A file that stays in the folder: how far it has been dealt with, and what it looked like then."""

    size: int
    mtime_ns: int
    held: bool  # it was open then
    crc: Optional[int]  # of its first `size` bytes, where init() left it closed and small enough to look at


class Harvest:
    """Collects files of one worker. `stage` and the out folder lie on one file system."""

    def __init__(self, out: str, stage: str, note: Callable[[str, str], None]) -> None:
        self._out = out
        self._stage = stage
        self._note = note
        self._held = HeldFiles(out)
        self._kept: Dict[Identity, _Kept] = {}
        self._folders: Set[str] = {out}

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
            kept = self._kept.get((found.st_dev, found.st_ino))
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
        if self._kept:
            return True
        try:
            for folder in self._folders:
                if os.stat(folder, follow_symlinks=False).st_mtime_ns != _MARK_NS:
                    return True
        except OSError:
            return True
        return False

    def collect(self, name: str) -> List[Tuple[str, int]]:
        """Move what is new to stage/`name`; (path relative to it, size) of each file, by path. [] makes no folder."""
        target = os.path.join(self._stage, name)
        taken: List[Tuple[str, int]] = []
        held = self._held.look()
        for path, found in self._sweep():
            relative = os.path.relpath(path, self._out)
            size = self._take(path, found, os.path.join(target, relative), held)
            if size is not None:
                taken.append((relative, size))
        return sorted(taken)

    def discard(self) -> None:
        """Delete what a failed attempt wrote."""
        held = self._held.look()
        for path, found in self._sweep():
            identity = (found.st_dev, found.st_ino)
            kept = self._kept.get(identity)
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

    def _take(self, path: str, found: os.stat_result, target: str, held: Set[Identity]) -> Optional[int]:
        """Bytes staged of one file, or None where nothing of it is new."""
        identity = (found.st_dev, found.st_ino)
        kept = self._kept.get(identity)
        if identity in held:
            begin = kept.size if kept is not None and kept.size <= found.st_size else 0
            self._keep(path, found, held=True)
            if begin == found.st_size and kept is not None:
                return None
            _copy(path, target, begin, found.st_size)
            return found.st_size - begin
        if kept is None:
            _rename(path, target)
            return found.st_size
        grown = found.st_size - kept.size
        if kept.held and grown >= 0:  # closed since: the rest is this mini-batch's, and then the file is done with
            del self._kept[identity]
            if grown:
                _copy(path, target, kept.size, found.st_size)
            os.unlink(path)
            return grown or None
        if not kept.held and grown == 0 and found.st_mtime_ns == kept.mtime_ns:
            return None
        if grown > 0 and kept.crc is not None and _prefix_crc(path, kept.size) == kept.crc:
            _copy(path, target, kept.size, found.st_size)
            self._cut_back(path, identity, kept)
            return grown
        del self._kept[identity]
        _rename(path, target)
        return found.st_size

    def _keep(self, path: str, found: os.stat_result, *, held: bool) -> None:
        crc = None if held or found.st_size > _CHECKED_PREFIX else _prefix_crc(path, found.st_size)
        self._kept[(found.st_dev, found.st_ino)] = _Kept(found.st_size, found.st_mtime_ns, held, crc)

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


def _prefix_crc(path: str, length: int) -> int:
    with open(path, "rb") as handle:
        return zlib.crc32(handle.read(length))


def _rename(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    os.rename(path, target)


def _copy(path: str, target: str, begin: int, end: int) -> None:
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


def remove_tree(path: str) -> None:
    """Delete a staged folder; what cannot be deleted is the coordinator's to clear at the next recovery."""
    shutil.rmtree(path, ignore_errors=True)
