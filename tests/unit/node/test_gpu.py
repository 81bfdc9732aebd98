"""GPUs through the real pynvml and a driver library compiled from tests/doubles/libnvidia-ml.c, in a child process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchctl.model.node import Gpu
from batchctl.node.gpu import probe_gpus, select_visible

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "tests/doubles/libnvidia-ml.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
CHILD = """
import json, sys
from dataclasses import asdict
from batchctl.node.gpu import probe_gpus
visible = json.loads(sys.argv[1])
gpus, notes = probe_gpus(visible=visible)
print(json.dumps({"gpus": [asdict(g) for g in gpus], "notes": notes, "pynvml": "pynvml" in sys.modules}))
"""
GIB = 1 << 30
CARD_0, CARD_1 = "GPU-01111111-aaaa", "GPU-11111111-aaaa"
SLICE_0, SLICE_2 = "MIG-02222222-bbbb", "MIG-22222222-bbbb"


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    if COMPILER is None:
        pytest.skip("no C compiler (cc): the fake driver library cannot be built")
    folders = {}
    for name, flags in {"new": [], "old": ["-DOLD_DRIVER"], "broken": None}.items():
        folder = folders[name] = tmp_path_factory.mktemp(name)
        library = folder / "libnvidia-ml.so.1"
        if flags is None:
            library.write_bytes(b"not a library")
            continue
        subprocess.run([COMPILER, "-shared", "-fPIC", *flags, "-o", library, SOURCE], check=True, timeout=60)
    return folders


def ask(
    folder: Path, *, visible: str | None = None, mode: str = "", log: Path | None = None, before: str = ""
) -> dict[str, Any]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML": mode, "PYTHONPATH": str(ROOT)}
    if log is not None:
        env["FAKE_NVML_LOG"] = str(log)
    done = subprocess.run(
        [sys.executable, "-c", before + CHILD, json.dumps(visible)],
        env=env,
        check=True,
        capture_output=True,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_two_gpus_with_all_fields_and_nothing_left_behind(drivers: dict[str, Path], tmp_path: Path) -> None:
    answer = ask(drivers["new"], log=tmp_path / "log")
    assert answer["gpus"] == [
        {
            "index": index,
            "uuid": uuid,
            "name": "Fake A100",
            "total_bytes": 40 * GIB,
            "free_bytes": (39 - index) * GIB,
            "cpus": cpus,
        }
        for index, uuid, cpus in [(0, CARD_0, [0, 1]), (1, CARD_1, [2, 3, 64])]
    ]
    assert answer["notes"] == []
    assert (tmp_path / "log").read_text().split() == ["init", "shutdown"]


CASES: dict[str, tuple[str, str, str | None, list[str], str]] = {
    # name: driver, mode, CUDA_VISIBLE_DEVICES, uuids expected, a word of the note expected
    "all by default": ("new", "", None, [CARD_0, CARD_1], ""),
    "by index": ("new", "", "1", [CARD_1], ""),
    "order is the user's": ("new", "", "1,0", [CARD_1, CARD_0], ""),
    "by uuid": ("new", "", CARD_1, [CARD_1], ""),
    "by the beginning of a uuid": ("new", "", "GPU-0", [CARD_0], ""),
    "an ambiguous beginning ends the list": ("new", "", "GPU-", [], "names no GPU"),
    "what means nothing ends the list": ("new", "", "0,7,1", [CARD_0], "7 names no GPU"),
    "minus one is none": ("new", "", "-1", [], "-1 names no GPU"),
    "empty is none": ("new", "", "", [], "empty"),
    "twice is once": ("new", "", "0,0", [CARD_0], ""),
    "an old driver without MIG": ("old", "", None, [CARD_0, CARD_1], ""),
    "MIG slices replace their card": ("new", "mig", None, [CARD_0, SLICE_0, SLICE_2], ""),
    "MIG by uuid": ("new", "mig", SLICE_2, [SLICE_2], ""),
    "MIG by index is the first slice": ("new", "mig", "1", [SLICE_0], ""),
    "MIG on without a slice": ("new", "bare", None, [CARD_0], "no slice"),
    "a lost card": ("new", "lost", None, [CARD_0], "GPU 1 left out: GPU is lost"),
    "an index keeps its meaning beside a lost card": ("new", "lost", "1", [], "1 names no GPU"),
    "init fails": ("new", "start", None, [], "does not answer"),
    "count fails": ("new", "count", None, [], "cannot be counted"),
    "a broken library": ("broken", "", None, [], "does not load"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_visible(drivers: dict[str, Path], case: str) -> None:
    driver, mode, visible, uuids, word = CASES[case]
    answer = ask(drivers[driver], visible=visible, mode=mode)
    assert [gpu["uuid"] for gpu in answer["gpus"]] == uuids
    assert word in "\n".join(answer["notes"])
    assert bool(answer["notes"]) == bool(word)


def test_fields_are_soft_one_by_one(drivers: dict[str, Path]) -> None:
    gpu = ask(drivers["new"], mode="memory,affinity")["gpus"][1]
    assert gpu == {"index": 1, "uuid": CARD_1, "name": "Fake A100", "total_bytes": None, "free_bytes": None, "cpus": []}


def test_a_slice_has_its_own_memory_and_the_cpus_of_its_card(drivers: dict[str, Path]) -> None:
    part = ask(drivers["new"], mode="mig")["gpus"][1]
    assert (part["uuid"], part["total_bytes"], part["cpus"]) == (SLICE_0, 5 * GIB, [2, 3, 64])


def test_shutdown_follows_init_on_every_path(drivers: dict[str, Path], tmp_path: Path) -> None:
    for number, mode in enumerate(["count", "lost", "mig", "memory"]):
        log = tmp_path / str(number)
        ask(drivers["new"], mode=mode, log=log)
        assert log.read_text().split() == ["init", "shutdown"]


def test_without_a_driver_pynvml_is_not_even_imported(tmp_path: Path) -> None:
    if probe_gpus(visible=None) != ((), ()):
        pytest.skip("this machine has an NVIDIA driver")
    assert ask(tmp_path) == {"gpus": [], "notes": [], "pynvml": False}


# What PyInstaller's loader does to ctypes in the packaged file: a guess in place of what the system said.
PACKAGED = """
import ctypes
real = ctypes.CDLL
class Guess(OSError): pass
class CDLL(real):
    def __init__(self, name, *args, **kwargs):
        try:
            super().__init__(name, *args, **kwargs)
        except Exception as error:
            raise Guess(f"Failed to load dynlib/dll {name!r}") from error
ctypes.CDLL = CDLL
"""


def test_in_the_packaged_file_a_missing_driver_is_no_news_either(drivers: dict[str, Path], tmp_path: Path) -> None:
    if probe_gpus(visible=None) != ((), ()):
        pytest.skip("this machine has an NVIDIA driver")
    assert ask(tmp_path, before=PACKAGED)["notes"] == []
    (note,) = ask(drivers["broken"], before=PACKAGED)["notes"]
    assert "does not load" in note and "dynlib" not in note


def test_cards_that_differ_make_an_index_doubtful() -> None:
    devices = [(Gpu(0, "GPU-a", "Big", None, None),), (Gpu(1, "GPU-b", "Small", None, None),)]
    assert "PCI order" in select_visible(devices, "0,1")[1][0]
    assert select_visible(devices, "GPU-b,GPU-a")[1] == ()
