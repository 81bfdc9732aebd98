"""`batchctl self`: the packaged file itself: what it is, whether it is whole, what it left in its cache folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchctl import __version__, frozen
from batchctl.cli.output import emit, emit_json
from batchctl.cli.self_text import cleaning_lines, info_lines, verification_lines
from batchctl.errors import ExecutableDamagedError, ExitCode, UsageError
from batchctl.executable import footer as footers
from batchctl.executable import manifest as manifests
from batchctl.executable.inside import LICENCES, SBOM, read_build, read_text
from batchctl.executable.trees import Tree, in_use, remove, root_locked, trees_in

DESCRIPTION = """\
  info      which build this is, where it was unpacked, with --packages what is inside
  verify    compare every byte of the executable (or of FILE) and of the unpacked tree with the digests of the build
  clean     remove trees of other builds that nobody uses, and half trees; with --all this build's own tree too, which
            the next start unpacks again. A tree that a process runs from is never removed
  licenses  the licences of what is inside; with --sbom the bill of materials (CycloneDX)"""

EXAMPLES = ("batchctl self info --packages", "batchctl self verify", "batchctl self clean --dry-run")

ACTIONS = ("info", "verify", "clean", "licenses")
# flag -> the actions that it belongs to
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "file": ("verify",),
    "packages": ("info",),
    "all": ("clean",),
    "dry_run": ("clean",),
    "sbom": ("licenses",),
    "json": ("info", "verify", "clean"),
}
_MEND = "batchctl self clean --all, then run it again; if the executable itself is damaged, copy it again"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help="info, verify, clean or licenses")
    parser.add_argument("file", metavar="FILE", nargs="?", help="verify: another executable than this one")
    parser.add_argument("--packages", action="store_true", help="info: the packages inside, with their versions")
    parser.add_argument("--all", action="store_true", help="clean: this build's own tree too")
    parser.add_argument("--dry-run", action="store_true", help="clean: only say what would be removed")
    parser.add_argument("--sbom", action="store_true", help="licenses: the bill of materials instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object (not licenses)")


def run(args: argparse.Namespace) -> int:
    for flag, actions in _FLAGS.items():
        if getattr(args, flag) and args.action not in actions:
            shown = "FILE" if flag == "file" else "--" + flag.replace("_", "-")
            raise UsageError(f"{shown} does not go with `self {args.action}`", remedy="batchctl self --help")
    if args.action == "licenses":
        _need_packaged("licenses", "see the licences of the installed packages")
        emit(read_text(frozen.bundled(SBOM if args.sbom else LICENCES)).rstrip("\n"))
        return ExitCode.OK
    found = _found(args)
    if args.json:
        emit_json(found)
    else:
        emit("\n".join(render(args.action, found, packages=args.packages)))
    return ExitCode.OK if found.get("sound", True) else ExitCode.EXECUTABLE_DAMAGED


def render(action: str, found: Mapping[str, Any], *, packages: bool) -> list[str]:
    """Lines for people."""
    if action == "info":
        return info_lines(found, packages=packages)
    return verification_lines(found) if action == "verify" else cleaning_lines(found)


def _found(args: argparse.Namespace) -> dict[str, Any]:
    """What --json prints."""
    if args.action == "info":
        return _info()
    return _verify(args.file) if args.action == "verify" else _clean(everything=args.all, dry_run=args.dry_run)


def _info() -> dict[str, Any]:
    """From source: the version, the Python, where it runs from."""
    python = sys.version.split()[0]
    if not frozen.is_frozen():
        return {"packaged": False, "version": __version__, "python": python, "prefix": sys.prefix}
    build, tree = read_build(frozen.bundled("build.json")), frozen.tree()
    manifest = manifests.read_manifest(tree)
    path = frozen.executable_path()
    others = [each for each in trees_in(tree.parent) if each.path != tree] if frozen.tree_lock() >= 0 else []
    return {
        "packaged": True,
        "version": __version__,
        "build_id": manifest.build_id,
        "python": python,
        "executable": str(path),
        "executable_bytes": path.stat().st_size if path.is_file() else None,
        "tree": str(tree),
        "tree_bytes": manifest.size,
        "tree_files": len(manifest.entries),
        "other_trees": [str(each.path) for each in others],
        "other_trees_bytes": sum(each.size for each in others),
        "build": dict(build.facts),
        "packages": dict(build.packages),
    }


def _verify(file: str | None) -> dict[str, Any]:
    if file is None:
        _need_packaged("verify", "name an executable: batchctl self verify FILE")
    tree = frozen.tree() if file is None else None
    path: Path | None = Path(file) if file is not None else frozen.executable_path()
    if path == Path(sys.executable):
        path = None  # somebody started the tree itself: there is no file around it
    problems: list[str] = []
    promised = ""
    if path is not None:
        try:
            footer = footers.read_footer(path)
            promised = footer.manifest_digest
            problems += footers.damages(path, footer)
        except ExecutableDamagedError as error:
            problems.append(f"{error.where}: {error.message}")
    if tree is not None:
        problems += _tree_problems(tree, promised)
    return {
        "sound": not problems,
        "executable": path and str(path),
        "tree": tree and str(tree),
        "problems": problems,
        "fix": (_MEND if tree is not None else footers.COPY_AGAIN) if problems else "",
    }


def _tree_problems(tree: Path, promised: str) -> list[str]:
    """`promised` is the manifest's digest by the executable's footer, "" where that is not known."""
    try:
        manifest = manifests.read_manifest(tree)
    except ExecutableDamagedError as error:
        return [f"{error.where}: {error.message}"]
    if promised and manifest.digest != promised:
        return [f"{tree / manifests.NAME}: is not the manifest of this executable"]
    return list(manifests.damages(tree, manifest))


def _clean(*, everything: bool, dry_run: bool) -> dict[str, Any]:
    _need_packaged("clean", "from source nothing is unpacked")
    ours = frozen.tree_lock()
    if ours < 0:
        raise UsageError(
            "this build does not run from a cache folder that knows locks: nobody can tell what is in use",
            where=str(frozen.tree()),
            remedy="remove the folder by hand when no batchctl runs",
        )
    own, root = frozen.tree(), frozen.tree().parent
    removed: list[Tree] = []
    kept: list[Tree] = []
    with root_locked(root):
        # Our own last: from then on nothing more can be imported.
        for tree in sorted(trees_in(root, own=own), key=lambda each: each.path == own):
            mine = tree.path == own
            if mine and not everything:
                continue
            lock = ours if mine else -1
            gone = not in_use(tree.path, ours=lock) if dry_run else remove(tree, ours=lock)
            (removed if gone else kept).append(tree)
    return {
        "root": str(root),
        "dry_run": dry_run,
        "removed": [{"path": str(tree.path), "bytes": tree.size, "half": tree.half} for tree in removed],
        "kept_in_use": [str(tree.path) for tree in kept],
        "freed_bytes": sum(tree.size for tree in removed),
    }


def _need_packaged(action: str, remedy: str) -> None:
    if not frozen.is_frozen():
        raise UsageError(f"`self {action}` is for the packaged file; this is batchctl run from source", remedy=remedy)
