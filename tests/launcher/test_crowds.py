"""Many at once, and death at any moment: every survivor runs, one tree is left, and it is whole."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.launcher.box import Box
from tests.launcher.format import Entry, pack


@pytest.mark.parametrize("root_exists", [False, True], ids=["no root", "an empty root"])
def test_twenty_at_once_on_an_empty_cache(box: Box, root_exists: bool) -> None:
    if root_exists:
        box.cache.mkdir(mode=0o700)
    children = [box.popen("exit", str(i), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for i in range(20)]
    ends = [(child.communicate(timeout=110)[1], child.returncode) for child in children]
    assert ends == [(b"", i) for i in range(20)]
    box.assert_whole()


@pytest.fixture
def big(box: Box) -> Box:
    """A tree that takes some tenths of a second, so that kills find it half done."""
    noise = random.Random(9)
    more: Mapping[str, Entry] = {
        f"_internal/part{i}/lib{i}.so": Entry(noise.randbytes(1 << 20) + bytes(1 << 20)) for i in range(12)
    }
    box.tree = {**box.tree, **more}
    box.file.unlink()
    box.id = pack(box.launcher, box.tree, box.file)
    return box


@pytest.mark.slow
def test_killed_at_any_moment_of_the_first_run(big: Box) -> None:
    began = time.monotonic()
    assert big.run().code == 0
    usual = time.monotonic() - began
    dice, halves = random.Random(11), 0
    for _ in range(60):
        subprocess.run(["rm", "-rf", big.cache], check=True)
        with big.popen("exit", "0", stdout=subprocess.DEVNULL) as child:
            # The moment is what is varied here: this wait synchronises nothing.
            time.sleep(dice.uniform(0, usual))
            child.send_signal(signal.SIGKILL)
        halves += any(name.startswith(".tmp-") for name in big.names())
        said = big.run("exit", "8")
        assert (said.code, said.err) == (8, "")
        big.assert_whole()
    assert halves > 0, "no kill came while a tree was made"


@pytest.mark.slow
def test_half_of_a_crowd_is_killed(big: Box) -> None:
    dice = random.Random(13)
    for _ in range(5):
        subprocess.run(["rm", "-rf", big.cache], check=True)
        children = [big.popen("exit", str(i), stdout=subprocess.DEVNULL) for i in range(10)]
        time.sleep(dice.uniform(0.0, 0.4))
        for child in children[::2]:
            child.kill()
        codes = [child.wait(timeout=110) for child in children]
        assert codes[1::2] == [1, 3, 5, 7, 9]
        assert big.run("exit", "8").code == 8
        assert {name for name in big.names() if not name.startswith(".tmp-")} == {big.id}
        (big.cache / big.id / "MANIFEST").unlink()
        assert big.run("exit", "8").code == 8
        big.assert_whole()


def test_the_fuzzer_finds_nothing(built: Path, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    folder = tmp_path
    if memory.is_dir():
        folder = memory / f"batchctl-fuzz-{tmp_path.name}-{random.getrandbits(32):x}"
        folder.mkdir()
    try:
        done = subprocess.run(
            [built / "fuzz", folder, "100000", "1"], capture_output=True, text=True, check=False, timeout=500
        )
        assert (done.returncode, done.stderr) == (0, "")
        accepted = [int(word.partition("/")[0]) for word in done.stdout.split() if "/" in word]
        assert len(accepted) == 3
        assert min(accepted) > 100, "the samples are so broken that nothing behind the first check was reached"
        assert list(folder.iterdir()) == []
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
