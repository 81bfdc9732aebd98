"""What the dynamic loader will ask of a file: its libraries, and the oldest glibc that has the symbols it wants.

Read from the program headers and the dynamic section, never from the section headers: strip may remove those.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH, _VERNEED, _VERNEEDNUM = 1, 5, 14, 15, 29, 0x6FFFFFFE, 0x6FFFFFFF
_SEARCH = (_RPATH, _RUNPATH)


@dataclass(frozen=True, slots=True)
class Elf:
    """One 64-bit little-endian ELF file. `wants` are the versions it needs, such as `GLIBC_2.17`.

    `search` holds the folders (RPATH and RUNPATH) in which the loader looks for its libraries before the system's.
    """

    interpreter: str
    soname: str
    needed: tuple[str, ...]
    wants: frozenset[str]
    search: tuple[str, ...]

    @property
    def glibc(self) -> tuple[int, ...]:
        """The newest glibc version wanted, (2, 17) for one; () where none is."""
        found = (re.fullmatch(r"GLIBC_([0-9.]+)", want) for want in self.wants)
        return max((tuple(map(int, match[1].split("."))) for match in found if match), default=())

    @property
    def is_static(self) -> bool:
        return not self.interpreter and not self.needed


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def read(path: Path) -> Elf:
    """Raises ValueError where it is no 64-bit little-endian ELF file, or one that ends too soon."""
    data = path.read_bytes()
    try:
        return _parse(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"{path}: damaged ELF file: {error}") from error


def _parse(data: bytes) -> Elf:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit little-endian ELF file")
    table, (size, count) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, table + size * i) for i in range(count)]
    loads = [(address, offset, length) for kind, _, offset, address, _, length, _, _ in headers if kind == _LOAD]

    def place(address: int) -> int:
        for start, offset, length in loads:
            if start <= address < start + length:
                return offset + address - start
        raise IndexError(f"address {address:#x} is in no segment")

    def text(offset: int) -> str:
        return data[offset : data.index(b"\0", offset)].decode("ascii", "replace")

    interpreter = next((text(h[2]) for h in headers if h[0] == _INTERP), "")
    tags = [pair for h in headers if h[0] == _DYNAMIC for pair in struct.iter_unpack("<qQ", data[h[2] : h[2] + h[5]])]
    tags = tags[: next((i for i, tag in enumerate(tags) if tag[0] == 0), len(tags))]
    first = dict(reversed(tags))
    strings = place(first[_STRTAB]) if _STRTAB in first else 0
    wants: frozenset[str] = frozenset()
    if _VERNEED in first:
        names = _versions(data, place(first[_VERNEED]), first[_VERNEEDNUM])
        wants = frozenset(text(strings + name) for name in names)
    return Elf(
        interpreter=interpreter,
        soname=text(strings + first[_SONAME]) if _SONAME in first else "",
        needed=tuple(text(strings + value) for tag, value in tags if tag == _NEEDED),
        wants=wants,
        search=tuple(part for tag, value in tags if tag in _SEARCH for part in text(strings + value).split(":")),
    )


def without_search(data: bytes) -> bytes:
    """The file's bytes without RPATH and RUNPATH: the entries behind them move up, and the end is filled with zeros."""
    table, (size, count) = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, offset, _, _, length, _, _ = struct.unpack_from("<IIQQQQQQ", data, table + size * i)
        if kind == _DYNAMIC:
            kept = [tag for tag in struct.iter_unpack("<qQ", data[offset : offset + length]) if tag[0] not in _SEARCH]
            section = b"".join(struct.pack("<qQ", *tag) for tag in kept).ljust(length, b"\0")
            data = data[:offset] + section + data[offset + length :]
    return data


def _versions(data: bytes, at: int, count: int) -> Iterator[int]:
    """Offsets in the string table of the names in .gnu.version_r."""
    for _ in range(count):
        _, many, _, aux, following = struct.unpack_from("<HHIII", data, at)
        inner = at + aux
        for _ in range(many):
            _, _, _, name, step = struct.unpack_from("<IHHII", data, inner)
            yield name
            inner += step
        at += following
