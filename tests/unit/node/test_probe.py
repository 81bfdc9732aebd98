"""The probe on this very machine, its parsers, and what it renders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from batchctl.model.node import DiskSpace, Gpu, GpuProcess, NodeReport, Pressure, Sizing, Slot
from batchctl.node import probe as probe_module
from batchctl.node.disks import disks_of
from batchctl.node.kernel_log import KernelLog, killed_pid, xid_error
from batchctl.node.mounts import mount_of, parse_mount_points
from batchctl.node.probe import parse_cpulist, parse_meminfo, probe
from batchctl.node.render import as_dict, as_text, cpulist, size
from batchctl.node.slurm import slurm_notes


def test_this_machine() -> None:
    report = probe(visible_gpus="")
    assert report.cpus == tuple(sorted(os.sched_getaffinity(0)))
    assert sorted(cpu for node in report.numa_nodes for cpu in node) == list(report.cpus)
    assert 0 < report.memory_available <= report.memory_limit <= report.memory_total
    assert report.gpus == ()
    assert report.cpuset is None or set(report.cpus) <= set(report.cpuset)
    assert report.pressure is None or 0 <= report.pressure.full <= report.pressure.some <= 100
    assert json.loads(json.dumps(as_dict(report)))["node"]["hostname"] == report.hostname


def test_a_machine_that_tells_nothing_gives_a_report_and_notes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_pid: int) -> set[int]:
        raise OSError("no")

    monkeypatch.setattr(probe_module, "read_text", lambda _path: None)
    monkeypatch.setattr(probe_module, "_NUMA", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", refuse)
    report = probe(visible_gpus="")
    assert (report.numa_nodes, report.numa_memory) == ((report.cpus,), ())
    assert (report.cpuset, report.pressure, report.driver, report.disks) == (None, None, None, ())
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
    monkeypatch.setattr(probe_module, "read_text", lambda path: meminfo if path == "/proc/meminfo" else None)
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
    held = (GpuProcess(42, 3 << 30), GpuProcess(43, None))
    worn = {"mode": "exclusive_process", "ecc_errors": 3, "worn": "2 rows remapped", "xid": 79}
    report = NodeReport(
        "evil\x1b[2J",
        cpus=(0, 1, 2, 3),
        cpu_quota=1.5,
        numa_nodes=((0, 1), (2, 3)),
        memory_total=8 << 30,
        memory_limit=4 << 30,
        memory_available=1 << 30,
        gpus=(
            Gpu(0, "GPU-a", "A100", 40 << 30, None, (0, 1), processes=held),
            Gpu(1, "GPU-b", "A100", 40 << 30, 1 << 30, **worn),
        ),
        notes=("a note",),
        numa_memory=(5 << 30, None),
        pressure=Pressure(2.5, 1.0),
        disks=(DiskSpace("in\n", "/data", "xfs", 4 << 30, 1 << 30), DiskSpace("out", "", "", 4 << 30, 0)),
        driver="595.10",
    )
    sizing = Sizing((Slot(0, (0, 1), 1, "GPU-a"), Slot(1, (), 1)), ("1 worker, the least of",))
    assert as_text(report, sizing) == (
        "node     evil\\x1b[2J\n"
        "cpus     4 (0-3), quota 1.5\n"
        "numa 0   0-1, 5.0 GiB\n"
        "numa 1   2-3\n"
        "memory   1.0 GiB available of 4.0 GiB (the machine has 8.0 GiB)\n"
        "pressure memory, last 10 s: some tasks waited 2.5 % of it, all 1.0 %\n"
        "disk     in\\x0a: 1.0 GiB free of 4.0 GiB, xfs at /data\n"
        "disk     out: 0 MiB free of 4.0 GiB, unknown file system\n"
        "driver   NVIDIA 595.10\n"
        "gpu 0    A100, unknown free of 40.0 GiB, GPU-a, near cpus 0-1\n"
        "         process 42: 3.0 GiB\n"
        "         process 43: unknown\n"
        "gpu 1    A100, 1.0 GiB free of 40.0 GiB, GPU-b, compute mode exclusive_process, 3 uncorrected ECC errors"
        ", 2 rows remapped, last error Xid 79\n"
        "note     a note\n"
        "\n"
        "1 worker, the least of\n"
        "\n"
        "slot 0   cpus 0-1, threads 1, gpu GPU-a\n"
        "slot 1   cpus any, threads 1\n"
    )


MOUNTS = """\
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 8:2 / /data rw shared:2 - xfs /dev/sdb rw
22 20 0:5 / /data/in\\040put rw - nfs4 server:/x rw
23 20 8:3 / /data2 rw - btrfs /dev/sdc rw
junk
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/x", ("/", "ext4")),
        ("/data", ("/data", "xfs")),
        ("/data/in put/7", ("/data/in put", "nfs4")),
        ("/data2/x", ("/data2", "btrfs")),
    ],
)
def test_mount_of(path: str, expected: tuple[str, str]) -> None:
    assert mount_of(path, parse_mount_points(MOUNTS))[:2] == expected
    assert mount_of(path, [])[:2] == ("", "")


