"""Python's own SHA-256 and OpenSSL's say the same, and the second is loaded for much only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from batchctl import digests

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from batchctl.digests import sha256
size = int(sys.argv[2]) if sys.argv[2] else None
digest = sha256(size)
for piece in (b"", b"a" * 1000, memoryview(b"b" * 100_000)):
    digest.update(piece)
print(digest.hexdigest(), digest.digest().hex() == digest.hexdigest(), "_hashlib" in sys.modules)
"""
SAID = hashlib.sha256(b"a" * 1000 + b"b" * 100_000).hexdigest()


@pytest.mark.parametrize(
    ("size", "loads"), [("0", False), (str(digests.LITTLE), False), (str(digests.LITTLE + 1), True), ("", True)]
)
def test_only_much_loads_openssl(size: str, loads: bool) -> None:
    command = [sys.executable, "-c", CHILD, str(ROOT), size]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [SAID, "True", str(loads)]


MANY = """
import sys
sys.path.insert(0, sys.argv[1])
from batchctl.digests import LITTLE, sha256
size, made = int(sys.argv[2]), 0
while "_hashlib" not in sys.modules and made < 10_000:
    sha256(size)
    made += 1
print(made)
"""


@pytest.mark.parametrize(("size", "most"), [(0, 200), (100 << 10, 2), (digests.LITTLE, 1)])
def test_many_that_are_small_load_it_too(size: int, most: int) -> None:
    command = [sys.executable, "-c", MANY, str(ROOT), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == most + 1


def test_where_openssl_is_loaded_it_is_taken() -> None:
    assert type(digests.sha256(0)) is type(hashlib.sha256())
