"""Launcher, compressed tree and footer become one file, laid out as docs/executable.md says; and back, to check it.

python build/pack.py --launcher LAUNCHER --tree FOLDER --version 0.1.0 --out FILE [--level 19]
"""

from __future__ import annotations

import argparse
import struct
from dataclasses import dataclass
from pathlib import Path

import tree as trees
import zstandard

MAGIC = b"BATCHCTL-FOOTER1"
FOOTER = struct.Struct("<16sQQQQII32s32s64s32sQ")  # 224 bytes; their digest follows
FOOTER_SIZE = FOOTER.size + 32
# With any number of threads >= 1 zstd's output is the same; without threads it is another. Level 19 has a window of
# 8 MiB, which is all the memory that unpacking takes.
THREADS = 2
LEVEL = 19


@dataclass(frozen=True, slots=True)
class Packed:
    """What the footer of a packed file says; sizes in bytes."""

    build_id: str
    launcher: int
    payload: int
    unpacked: int
    manifest: int
    entries: int


def pack(target: Path, *, launcher: Path, tree: Path, version: str, level: int = LEVEL) -> Packed:
    """Write the executable to `target` (mode 0755), replacing it. ValueError for a tree that cannot be packed."""
    found = trees.entries(tree)
    text = trees.manifest(found, version)
    content = b"".join([text, *((tree / entry.path).read_bytes() for entry in found if not entry.target)])
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True, threads=THREADS)
    payload = compressor.compress(content)
    start = launcher.read_bytes()
    name = trees.build_id(version, text)
    footer = FOOTER.pack(
        MAGIC,
        len(start),
        len(payload),
        len(content),
        len(text),
        len(found),
        0,
        trees.digest(payload),
        trees.digest(text),
        name.encode(),
        trees.digest(start),
        0,
    )
    temporary = target.with_name(target.name + ".tmp")
    temporary.write_bytes(b"".join([start, payload, footer, trees.digest(footer)]))
    temporary.chmod(0o755)
    temporary.replace(target)
    return Packed(
        build_id=name,
        launcher=len(start),
        payload=len(payload),
        unpacked=len(content),
        manifest=len(text),
        entries=len(found),
    )


def footer(file: bytes) -> tuple[Packed, bytes]:
    """The footer's figures, and the payload still compressed. Raises ValueError for what the launcher would refuse."""
    end = file[-FOOTER_SIZE:]
    if len(end) < FOOTER_SIZE or end[:16] != MAGIC or trees.digest(end[:-32]) != end[-32:]:
        raise ValueError("no footer, or a damaged one")
    _, offset, length, unpacked, text, count, zero, of_payload, _, name, of_launcher, more = FOOTER.unpack(end[:-32])
    payload = file[offset : offset + length]
    if offset + length + FOOTER_SIZE != len(file) or zero or more:
        raise ValueError("the footer's figures do not add up to the file's size")
    if trees.digest(payload) != of_payload or trees.digest(file[:offset]) != of_launcher:
        raise ValueError("a digest of the footer is not that of the bytes")
    figures = Packed(
        build_id=name.rstrip(b"\0").decode("ascii"),
        launcher=offset,
        payload=length,
        unpacked=unpacked,
        manifest=text,
        entries=count,
    )
    return figures, payload


def contents(file: bytes) -> tuple[Packed, bytes, dict[str, bytes]]:
    """Read a packed file back: figures, manifest, each file's bytes by path. Raises ValueError for any difference."""
    figures, payload = footer(file)
    content = zstandard.ZstdDecompressor().decompress(payload)
    text = content[: figures.manifest]
    version, _, _ = figures.build_id.rpartition("-")
    lines = text.decode("ascii").splitlines()
    if lines[0] != f"batchctl-tree 1 {version}" or figures.build_id != trees.build_id(version, text):
        raise ValueError("the manifest is not the build's")
    files, at = {}, figures.manifest
    for line in lines[1:]:
        if line.startswith("f "):
            _, _, size, wanted, path = line.split(" ")
            files[path] = content[at : at + int(size)]
            at += int(size)
            if trees.digest(files[path]).hex() != wanted:
                raise ValueError(f"{path}: not the bytes that the manifest names")
    if at != len(content) or at != figures.unpacked or len(lines) - 1 != figures.entries:
        raise ValueError("the manifest and the payload differ in length")
    return figures, text, files


def main() -> int:
    parser = argparse.ArgumentParser(description="Pack a tree and a launcher into one executable.")
    for option in ("--launcher", "--tree", "--out"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--level", type=int, default=LEVEL)
    given = parser.parse_args()
    print(pack(given.out, launcher=given.launcher, tree=given.tree, version=given.version, level=given.level))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
