"""What PyInstaller starts: batchctl itself, or the embedded interpreter when batchctl asks for it."""

from __future__ import annotations

import marshal
import mmap
import os
import zlib

import pyimod01_archive  # PyInstaller's own, loaded before us
import pyimod02_importers

from batchctl.frozen import start


def _iter_modules(finder: object, prefix: str = "") -> list[tuple[str, bool]]:
    """What pkgutil.iter_modules says of a frozen package; PyInstaller's own hook imports pkgutil at every start."""
    import pkgutil

    node = pyimod02_importers.get_pyz_toc_tree()
    for part in filter(None, (finder._pyz_entry_prefix or "").split(".")):
        node = node.get(part) if isinstance(node, dict) else None
    found = [(prefix + name, isinstance(below, dict)) for name, below in node.items()] if isinstance(node, dict) else []
    if finder.fallback_finder is not None:
        found += pkgutil.iter_importer_modules(finder.fallback_finder, prefix)
    return found


def _extract(name: str, raw: bool = False) -> object:
    """What the archive of modules says, which opens its file anew for each: 6 ms of a start."""
    kind, offset, length = _archive.toc[name]
    if raw or kind == pyimod01_archive.PYZ_ITEM_NSPKG:
        return pyimod01_archive.ZlibArchiveReader.extract(_archive, name, raw)
    offset += _archive._start_offset
    try:
        return marshal.loads(zlib.decompress(_mapped[offset : offset + length]))
    except EOFError as error:
        raise ImportError(f"{name}: its code is damaged") from error


_archive = pyimod02_importers.pyz_archive
_file = os.open(_archive._filename, os.O_RDONLY | os.O_CLOEXEC)
try:
    _mapped = mmap.mmap(_file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
except (OSError, ValueError):  # a file system that maps no files: then it takes longer
    _mapped = None
else:
    _archive.extract = _extract
os.close(_file)
pyimod02_importers.PyiFrozenFinder.iter_modules = _iter_modules
raise SystemExit(start())
