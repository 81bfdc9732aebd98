"""GPUs through the real pynvml and a driver library compiled from tests/doubles/libnvidia-ml.c, in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchctl.model.node import Gpu
from batchctl.node.driver import START_LIMIT_S, probe_gpus
from batchctl.node.gpu import select_visible

ROOT = Path(__file__).parents[3]
CHILD = """
import json, sys
from batchctl.model.documents import as_document
from batchctl.node.driver import probe_gpus
visible, limit_s = json.loads(sys.argv[1]), float(sys.argv[2])
gpus, driver, notes = probe_gpus(visible=visible, limit_s=limit_s)
loaded = "pynvml" in sys.modules
print(json.dumps({"gpus": [as_document(g) for g in gpus], "notes": notes, "driver": driver, "pynvml": loaded}))
"""
GIB = 1 << 30
CARD_0, CARD_1 = "GPU-01111111-aaaa", "GPU-11111111-aaaa"
SLICE_0, SLICE_2 = "MIG-02222222-bbbb", "MIG-22222222-bbbb"


def ask(
    folder: Path,
    *,
    visible: str | None = None,
    mode: str = "",
    log: Path | None = None,
    limit_s: float = START_LIMIT_S,
    before: str = "",
) -> dict[str, Any]:
    env = {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML": mode, "PYTHONPATH": str(ROOT)}
    if log is not None:
        env["FAKE_NVML_LOG"] = str(log)
    argv = [sys.executable, "-c", before + CHILD, json.dumps(visible), str(limit_s)]
    done = subprocess.run(argv, env=env, check=True, capture_output=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def card(index: int, **changes: Any) -> dict[str, Any]:
    """What the fake says of card 0 or 1 unless it is told otherwise."""
    told = {
        "index": index,
        "uuid": (CARD_0, CARD_1)[index],
        "name": "Fake A100",
        "total_bytes": 40 * GIB,
        "free_bytes": (39 - index) * GIB,
        "cpus": ([0, 1], [2, 3, 64])[index],
        "pci": ("00000000:3b:00.0", "00000000:3c:00.0")[index],
        "mig": False,
        "mode": "default",
        "processes": [],
        "ecc_errors": 0,
        "worn": "",
    }
    return told | changes


def without_xid(gpus: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whether the kernel's log can be read is this machine's business."""
    return [{name: value for name, value in gpu.items() if name != "xid"} for gpu in gpus]


def test_two_gpus_with_all_fields_and_nothing_left_behind(drivers: dict[str, Path], tmp_path: Path) -> None:
    answer = ask(drivers["new"], log=tmp_path / "log")
    assert without_xid(answer["gpus"]) == [card(0), card(1)]
    assert (answer["notes"], answer["driver"], answer["pynvml"]) == ([], "595.10", False)
    assert (tmp_path / "log").read_text().split() == ["init", "shutdown"]


BLIND: dict[str, Any] = dict.fromkeys(["total_bytes", "free_bytes", "mode", "processes", "ecc_errors", "worn"])
# name: words of FAKE_NVML -> cards, what the notes say
STATES: dict[str, tuple[str, list[dict[str, Any]], list[str]]] = {
    "one GPU": ("one", [card(0)], []),
    "no permission for anything but the count": (
        "denied", [], [f"GPU {n} left out: Insufficient Permissions" for n in (0, 1)]
    ),
    "a card may be named and not looked at": (
        "blind one", [card(0, **BLIND, cpus=[], pci="")],
        ["GPU 0: memory, PCI address, processes, compute mode, ECC errors unknown: Insufficient Permissions"],
    ),
    "driver and library differ": (
        "mismatch", [], ["the driver was updated and the old one is still loaded"]
    ),
    "a card that falls off while it is looked at": ("falls", [card(0)], ["GPU 1 left out: GPU is lost"]),
    "processes with bytes, and without": (
        "busy",
        [card(0, processes=[{"pid": 4242, "bytes": 512 << 20}]), card(1, processes=[{"pid": 4243, "bytes": None}])],
        [],
    ),
    "a card that wears out": (
        "worn", [card(0, ecc_errors=3, worn="2 rows remapped, a reset is due"), card(1)], []
    ),
    "compute mode": ("exclusive", [card(0), card(1, mode="exclusive_process")], []),
    "memory is not supported": ("memory one", [card(0, total_bytes=None, free_bytes=None)], []),
    "a slice has its own memory, and cpus and health of its card": (
        "mig",
        [card(0)] + [
            card(
                1, uuid=uuid, name="Fake A100 MIG 1g.5gb", mig=True, total_bytes=5 * GIB, free_bytes=3 * GIB
            ) for uuid in (SLICE_0, SLICE_2)
        ],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_recorded_states(drivers: dict[str, Path], case: str) -> None:
    mode, cards, notes = STATES[case]
    answer = ask(drivers["new"], mode=mode)
    assert without_xid(answer["gpus"]) == cards
    assert len(answer["notes"]) == len(notes)
    assert all(note in said for note, said in zip(notes, answer["notes"], strict=True))


def test_eight_gpus_on_two_numa_nodes(drivers: dict[str, Path]) -> None:
    gpus = ask(drivers["new"], mode="eight")["gpus"]
    assert [gpu["cpus"] for gpu in gpus] == [list(range(16))] * 4 + [list(range(16, 32))] * 4
    assert len({gpu["uuid"] for gpu in gpus}) == 8


def test_a_driver_that_hangs_is_given_up_on(drivers: dict[str, Path]) -> None:
    answer = ask(drivers["new"], mode="hang", limit_s=0.3)
    assert answer["gpus"] == []
    assert answer["notes"] == ["the NVIDIA driver has not answered for 0.3 s: no GPU is used"]


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


def test_shutdown_follows_init_on_every_path(drivers: dict[str, Path], tmp_path: Path) -> None:
    for number, mode in enumerate(["count", "lost", "mig", "memory"]):
        log = tmp_path / str(number)
        ask(drivers["new"], mode=mode, log=log)
        assert log.read_text().split() == ["init", "shutdown"]


def test_without_a_driver_there_is_nothing_to_say(tmp_path: Path) -> None:
    if probe_gpus(visible=None) != ((), None, ()):
        pytest.skip("this machine has an NVIDIA driver")
    assert ask(tmp_path) == {"gpus": [], "notes": [], "driver": None, "pynvml": False}


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
    if probe_gpus(visible=None) != ((), None, ()):
        pytest.skip("this machine has an NVIDIA driver")
    assert ask(tmp_path, before=PACKAGED)["notes"] == []
    (note,) = ask(drivers["broken"], before=PACKAGED)["notes"]
    assert "does not load" in note and "dynlib" not in note


def test_cards_that_differ_make_an_index_doubtful() -> None:
    devices = [(Gpu(0, "GPU-a", "Big", None, None),), (Gpu(1, "GPU-b", "Small", None, None),)]
    assert "PCI order" in select_visible(devices, "0,1")[1][0]
    assert select_visible(devices, "GPU-b,GPU-a")[1] == ()
