"""What pages of figures share: the commit and the machine that a figure is from, and tables between marks in Markdown.

A table stands between `<!-- PAGE: TABLE -->` and `<!-- end -->`; a test compares pages with the data they are made of.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def filled(page: str, mark: str, made: Mapping[str, str]) -> str:
    """The page with the tables between its marks written anew."""
    between = re.compile(rf"(<!-- {mark}: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return between.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n{match[3]}", page)
