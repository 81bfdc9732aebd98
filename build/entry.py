"""What PyInstaller starts: batchctl itself, or the embedded interpreter when batchctl asks for it."""

from __future__ import annotations

import pyimod02_importers  # PyInstaller's own, loaded before us

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


pyimod02_importers.PyiFrozenFinder.iter_modules = _iter_modules
raise SystemExit(start())
