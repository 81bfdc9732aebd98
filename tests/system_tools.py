"""Tools of the system that tests want: installed by apt where this is root on a Debian, once; else tests skip.

`python -m tests.system_tools` prints one line. Where all is there nothing is called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest

# tool -> Debian package
PACKAGES = {
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "nbdkit": "nbdkit",
    "nbdfuse": "libnbd-bin",
    "fusermount3": "fuse3",
    "strace": "strace",
    "faketime": "faketime",
}
_LIMIT_S = 300  # for one call of apt-get: a machine without a network must not wait for hours
_ADMIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not in every PATH


def find(tool: str) -> str | None:
    """Its path; None where it is not installed."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:{_ADMIN}")


def missing(*tools: str) -> list[str]:
    """Those that are not installed."""
    return [tool for tool in tools if find(tool) is None]


def need(*tools: str) -> None:
    """Skip the test, with the reason, where one of them is missing."""
    if absent := missing(*tools):
        pytest.skip(f"not run: no {', '.join(absent)}")


def install(wanted: Mapping[str, str] = PACKAGES) -> str:
    """Best effort; what came of it, in one line."""
    absent = missing(*wanted)
    if not absent:
        return "system tools: all there"
    if os.geteuid() != 0 or find("apt-get") is None:
        return (
            f"system tools: no {', '.join(absent)}, nor root with apt-get to install them: not run is what wants them"
        )
    packages = sorted({wanted[tool] for tool in absent})
    error = _apt("update") or _apt("install", "--yes", "--no-install-recommends", *packages)
    left = missing(*absent)
    installed = ", ".join(tool for tool in absent if tool not in left)
    if left:
        told = f" ({error})" if error else ""
        return (
            f"system tools: installed {installed or 'nothing'}; no {', '.join(left)}{told}: not run is what wants them"
        )
    return f"system tools: installed {installed}"


def _apt(*arguments: str) -> str:
    """The last line of what went wrong; "" where it went well."""
    command = ["apt-get", "--quiet", "--quiet", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return f"apt-get {arguments[0]} took more than {_LIMIT_S} s"
    lines = done.stderr.strip().splitlines() or [f"apt-get {arguments[0]} exited {done.returncode}"]
    return "" if done.returncode == 0 else lines[-1]


if __name__ == "__main__":
    print(install())
