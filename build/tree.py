"""The tree as the executable carries it: its entries in order, their modes, and the manifest (docs/executable.md)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "batchctl"  # the one file of the tree that is executed
_PATH = re.compile(r"[A-Za-z0-9._+@=/-]+")
_BUILD_ID = re.compile(r"[A-Za-z0-9.+-]{1,63}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (`target` is empty) or a symbolic link of the tree; `size` in bytes, `digest` is BLAKE2b of 32 bytes."""

    path: str
    mode: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""

    def line(self) -> str:
        if self.target:
            return f"l {self.target} {self.path}\n"
        return f"f {self.mode:04o} {self.size} {self.digest} {self.path}\n"


def digest(data: bytes) -> bytes:
    """The one digest of the file format."""
    return hashlib.blake2b(data, digest_size=32).digest()


def entries(tree: Path) -> list[Entry]:
    """All files and links below `tree`, sorted by the bytes of their paths. Raises ValueError for what has no place."""
    return sorted(_walk(tree), key=lambda entry: entry.path.encode())


def _walk(tree: Path) -> Iterator[Entry]:
    for folder, folders, files in os.walk(tree):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(folder) / name
            inside = path.relative_to(tree).as_posix()
            check_path(inside)
            if path.is_symlink():
                yield Entry(path=inside, target=_target(path, tree))
            elif path.is_file():
                data = path.read_bytes()
                mode = 0o755 if inside == PROGRAM else 0o644
                yield Entry(path=inside, mode=mode, size=len(data), digest=digest(data).hex())
            else:
                raise ValueError(f"{inside}: neither a file nor a link")


def check_path(path: str) -> None:
    """Raises ValueError for a path that the launcher would refuse."""
    if not _PATH.fullmatch(path) or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError(
            f"{path!r}: a path of the tree holds A-Z a-z 0-9 . _ + - @ = / only, and no empty, . or .. part"
        )


def _target(link: Path, tree: Path) -> str:
    target = str(link.readlink())
    end = os.path.normpath(link.parent.relative_to(tree) / target)
    if target.startswith("/") or end.startswith("..") or not _PATH.fullmatch(target):
        raise ValueError(f"{link.relative_to(tree)}: the link leads out of the tree: {target}")
    return target


def manifest(found: list[Entry], version: str) -> bytes:
    return (f"batchctl-tree 1 {version}\n" + "".join(entry.line() for entry in found)).encode("ascii")


def build_id(version: str, text: bytes) -> str:
    """The name of the tree's folder in the cache. Raises ValueError where the version cannot be part of one."""
    name = f"{version}-{digest(text).hex()[:16]}"
    if not _BUILD_ID.fullmatch(name):
        raise ValueError(f"{name!r} is no build id: a version holds A-Z a-z 0-9 . + - only, 46 at most")
    return name


def settle(tree: Path, epoch: int) -> None:
    """Give every file its mode and the one date, so that the folder itself can be compared and copied."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path == tree / PROGRAM else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
