"""What pages of figures share: the commit and the machine that a figure is from, and tables between marks in Markdown.

A table stands between `<!-- PAGE: TABLE -->` and `<!-- end -->`; a test compares pages with the data they are made of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def code_digest(folders: Sequence[str]) -> str:
    """What figures hold for: the content of the Python files in `folders` of batchctl, 12 hex digits of its SHA-256."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / "batchctl" / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def commit_of() -> str:
    """The commit that is checked out, with a `+` where the tree differs from it."""
    head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    command = ["git", "status", "--porcelain", "--", "batchctl", "tests"]  # what is judged, and what judges
    changed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return head.stdout.strip() + "+" * (changed.returncode != 0 or bool(changed.stdout.strip()))


def machine() -> str:
    """The machine in one line: cores, memory, kernel, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cpus, {memory:.0f} GiB, Linux {kernel}, CPython {platform.python_version()}"


@contextmanager
def column_of(
    file: Path, code: str, *, new: Callable[[], dict[str, Any]], encode: Callable[[Mapping[str, Any]], str]
) -> Iterator[dict[str, Any]]:
    """The column of figures of this code, `new()` at the front where there is none; written back at the end. Others who
    publish at the same time wait."""
    with file.open("a+", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        text = handle.read()
        found = json.loads(text) if text else {"format": 1, "columns": []}
        column = next((one for one in found["columns"] if one["code"] == code), None)
        if column is None:
            column = {"code": code, **new()}
            found["columns"].insert(0, column)
        yield column
        handle.truncate(0)
        handle.write(encode(found))


def filled(page: str, mark: str, made: Mapping[str, str]) -> str:
    """The page with the tables between its marks written anew."""
    between = re.compile(rf"(<!-- {mark}: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return between.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n{match[3]}", page)
