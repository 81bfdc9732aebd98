"""The packaged file as the suite sees it: commands that run it, its parts as docs/executable.md gives them, its tree.

`BATCHCTL_BINARY` names the file (default: dist/batchctl), `BATCHCTL_BINARY_FULL=1` asks for the long counts.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
FILE = Path(os.environ.get("BATCHCTL_BINARY") or REPO / "dist" / "batchctl").resolve()
ABSENT = "no packaged file (make binary)"
FULL = os.environ.get("BATCHCTL_BINARY_FULL", "") not in ("", "0")
LIMIT_S = 120.0

MAGIC = b"BATCHCTL-FOOTER1"
FOOTER = struct.Struct("<16sQQQQII32s32s64s32sQ32s")
DAMAGED, NO_ROOT = 70, 69


def count(*, short: int, full: int) -> int:
    """How many, in this form of the suite."""
    return full if FULL else short


@dataclass(frozen=True, slots=True)
class Footer:
    """The last 256 bytes; `whole` where magic, lengths and the footer's own digest fit."""

    offset: int
    length: int
    unpacked: int
    manifest_length: int
    entries: int
    payload_digest: bytes
    manifest_digest: bytes
    build_id: str
    launcher_digest: bytes
    whole: bool


def footer_of(path: Path) -> Footer:
    """Read it from a file of at least 256 bytes."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - FOOTER.size)
        raw = file.read()
    magic, offset, length, unpacked, manifest, entries, zero, payload, listed, build, launcher, none, own = (
        FOOTER.unpack(raw)
    )
    whole = (
        magic == MAGIC
        and offset + length + FOOTER.size == size
        and (zero, none) == (0, 0)
        and own == blake(raw[:224])
        and build == build.rstrip(b"\0").ljust(64, b"\0")
    )
    build_id = build.rstrip(b"\0").decode("ascii")
    return Footer(offset, length, unpacked, manifest, entries, payload, listed, build_id, launcher, whole)


def blake(data: bytes) -> bytes:
    """The digest of the formats: BLAKE2b, 32 bytes."""
    return hashlib.blake2b(data, digest_size=32).digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the manifest. A link has mode 0, size 0 and the target in `digest`."""

    kind: str
    mode: int
    size: int
    digest: str
    path: str


def parse_manifest(text: str) -> list[Entry]:
    """Every entry, in the manifest's order. Raises ValueError where a line is not as the contract says."""
    first, *lines = text.splitlines()
    if not first.startswith("batchctl-tree 1 ") or not text.endswith("\n"):
        raise ValueError(f"not a manifest: {first!r}")
    found = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "f":
            mode, size, digest, path = rest.split(" ")
            found.append(Entry("f", int(mode, 8), int(size), digest, path))
        elif kind == "l":
            target, path = rest.split(" ")
            found.append(Entry("l", 0, 0, target, path))
        else:
            raise ValueError(f"not an entry: {line!r}")
    return found


def differences(tree: Path) -> list[str]:
    """What is not as the tree's own MANIFEST says: content, mode, what is missing, what should not be there."""
    entries = parse_manifest((tree / "MANIFEST").read_text(encoding="ascii"))
    problems = []
    for entry in entries:
        path = tree / entry.path
        try:
            if entry.kind == "l":
                good = os.readlink(path) == entry.digest
            else:
                status = path.lstat()
                content = path.read_bytes()
                good = (status.st_mode, len(content), blake(content).hex()) == (
                    0o100000 | entry.mode,
                    entry.size,
                    entry.digest,
                )
        except OSError as error:
            problems.append(f"{entry.path}: {error.strerror}")
        else:
            if not good:
                problems.append(f"{entry.path}: differs")
    listed = {entry.path for entry in entries} | {"MANIFEST"}
    there = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink() or not path.is_dir()}
    return [*problems, *(f"{name}: should not be there" for name in sorted(there - listed))]


def trees(root: Path) -> list[str]:
    """Names of what lies in a cache folder beside its lock, sorted; [] where there is no folder."""
    return sorted(path.name for path in root.iterdir() if path.name != ".lock") if root.is_dir() else []


@dataclass(frozen=True, slots=True)
class Ran:
    """One finished command."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    def expect(self, code: int, *words: str) -> Ran:
        """The exit code, and words that standard error holds."""
        assert self.code == code, f"exit {self.code}, not {code}\n{self}"
        missing = [word for word in words if word not in self.stderr]
        assert not missing, f"{missing} not said by\n{self}"
        return self

    def __str__(self) -> str:
        head = f"$ {' '.join(self.argv)}\nexit {self.code} after {self.seconds:.2f} s"
        return f"{head}\n--- stdout\n{self.stdout[-6000:]}\n--- stderr\n{self.stderr[-6000:]}"


@dataclass(frozen=True, slots=True)
class Packaged:
    """The file, with the cache folder and the HOME that its commands are given."""

    path: Path
    cache: Path
    home: Path

    @property
    def tree(self) -> Path:
        return self.cache / footer_of(self.path).build_id

    def environment(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """A plain user's environment; None takes a variable out."""
        found: dict[str, str | None] = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "BATCHCTL_CACHE": str(self.cache),
        }
        found.update(extra or {})
        return {name: value for name, value in found.items() if value is not None}

    def start(
        self, *argv: str | Path, env: Mapping[str, str | None] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[str]:
        """The command, under way; its output is for whoever calls communicate()."""
        return subprocess.Popen(
            [str(self.path), *map(str, argv)],
            cwd=cwd,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        limit: float = LIMIT_S,
    ) -> Ran:
        """The command, to its end."""
        began = time.monotonic()
        process = self.start(*argv, env=env, cwd=cwd)
        return finish(process, began=began, limit=limit)


def finish(process: subprocess.Popen[str], *, began: float, limit: float = LIMIT_S) -> Ran:
    """Wait for a started command; one that does not end in time is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"not ended after {limit:g} s: {process.args}\n{out}\n{err}") from None
    words = process.args
    assert isinstance(words, list)
    return Ran(tuple(map(str, words)), process.returncode, out, err, time.monotonic() - began)
