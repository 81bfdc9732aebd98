"""Digests of files that a run depends on: path, size, modification time, SHA-256 of each.

A file whose path, size and mtime_ns are those of an earlier manifest keeps its digest unread, so that a resume does
not hash a model of many gigabytes again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batchctl.digests import sha256
from batchctl.errors import UsageError
from batchctl.named_tuple import NamedTuple
from batchctl.plan.display import display_name

if TYPE_CHECKING:
    from batchctl.digests import Digest

_BLOCK = 1 << 20
SKIPPED_FOLDERS = frozenset({"__pycache__", ".git"})
SKIPPED_SUFFIXES = (".pyc",)


class FileDigest(NamedTuple):
    """One file. `path` is relative to what was digested, undecodable bytes written `\\xNN`."""

    path: str
    size: int
    mtime_ns: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "mtime_ns": self.mtime_ns, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(str(found["path"]), int(found["size"]), int(found["mtime_ns"]), str(found["sha256"]))


Manifest = tuple[FileDigest, ...]


def combined_digest(manifest: Manifest) -> str:
    """One SHA-256 (hex) of names and contents; "" where there is no file. Times do not count."""
    lines = [f"{digest.path}\0{digest.sha256}\n" for digest in manifest]
    text = "".join(lines).encode("utf-8", "surrogateescape")
    digest = sha256(len(text))
    digest.update(text)
    return digest.hexdigest() if lines else ""


def _relative(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _sha256(path: str, digest: Digest) -> str:
    with open(path, "rb") as file:  # noqa: PTH123  names may not be UTF-8; str by surrogateescape all the way
        while piece := file.read(_BLOCK):
            digest.update(piece)
    return digest.hexdigest()


def digest_files(root: Path, relative: Iterable[str], *, old: Manifest = ()) -> Manifest:
    """Digest `root / name` for each name, sorted by path. Raises UsageError naming the file that cannot be read."""
    known = {digest.path: digest for digest in old}
    found = []
    for name in relative:
        path = os.path.join(root, name) if name else str(root)  # noqa: PTH118  as above
        shown = _relative(name or root.name)
        try:
            now = os.stat(path)  # noqa: PTH116
            before = known.get(shown)
            if before is not None and (before.size, before.mtime_ns) == (now.st_size, now.st_mtime_ns):
                found.append(before)
            elif stat.S_ISREG(now.st_mode):
                found.append(FileDigest(shown, now.st_size, now.st_mtime_ns, _sha256(path, sha256(now.st_size))))
        except OSError as error:
            raise UsageError(f"cannot be read: {error.strerror}", where=display_name(path)) from error
    return tuple(sorted(found, key=lambda digest: digest.path))


def _files(root: Path, *, skip: frozenset[str], keep: Callable[[str], bool]) -> Iterator[str]:
    """Relative names of the files below `root`; links followed, loops and the folders of `skip` (resolved) not."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"cannot list folder: {error.strerror}", where=display_name(str(error.filename))) from error

    skipped_names = {os.path.basename(path) for path in skip}  # noqa: PTH119
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        entered = os.stat(folder)  # noqa: PTH116
        if (entered.st_dev, entered.st_ino) in seen:  # a loop, or a second way to what is digested already
            folders.clear()
            continue
        seen.add((entered.st_dev, entered.st_ino))
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else inside + "/"
        # Sorted, so that of two ways to one folder the same one is taken on every machine.
        folders[:] = sorted(
            name for name in folders if name not in SKIPPED_FOLDERS and os.path.realpath(f"{folder}/{name}") not in skip
        )
        for name in files:
            path = f"{folder}/{name}"
            if name in skipped_names and os.path.realpath(path) in skip:
                continue
            # FIFOs, sockets and dangling links have no content to compare.
            if keep(name) and os.path.isfile(path):  # noqa: PTH113
                yield prefix + name


def _modules(root: Path, *, skip: frozenset[str]) -> Iterator[str]:
    """Relative names of the `*.py` that scripts in `root` can import: there, and in packages, of packages, below it.

    No folder without an `__init__.py` is listed, packages of `skip` and loops are not entered.
    """
    seen: set[tuple[int, int]] = set()
    coming = [""]
    while coming:
        prefix = coming.pop()
        folder = os.path.join(root, prefix)  # noqa: PTH118  as above
        try:
            entered = os.stat(folder)  # noqa: PTH116
            if (entered.st_dev, entered.st_ino) in seen:
                continue
            seen.add((entered.st_dev, entered.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise UsageError(f"cannot list folder: {error.strerror}", where=display_name(folder)) from error
        for entry in entries:
            if entry.name.endswith(".py"):
                # isfile, not the entry's: a link in a circle is no error.
                if os.path.isfile(entry.path) and os.path.realpath(entry.path) not in skip:  # noqa: PTH113
                    yield prefix + entry.name
            elif (
                not entry.is_file(follow_symlinks=False)  # most are, and cost no system call here
                and entry.name not in SKIPPED_FOLDERS
                and os.path.isfile(f"{entry.path}/__init__.py")  # noqa: PTH113
                and os.path.realpath(entry.path) not in skip
            ):
                coming.append(f"{prefix}{entry.name}/")


def digest_code(code: Path, *, skip: Sequence[Path] = (), old: Manifest = (), modules_only: bool = False) -> Manifest:
    """The code folder without `__pycache__`, `.git`, `*.pyc` and the files and folders of `skip` (OUT, INPUTs, model).

    With `modules_only` the folder is just where a script lies, maybe somebody's home: only its modules and packages
    count, and no other sub-folder is listed.

    Where the code folder itself is one of `skip` or lies in one (a script among its inputs), only modules (`*.py`)
    count: data that is input is judged by the plan.
    """
    resolved = frozenset(os.path.realpath(path) for path in skip)
    if modules_only:
        return digest_files(code, _modules(code, skip=resolved), old=old)
    real = os.path.realpath(code)
    among = any(real == path or real.startswith(path.rstrip("/") + "/") for path in resolved)

    def keep(name: str) -> bool:
        return name.endswith(".py") if among else not name.endswith(SKIPPED_SUFFIXES)

    return digest_files(code, _files(code, skip=resolved, keep=keep), old=old)


def digest_model(model: Path | None, *, skip: Sequence[Path] = (), old: Manifest = ()) -> Manifest:
    """The model: one file, or every file of a folder, without what lies in the folders of `skip` (OUT, INPUTs)."""
    if model is None:
        return ()
    if not model.is_dir():
        return digest_files(model, [""], old=old)
    resolved = frozenset(os.path.realpath(path) for path in skip)
    return digest_files(model, _files(model, skip=resolved, keep=lambda name: True), old=old)
