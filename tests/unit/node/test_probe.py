"""The probe on this very machine, its parsers, and what it renders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from batchctl.model.node import Gpu, NodeReport, Sizing, Slot
from batchctl.node import probe as probe_module
from batchctl.node.probe import parse_cpulist, parse_meminfo, probe
from batchctl.node.render import as_dict, as_text, cpulist, size


def test_this_machine() -> None:
    report = probe(visible_gpus="")
    assert report.cpus == tuple(sorted(os.sched_getaffinity(0)))
    assert sorted(cpu for node in report.numa_nodes for cpu in node) == list(report.cpus)
    assert 0 < report.memory_available <= report.memory_limit <= report.memory_total
    assert report.gpus == ()
    assert json.loads(json.dumps(as_dict(report)))["node"]["hostname"] == report.hostname


def test_a_machine_that_tells_nothing_gives_a_report_and_notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_pid: int) -> set[int]:
        raise OSError("no")

    monkeypatch.setattr(probe_module, "_read", lambda _path: None)
    monkeypatch.setattr(probe_module, "_NUMA", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", refuse)
    report = probe(visible_gpus="")
    assert report.numa_nodes == (report.cpus,)
    assert report.memory_total == 1 << 30
    assert [note.split(" ")[0] for note in report.notes] == ["cpu", "memory", "cgroup", "CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-3,8\n", (0, 1, 2, 3, 8)),
        ("0\n", (0,)),
        ("\n", ()),
        ("3,1-2,2", (1, 2, 3)),
        ("x,1-y,4", (4,)),
    ],
)
def test_parse_cpulist(text: str, expected: tuple[int, ...]) -> None:
    assert parse_cpulist(text) == expected


def test_parse_meminfo() -> None:
    text = "MemTotal:       100 kB\nHugePages_Total:       2\nBad: x kB\nnothing\n"
    assert parse_meminfo(text) == {"MemTotal": 102400, "HugePages_Total": 2}


def test_old_kernels_without_memavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = "MemTotal: 1000 kB\nMemFree: 200 kB\nCached: 300 kB\n"
    monkeypatch.setattr(probe_module, "_read", lambda path: meminfo if path == "/proc/meminfo" else None)
    report = probe(visible_gpus="")
    assert report.memory_available == 500 * 1024
    assert any("MemAvailable" in note for note in report.notes)


@pytest.mark.parametrize(
    ("cpus", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 8), "0-2,8"), ((9, 8, 1), "1,8-9"), ((0, 2), "0,2")]
)
def test_cpulist(cpus: tuple[int, ...], text: str) -> None:
    assert cpulist(cpus) == text
    assert parse_cpulist(text) == tuple(sorted(cpus))


@pytest.mark.parametrize(("value", "text"), [(None, "unknown"), (3 << 30, "3.0 GiB"), (5 << 20, "5 MiB"), (0, "0 MiB")])
def test_size(value: int | None, text: str) -> None:
    assert size(value) == text


def test_the_text_tells_all_and_escapes_what_it_was_given() -> None:
    report = NodeReport(
        "evil\x1b[2J",
        cpus=(0, 1, 2, 3),
        cpu_quota=1.5,
        numa_nodes=((0, 1), (2, 3)),
        memory_total=8 << 30,
        memory_limit=4 << 30,
        memory_available=1 << 30,
        gpus=(Gpu(0, "GPU-a", "A100", 40 << 30, None, (0, 1)),),
        notes=("a note",),
    )
    sizing = Sizing((Slot(0, (0, 1), 1, "GPU-a"),), ("1 worker, the least of",))
    assert as_text(report, sizing) == (
        "node     evil\\x1b[2J\n"
        "cpus     4 (0-3), quota 1.5\n"
        "numa 0   0-1\n"
        "numa 1   2-3\n"
        "memory   1.0 GiB available of 4.0 GiB (the machine has 8.0 GiB)\n"
        "gpu 0    A100, unknown free of 40.0 GiB, GPU-a, near cpus 0-1\n"
        "note     a note\n"
        "\n"
        "1 worker, the least of\n"
        "\n"
        "slot 0   cpus 0-1, threads 1, gpu GPU-a\n"
    )
