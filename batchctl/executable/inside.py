"""What the build wrote beside our code: which packages are inside, their licences, the bill of materials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchctl.errors import ExecutableDamagedError
from batchctl.named_tuple import NamedTuple

BUILD, LICENCES, SBOM = "build.json", "licences.txt", "sbom.cdx.json"
MEND = "batchctl self clean --all, then the same command again"


class Build(NamedTuple):
    """build.json: `packages` maps a package's name to its version; `facts` is what else the build tells, as text."""

    version: str
    python: str
    packages: Mapping[str, str] = {}
    facts: Mapping[str, str] = {}


def read_build(path: Path) -> Build:
    """Raises ExecutableDamagedError where the file is missing or not what the build writes."""
    try:
        found = json.loads(read_text(path))
        return Build(
            version=str(found["version"]),
            python=str(found["python"]),
            packages=dict(sorted(_packages(found["packages"]))),
            facts={
                str(name): str(value)
                for name, value in found.items()
                if name not in ("version", "python", "packages") and isinstance(value, str | int)
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExecutableDamagedError(f"it lacks or garbles {error}", where=str(path), remedy=MEND) from error


def _packages(found: Any) -> list[tuple[str, str]]:
    if isinstance(found, dict):
        return [(str(name), str(version)) for name, version in found.items()]
    return [(str(each["name"]), str(each["version"])) for each in found]


def read_text(path: Path) -> str:
    """A text of the build's; ExecutableDamagedError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ExecutableDamagedError(
            f"a file of the executable cannot be read: {error.strerror}", where=str(path), remedy=MEND
        ) from error