def test_disks_of_what_is_there_and_of_what_is_not_yet(tmp_path: Path) -> None:
    paths = [str(tmp_path), str(tmp_path / "not/yet"), str(tmp_path)]
    disks, notes = disks_of(paths, lambda _path: "5 1 0:1 / / rw - testfs none rw")
    assert [disk.path for disk in disks] == paths[:2]
    assert {(disk.mount, disk.kind) for disk in disks} == {("/", "testfs")}
    assert all(0 <= disk.free <= disk.total for disk in disks)
    assert notes == ()


SLURM: dict[str, tuple[dict[str, str], int, list[str]]] = {
    # name: variables beside SLURM_JOB_ID, GPUs found (8 cpus and 16 GiB are) -> words of the notes
    "all agree": (
        {"SLURM_CPUS_ON_NODE": "8", "SLURM_MEM_PER_NODE": "16384", "SLURM_GPUS_ON_NODE": "2"}, 2, []
    ),
    "cpus are not confined": ({"SLURM_CPUS_ON_NODE": "4"}, 0, ["gave this job 4 cpus"]),
    "a task has fewer cpus than it was given": ({"SLURM_CPUS_PER_TASK": "16"}, 0, ["gave each task 16 cpus"]),
    "memory is not confined": ({"SLURM_MEM_PER_NODE": "8000"}, 0, ["8000 MiB of memory"]),
    "memory by cpu": ({"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_ON_NODE": "8"}, 0, ["8000 MiB of memory"]),
    "memory 0 is the whole node": ({"SLURM_MEM_PER_NODE": "0"}, 0, []),
    "GPUs differ": ({"SLURM_GPUS_ON_NODE": "1"}, 2, ["1 GPUs here (SLURM_GPUS_ON_NODE), 2 were found"]),
    "nonsense is nothing": ({"SLURM_CPUS_ON_NODE": "4(x2)"}, 0, []),
}  # fmt: skip


@pytest.mark.parametrize("case", SLURM)
def test_slurm(case: str) -> None:
    variables, gpus, words = SLURM[case]
    notes = slurm_notes({"SLURM_JOB_ID": "1", **variables}, cpus=8, memory_limit=16 << 30, gpus=gpus)
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))
    assert slurm_notes(variables, cpus=8, memory_limit=16 << 30, gpus=gpus) == ()


def test_the_kernels_log_by_line() -> None:
    oom = "Memory cgroup out of memory: Killed process 4242 (python3) total-vm:1kB, anon-rss:1kB"
    assert killed_pid(oom) == 4242
    assert killed_pid("Out of memory: Killed process 7 (x) total-vm:1kB") == 7
    assert killed_pid("something else: Killed process 7 (x)") is None
    xid = "NVRM: Xid (PCI:0000:3B:00): 79, pid=1, GPU has fallen off the bus."
    assert xid_error(xid) == ("0000:3b:00", 79)
    assert xid_error(oom) is None


def test_a_log_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    log = KernelLog(from_now=True, device=str(tmp_path / "none"))
    assert log.new_lines() is None
    log.close()


def test_records_of_the_log(tmp_path: Path) -> None:
    file = tmp_path / "kmsg"
    file.write_text("6,1,2,-;old\n")
    log = KernelLog(from_now=True, device=str(file))
    assert log.new_lines() == []
    with file.open("a") as handle:
        handle.write("6,2,3,-;new\n SUBSYSTEM=x\n")
    assert log.new_lines() == ["new"]
    log.close()
