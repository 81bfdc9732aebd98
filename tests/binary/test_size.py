"""How large the file is and what it unpacks to, and that its parts are where docs/executable.md has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.binary.packaged import FOOTER, Packaged, blake, footer_of, parse_manifest

MIB, MB = 1 << 20, 10**6


def window_of(file: Path) -> int:
    """log2 of the window that the payload's frame was compressed with: 23 at level 19, less at lower levels."""
    with file.open("rb") as opened:
        opened.seek(footer_of(file).offset + 4)
        descriptor, window = opened.read(2)
    return 63 if descriptor & 0x20 else 10 + (window >> 3)


def test_the_file_is_within_its_size(packaged_file: Path) -> None:
    size = packaged_file.stat().st_size
    assert size <= 75 * MIB
    if window_of(packaged_file) < 23:
        pytest.skip(f"{size / MIB:.1f} MiB, packed at a lower level than 19, which the bound of 60 MiB is for")
    assert size <= 60 * MIB


def test_the_tree_is_within_its_size_and_number_of_files(warm: Packaged) -> None:
    entries = parse_manifest((warm.tree / "MANIFEST").read_text(encoding="ascii"))
    assert sum(entry.size for entry in entries) <= 190 * MB
    assert len(entries) <= 220
    on_disk = [path for path in warm.tree.rglob("*") if path.is_file()]
    assert sum(path.lstat().st_size for path in on_disk) <= 190 * MB
    assert len(on_disk) <= 220


def test_the_footer_describes_the_file(warm: Packaged) -> None:
    footer, data = footer_of(warm.path), warm.path.read_bytes()
    manifest = (warm.tree / "MANIFEST").read_bytes()
    assert footer.whole
    assert data[:4] == b"\x7fELF"
    assert blake(data[: footer.offset]) == footer.launcher_digest
    assert blake(data[footer.offset : -FOOTER.size]) == footer.payload_digest
    assert blake(manifest) == footer.manifest_digest
    assert len(manifest) == footer.manifest_length
    entries = parse_manifest(manifest.decode("ascii"))
    assert len(entries) == footer.entries
    assert footer.unpacked == len(manifest) + sum(entry.size for entry in entries)
    assert [entry.path.encode() for entry in entries] == sorted(entry.path.encode() for entry in entries)


def test_the_build_id_is_the_version_and_the_manifest_digest(warm: Packaged) -> None:
    footer = footer_of(warm.path)
    version = warm.run("--version").expect(0).stdout.removeprefix("batchctl ").strip()
    assert footer.build_id == f"{version}-{footer.manifest_digest.hex()[:16]}"
    assert re.fullmatch(r"[A-Za-z0-9.+-]+", footer.build_id)


def test_the_payload_is_one_zstandard_frame_with_a_checksum(packaged_file: Path) -> None:
    with packaged_file.open("rb") as file:
        file.seek(footer_of(packaged_file).offset)
        magic, descriptor = file.read(4), file.read(1)[0]
    assert magic == b"\x28\xb5\x2f\xfd"
    assert descriptor & 0x04
