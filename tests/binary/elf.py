"""What an ELF file asks of the machine: its loader, libraries, the versions of their symbols (64 bit).

Read from the program headers, as the loader does, so that stripped files tell the same. Independent of the build's own
scan, which it is to check.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _VERNEED, _VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF


@dataclass(frozen=True, slots=True)
class Elf:
    """`interpreter`: has a PT_INTERP; `needed`: libraries by name; `versions`: (library, version), e.g. GLIBC_2.17."""

    interpreter: bool
    needed: tuple[str, ...]
    versions: frozenset[tuple[str, str]]

    @property
    def glibc(self) -> tuple[int, ...]:
        """The newest GLIBC_ version that it needs; () where none."""
        found = [name.removeprefix("GLIBC_") for _, name in self.versions if name.startswith("GLIBC_")]
        # GLIBC_PRIVATE would tie the file to one very build of glibc.
        assert all(text.replace(".", "").isdigit() for text in found), found
        return max((tuple(map(int, text.split("."))) for text in found), default=())


def read_elf(path: Path) -> Elf | None:
    """None where it is no ELF file."""
    data = path.read_bytes()
    if data[:4] != b"\x7fELF":
        return None
    assert data[4:6] == b"\x02\x01", f"{path}: not 64 bit little-endian"
    (table,) = struct.unpack_from("<Q", data, 32)
    size, number = struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQQQ", data, table + size * i) for i in range(number)]
    loads = [(address, offset, length) for kind, _, offset, address, _, length, _, _ in headers if kind == _LOAD]

    def at(address: int) -> int:
        return next(offset + address - start for start, offset, length in loads if start <= address < start + length)

    def text(offset: int) -> str:
        return data[offset : data.index(b"\0", offset)].decode("ascii")

    tags: dict[int, list[int]] = {}
    for kind, _, offset, _, _, length, _, _ in headers:
        if kind == _DYNAMIC:
            for tag, value in struct.iter_unpack("<QQ", data[offset : offset + length]):
                if tag == 0:
                    break
                tags.setdefault(tag, []).append(value)
    interpreter = any(header[0] == _INTERP for header in headers)
    if _STRTAB not in tags:
        return Elf(interpreter, (), frozenset())
    strings = at(tags[_STRTAB][0])
    versions = set()
    here = at(tags[_VERNEED][0]) if _VERNEED in tags else 0
    for _ in range(tags.get(_VERNEEDNUM, [0])[0]):
        _, count, library, first, following = struct.unpack_from("<HHIII", data, here)
        below = here + first
        for _ in range(count):
            _, _, _, name, more = struct.unpack_from("<IHHII", data, below)
            versions.add((text(strings + library), text(strings + name)))
            below += more
        here += following
    needed = tuple(text(strings + value) for value in tags.get(_NEEDED, []))
    return Elf(interpreter, needed, frozenset(versions))
