"""Builds the launcher from source, once per run of the tests, and hands out files packed with it."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.launcher.box import Box
from tests.launcher.format import Entry

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / ".build" / "launcher-tests"
PACKAGED = ROOT / ".build" / "binary" / "launcher"  # where `make binary` compiled the same sources


def zstd_source() -> Path:
    """The folder of zstd.c: named by ZSTD_DIR, or as `make binary` fetched it."""
    named = os.environ.get("ZSTD_DIR")
    for folder in [Path(named)] if named else sorted((ROOT / ".build").glob("*/zstd")):
        if (folder / "zstd.c").is_file():
            return folder.resolve()
    pytest.skip("no zstd source here (`make binary` fetches it; or set ZSTD_DIR)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whichever test is first waits for the compiler, which needs minutes on a busy machine.
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder with launcher, launcher-impatient, launcher-sanitized, fuzz and probe."""
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None or shutil.which("make") is None:
        pytest.skip("no C compiler here")
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if "CC" not in os.environ and "ZSTD_DIR" not in os.environ and PACKAGED.is_dir():
            # Half a minute of compiling. Their times come along, so make does anew what is older than its source.
            subprocess.run(["cp", "-a", "--update", f"{PACKAGED}/.", OUT], check=True)
        make = ["make", "-s", "-j2", "-C", str(ROOT / "build/launcher"), f"ZSTD_DIR={zstd_source()}", f"OUT={OUT}"]
        targets = ("all", "impatient", "sanitized", "fuzz")
        done = subprocess.run([*make, f"CC={compiler}", *targets], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        probe = [compiler, "-O1", "-o", str(OUT / "probe"), str(Path(__file__).parent / "probe.c")]
        subprocess.run(probe, check=True)
    return OUT


@pytest.fixture(scope="session")
def tree(built: Path) -> Mapping[str, Entry]:
    """A small tree with one of each: program, library, empty file, links, folders that sort around a file."""
    noise = random.Random(3)
    return {
        "batchctl": Entry((built / "probe").read_bytes(), "0755"),
        "_internal/lib/libx.so.1": Entry(noise.randbytes(300_000), "0755"),
        "_internal/lib/libx.so": Entry(target="libx.so.1"),
        "_internal/libx.so": Entry(target="lib/libx.so"),
        "_internal/lib/deep/up": Entry(target="../../data/empty"),
        "_internal/data/empty": Entry(),
        "_internal/data.txt": Entry(b"text\n" * 2000),
        "_internal/data-2/a@b=c+d": Entry(b"odd name"),
        "share/large.bin": Entry(noise.randbytes(1_200_000)),
    }


@pytest.fixture
def box(built: Path, tree: Mapping[str, Entry], tmp_path: Path) -> Iterator[Box]:
    """A file packed with the plain launcher, an environment of its own, and no cache yet."""
    yield from Box.made(built / "launcher", tree, tmp_path)


@pytest.fixture(params=["launcher", "launcher-sanitized"])
def each_box(request: pytest.FixtureRequest, built: Path, tree: Mapping[str, Entry], tmp_path: Path) -> Iterator[Box]:
    """The same with the launcher as it is shipped, and under the sanitizers."""
    yield from Box.made(built / request.param, tree, tmp_path)
