"""Lists of files: lines to absolute paths, repeats dropped, without an object per line kept.

A list is gone through more than once instead: a million lines cost 8 bytes each while repeats are looked for.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise

from batchctl.plan.stretch import Findings

_WINDOW = 1 << 20

Named = tuple[bytes, bytes]  # absolute path; the path that filters look at


def absolute(path: bytes, *, folder: bytes) -> bytes:
    """Absolute and normal, links kept; only a path with ".." is resolved, because a/link/.. is not a."""
    if path.startswith(b"/") and b"//" not in path and b"/." not in path and not path.endswith(b"/"):
        return path
    joined = os.path.join(folder, path)  # noqa: PTH118  bytes
    if b"/.." in joined and b".." in joined.split(b"/"):
        head, tail = os.path.split(joined)
        if tail in (b"..", b".", b""):
            return os.path.realpath(joined)
        return os.path.join(os.path.realpath(head), tail)  # noqa: PTH118  bytes
    normal = os.path.normpath(joined)
    return normal[1:] if normal.startswith(b"//") else normal


def list_lines(content: bytes) -> Iterator[bytes]:
    """The paths of a list: NUL separated if it holds a NUL, else by line (less a CR at its end); no blank ones."""
    by_nul = b"\0" in content
    mark = b"\0" if by_nul else b"\n"
    at = 0
    while at < len(content):
        cut = content.find(mark, at + _WINDOW)
        end = len(content) if cut < 0 else cut
        for line in content[at:end].split(mark):
            if by_nul:
                if line:
                    yield line
            elif line.strip():
                yield line.removesuffix(b"\r")
        at = end + 1


def folder_of(path: bytes) -> bytes:
    return path.rpartition(b"/")[0] or b"/"


def first_mentions(named: Callable[[], Iterator[Named]], findings: Findings) -> Callable[[], Iterator[Named]]:
    """The same without paths that came before, as often as asked for; repeats are counted at once."""
    hashes = sorted(array("q", (hash(path) for path, _ in named())))
    suspects = {low for low, high in pairwise(hashes) if low == high}
    del hashes
    if not suspects:
        return named

    def once() -> Iterator[Named]:
        seen: set[bytes] = set()
        for pair in named():
            if hash(pair[0]) in suspects:
                if pair[0] in seen:
                    continue
                seen.add(pair[0])
            yield pair

    findings.duplicates += sum(1 for _ in named()) - sum(1 for _ in once())
    return once


def gathered(named: Callable[[], Iterator[Named]]) -> Iterator[Named]:
    """The same with the files of a folder together, folders by first mention. Held in memory only if they are not."""
    rank: dict[bytes, int] = {}
    apart, last = False, b""
    for path, _ in named():
        folder = folder_of(path)
        if folder != last:
            apart = apart or folder in rank
            rank.setdefault(folder, len(rank))
            last = folder
    if not apart:
        return named()
    return iter(sorted(named(), key=lambda pair: rank[folder_of(pair[0])]))
