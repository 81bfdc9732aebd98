"""Lists of files: lines to absolute paths, repeats dropped, without an object per line kept.

A list is gone through more than once instead: a line costs 8 bytes while repeats are looked for, and nothing where they
come sorted; its file is not held. Lines travel in blocks, so that what is done per line is done in C.
"""

from __future__ import annotations

import io
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from operator import itemgetter, lt
from typing import BinaryIO

from batchctl.named_tuple import NamedTuple
from batchctl.plan.stretch import Findings

_WINDOW = 1 << 18
_BUCKETS = 256
_FOLDER = itemgetter(0)


class Block(NamedTuple):
    """Neighbours of a list: absolute and normal paths, and the paths that filters look at (often the same object)."""

    paths: list[bytes]
    written: list[bytes]


class Run(NamedTuple):
    """Neighbours of one folder. The files are `folder` / `names`."""

    folder: bytes
    names: list[bytes]
    written: list[bytes]


Blocks = Callable[[], Iterator[Block]]  # from the start, as often as asked for


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


def _windows(content: BinaryIO, mark: bytes) -> Iterator[bytes]:
    """Pieces of whole lines, without the mark at their end."""
    content.seek(0)
    begun: list[bytes] = []  # of a line
    while piece := content.read(_WINDOW):
        head, found, tail = piece.rpartition(mark)
        if found:
            yield b"".join((*begun, head))
            begun.clear()
        if tail:
            begun.append(tail)
    if begun:
        yield b"".join(begun)


def _lines(window: bytes, mark: bytes) -> list[bytes]:
    if mark == b"\0":
        return [line for line in window.split(mark) if line]
    return [line.removesuffix(b"\r") for line in window.split(mark) if line.strip()]


def _all_normal(window: bytes, mark: bytes) -> bool:
    """Whether every line is an absolute and normal path (maybe not where one has a hidden component): none is blank."""
    starts = window.count(mark + b"/") == window.count(mark) and window.startswith(b"/")
    if not starts or b"//" in window or b"/." in window or b"/" + mark in window or window.endswith(b"/"):
        return False
    return mark == b"\0" or not (b"\r\n" in window or window.endswith(b"\r"))


class PathList:
    """The paths of a list: NUL separated if it holds a NUL, else by line (less a CR at its end); no blank ones.

    `blocks` goes through them from the start, as often as asked for.
    """

    def __init__(self, content: bytes | BinaryIO, *, folder: bytes) -> None:
        """A file must be one that can be read again."""
        self._content = io.BytesIO(content) if isinstance(content, bytes) else content
        self._folder = folder
        self._mark = (
            b"\0" if any(b"\0" in piece for piece in iter(partial(self._content.read, _WINDOW), b"")) else b"\n"
        )
        self._normal: list[bool] = []  # of the windows seen: asked once, because it takes as long as splitting

    def blocks(self) -> Iterator[Block]:
        for number, window in enumerate(_windows(self._content, self._mark)):
            body = window.removesuffix(self._mark)  # where the list ends here
            if number == len(self._normal):
                self._normal.append(_all_normal(body, self._mark))
            if self._normal[number]:
                lines = body.split(self._mark)
                yield Block(lines, lines)
            elif lines := _lines(window, self._mark):
                yield Block([absolute(line, folder=self._folder) for line in lines], lines)


def _ascending(blocks: Iterator[Block]) -> bool:
    """Whether paths are sorted and none comes twice."""
    last = b""
    for paths, _ in blocks:
        if not (last < paths[0] and all(map(lt, paths, islice(paths, 1, None)))):
            return False
        last = paths[-1]
    return True


def first_mentions(blocks: Blocks, findings: Findings) -> Blocks:
    """The same without paths that came before, as often as asked for; repeats are counted at once."""
    if _ascending(blocks()):
        return blocks
    buckets = [array("q") for _ in range(_BUCKETS)]  # a set of all hashes would be 60 bytes larger per path
    put = [bucket.append for bucket in buckets]
    for paths, _ in blocks():
        for number in map(hash, paths):
            put[number % _BUCKETS](number)
    suspects: set[int] = set()
    for bucket in buckets:
        if len(set(bucket)) < len(bucket):
            suspects.update(number for number, times in Counter(bucket).items() if times > 1)
    del buckets, put
    if not suspects:
        return blocks

    def once() -> Iterator[Block]:
        seen: set[bytes] = set()
        for paths, written in blocks():
            kept = []
            for at, path in enumerate(paths):
                if hash(path) in suspects:
                    if path in seen:
                        continue
                    seen.add(path)
                kept.append(at)
            if kept:
                yield Block([paths[at] for at in kept], [written[at] for at in kept])

    findings.duplicates += sum(len(paths) for paths, _ in blocks()) - sum(len(paths) for paths, _ in once())
    return once


def runs(blocks: Iterator[Block]) -> Iterator[Run]:
    """The files by folder, where neighbours share one."""
    for paths, written in blocks:
        at = 0
        for folder, group in groupby([path.rpartition(b"/") for path in paths], _FOLDER):
            names = [name for _, _, name in group]
            yield Run(folder or b"/", names, written[at : at + len(names)])
            at += len(names)


def gathered(blocks: Blocks) -> Iterator[Run]:
    """The runs with those of a folder together, folders by first mention. Held in memory only if they are not."""
    rank: dict[bytes, int] = {}
    apart, last = False, b""
    for folder, _, _ in runs(blocks()):
        if folder != last:
            apart = apart or folder in rank
            rank.setdefault(folder, len(rank))
            last = folder
    if not apart:
        return runs(blocks())
    return iter(sorted(runs(blocks()), key=lambda run: rank[run.folder]))
