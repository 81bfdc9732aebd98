"""The manifest of a tree, and whether a folder is what its manifest says (docs/executable.md has the format)."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from batchctl.errors import ExecutableDamagedError
from batchctl.named_tuple import NamedTuple

NAME = "MANIFEST"
DIGEST_BYTES = 32
_FIRST = re.compile(r"batchctl-tree 1 ([A-Za-z0-9.+-]+)")
_FILE = re.compile(r"f (0755|0644) (0|[1-9][0-9]{0,15}) ([0-9a-f]{64}) (\S+)")
_LINK = re.compile(r"l (\S+) (\S+)")
_PATH = re.compile(r"[A-Za-z0-9._+@=/-]+")


class Entry(NamedTuple):
    """A file (`target` empty) or a symbolic link. `digest` is BLAKE2b-256 in hex, `size` in bytes."""

    path: str
    mode: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""


class Manifest(NamedTuple):
    """What a tree consists of, and the digest of the manifest's own bytes in hex."""

    version: str
    entries: tuple[Entry, ...]
    digest: str

    @property
    def build_id(self) -> str:
        """The name of the tree's folder in a cache."""
        return f"{self.version}-{self.digest[:16]}"

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(entry.size for entry in self.entries)


def digest_of(data: bytes) -> str:
    """BLAKE2b of 32 bytes, in hex: what all digests of the executable are."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Raises ExecutableDamagedError naming the line that is none."""
    lines = data.decode("ascii", errors="replace").split("\n")
    first = _FIRST.fullmatch(lines[0])
    if first is None or lines.pop() != "":
        raise ExecutableDamagedError("this is no manifest of a tree", where=where)
    entries: list[Entry] = []
    for number, line in enumerate(lines[1:], start=2):
        entry = _entry(line)
        if entry is None or (entries and entry.path <= entries[-1].path):
            raise ExecutableDamagedError("a line of the manifest is damaged", where=f"{where}:{number}")
        entries.append(entry)
    return Manifest(first[1], tuple(entries), digest_of(data))


def _entry(line: str) -> Entry | None:
    file, link = _FILE.fullmatch(line), _LINK.fullmatch(line)
    if file is not None:
        entry = Entry(file[4], mode=int(file[1], 8), size=int(file[2]), digest=file[3])
    elif link is not None:
        entry = Entry(link[2], target=link[1])
    else:
        return None
    sound = _PATH.fullmatch(entry.path) and not {"", ".", ".."} & set(entry.path.split("/"))
    return entry if sound else None


def read_manifest(folder: Path) -> Manifest:
    """The manifest that lies in a tree; ExecutableDamagedError where there is none that can be read."""
    path = folder / NAME
    try:
        return parse_manifest(path.read_bytes(), where=str(path))
    except OSError as error:
        raise ExecutableDamagedError(f"the manifest cannot be read: {error.strerror}", where=str(path)) from error


def damages(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What of the tree is not as the manifest says: a line per file, `PATH: what`. Reads every byte."""
    for entry in manifest.entries:
        problem = _damage(folder / entry.path, entry)
        if problem:
            yield f"{folder / entry.path}: {problem}"
    expected = {entry.path for entry in manifest.entries} | {NAME}
    for path in _files(folder):
        if str(path.relative_to(folder)) not in expected:
            yield f"{path}: is not part of it"


def _damage(path: Path, entry: Entry) -> str:
    try:
        found = path.lstat()
        if entry.target:
            if not stat.S_ISLNK(found.st_mode):
                return "is not a symbolic link"
            target = str(path.readlink())
            return "" if target == entry.target else f"points to {target}, not to {entry.target}"
        if not stat.S_ISREG(found.st_mode):
            return "is not a file"
        if found.st_size != entry.size:
            return f"has {found.st_size} bytes, not {entry.size}"
        if stat.S_IMODE(found.st_mode) != entry.mode:
            return f"has mode {stat.S_IMODE(found.st_mode):04o}, not {entry.mode:04o}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "" if digest == entry.digest else "has other content"


def _files(folder: Path) -> list[Path]:
    """All that is no folder, sorted; links are not followed."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
