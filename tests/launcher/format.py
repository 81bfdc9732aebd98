"""The file of docs/executable.md once more, independent of build/: a packer small enough to lie with on purpose."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import pytest

MAGIC = b"BATCHCTL-FOOTER1"
FOOTER = 256


def digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


@dataclass(frozen=True)
class Entry:
    """A file (content and mode) or, with `target`, a symbolic link."""

    content: bytes = b""
    mode: str = "0644"
    target: str | None = None


def manifest_text(tree: Mapping[str, Entry], *, version: str = "1.0") -> bytes:
    lines = [f"batchctl-tree 1 {version}"]
    for path in sorted(tree, key=str.encode):
        entry = tree[path]
        if entry.target is not None:
            lines.append(f"l {entry.target} {path}")
        else:
            lines.append(f"f {entry.mode} {len(entry.content)} {digest(entry.content).hex()} {path}")
    return ("\n".join(lines) + "\n").encode()


def frame(raw: bytes, *, level: int = 3, checksum: bool = True) -> bytes:
    """One zstd frame, by the module or by the command, whichever is here."""
    try:
        import zstandard
    except ImportError:
        tool = shutil.which("zstd")
        if tool is None:
            pytest.skip("neither the zstandard module nor the zstd command is here")
        flag = "--check" if checksum else "--no-check"
        return subprocess.run([tool, "-q", "-c", f"-{level}", flag], input=raw, capture_output=True, check=True).stdout
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(raw)


@dataclass(frozen=True)
class Footer:
    """The footer's fields; `packed` computes what is not given."""

    offset: int
    length: int
    unpacked: int
    manifest_length: int
    entries: int
    payload_digest: bytes
    manifest_digest: bytes
    build_id: bytes
    launcher_digest: bytes
    reserved: tuple[int, int] = (0, 0)
    magic: bytes = field(default=MAGIC)

    def packed(self) -> bytes:
        head = struct.pack(
            "<16sQQQQII32s32s64s32sQ",
            self.magic,
            self.offset,
            self.length,
            self.unpacked,
            self.manifest_length,
            self.entries,
            self.reserved[0],
            self.payload_digest,
            self.manifest_digest,
            self.build_id,
            self.launcher_digest,
            self.reserved[1],
        )
        assert len(head) == 224
        return head + digest(head)


def build_id(manifest: bytes, *, version: str = "1.0") -> str:
    return f"{version}-{digest(manifest).hex()[:16]}"


def contents(tree: Mapping[str, Entry]) -> bytes:
    return b"".join(tree[path].content for path in sorted(tree, key=str.encode) if tree[path].target is None)


def footer_for(launcher: bytes, payload: bytes, manifest: bytes, *, raw: int, version: str = "1.0") -> Footer:
    return Footer(
        offset=len(launcher),
        length=len(payload),
        unpacked=raw,
        manifest_length=len(manifest),
        entries=max(manifest.count(b"\n") - 1, 1),
        payload_digest=digest(payload),
        manifest_digest=digest(manifest),
        build_id=build_id(manifest, version=version).encode(),
        launcher_digest=digest(launcher),
    )


def pack(launcher: Path, tree: Mapping[str, Entry], to: Path, *, version: str = "1.0", level: int = 3) -> str:
    """Write the one file; returns its build id."""
    program, manifest = launcher.read_bytes(), manifest_text(tree, version=version)
    raw = manifest + contents(tree)
    payload = frame(raw, level=level)
    to.write_bytes(program + payload + footer_for(program, payload, manifest, raw=len(raw), version=version).packed())
    to.chmod(0o755)
    return build_id(manifest, version=version)
