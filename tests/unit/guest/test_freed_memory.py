"""What a worker's script gives back is kept for its next buffer, unless the user has said how malloc is to behave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Two buffers taken and given back again and again, in the order that makes glibc trim its heap at every turn.
CHILD = """
import resource, sys
from batchctl.guest import limits

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def breathe(times):
    before = faults()
    for _ in range(times):
        a = bytearray(6 << 20)
        a[::4096] = b"x" * 1536
        b = bytearray(6 << 20)
        b[::4096] = b"x" * 1536
        del b, a
    return faults() - before

if sys.argv[1] == "keep":
    limits.keep_freed_memory()
breathe(10)
print(breathe(50))
"""
ROOT = Path(__file__).parents[3]
GLIBC = pytest.mark.skipif(
    not os.confstr_names.get("CS_GNU_LIBC_VERSION"), reason="not run: this C library is not glibc"
)

# name: (keep or leave, of the environment) -> are pages faulted in again for every buffer?
CASES = {
    "glibc left alone": ("leave", {}, True),
    "as in a worker": ("keep", {}, False),
    "the user trims": ("keep", {"MALLOC_TRIM_THRESHOLD_": "0"}, True),
    "the user has tunables": ("keep", {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=0"}, True),
}


@GLIBC
@pytest.mark.parametrize("name", CASES)
def test_pages_are_faulted_in_once(name: str) -> None:
    what, environment, again = CASES[name]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    env = {**inherited, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", CHILD, what], env=env, check=True, capture_output=True, timeout=60)
    assert (int(done.stdout) > 10_000) is again
