"""Cgroup limits: parsers by table, and whole machines as dicts of files."""

from __future__ import annotations

import json
import sys

import pytest

from batchctl.node.cgroup import (
    CgroupLimits,
    Mount,
    cpuset_of,
    enclosing,
    find_cgroups,
    limits,
    memory_pressure,
    parse_cfs,
    parse_cpu_max,
    parse_limit,
    parse_membership,
    parse_mounts,
    parse_pressure,
    parse_stat,
)
from tests.unit.node.real_cgroups import real_group, run_in

GIB = 1 << 30
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID_MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_SELF = "9:name=systemd:/\n4:memory:/job/step\n2:cpu,cpuacct:/job\n0::/\n"
NO_LIMIT_V1 = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max\n", None),
        ("1073741824\n", GIB),
        ("0\n", 0),
        (NO_LIMIT_V1, None),
        ("", None),
        (None, None),
        ("nonsense", None),
    ],
)
def test_parse_limit(text: str | None, expected: int | None) -> None:
    assert parse_limit(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("100000\n", None),
        ("", None),
        (None, None),
        ("100000 0", None),
    ],
)
def test_parse_cpu_max(text: str | None, expected: float | None) -> None:
    assert parse_cpu_max(text) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("-1\n", "100000\n", None), ("50000\n", "100000\n", 0.5), (None, "100000", None), ("1", None, None)],
)
def test_parse_cfs(quota: str | None, period: str | None, expected: float | None) -> None:
    assert parse_cfs(quota, period) == expected


def test_parse_stat_matches_the_whole_name() -> None:
    assert parse_stat("total_inactive_file 5\ninactive_file 7\n", "inactive_file") == 7
    assert parse_stat("a b\n", "a") is None
    assert parse_stat(None, "a") is None


def test_parse_membership() -> None:
    assert parse_membership(HYBRID_SELF) == {
        "name=systemd": "/", "memory": "/job/step", "cpu": "/job", "cpuacct": "/job", "": "/"
    }  # fmt: skip
    assert parse_membership("rubbish\n0::/a:b\n") == {"": "/a:b"}


def test_parse_mounts() -> None:
    assert parse_mounts(HYBRID_MOUNTS + "junk\n") == [
        Mount("/", "/sys/fs/cgroup/cpu", frozenset({"rw", "cpu", "cpuacct"})),
        Mount("/", "/sys/fs/cgroup/memory", frozenset({"rw", "memory"})),
        Mount("/", "/sys/fs/cgroup/unified", None),
    ]
    assert parse_mounts(r"1 2 0:1 /a\040b /m\134n rw - cgroup2 none rw")[0] == Mount("/a b", "/m\\n", None)


ENCLOSING = {
    "leaf to top": ("/a/b", "/", ["/m/a/b", "/m/a", "/m"]),
    "the root itself": ("/", "/", ["/m"]),
    "a container's bind mount": ("/docker/x/y", "/docker/x", ["/m/y", "/m"]),
    "outside the mount's root": ("/elsewhere", "/docker/x", ["/m"]),
    "above the namespace": ("/../other", "/", ["/m"]),
    "names that only begin alike": ("/docker/xy", "/docker/x", ["/m"]),
}


@pytest.mark.parametrize("case", ENCLOSING)
def test_enclosing(case: str) -> None:
    path, root, folders = ENCLOSING[case]
    assert enclosing(path, Mount(root, "/m", None)) == folders


V2 = {"/proc/self/cgroup": "0::/a/b\n", "/proc/self/mountinfo": V2_MOUNT}
V1 = {"/proc/self/cgroup": HYBRID_SELF, "/proc/self/mountinfo": HYBRID_MOUNTS}
C = "/sys/fs/cgroup"

MACHINES: dict[str, tuple[dict[str, str], CgroupLimits]] = {
    "v2, no limits": (V2 | {f"{C}/a/memory.max": "max\n", f"{C}/a/cpu.max": "max 100000\n"}, CgroupLimits()),
    "v2, the outer memory and the inner cpu bind": (
        V2
        | {
            f"{C}/a/b/memory.max": f"{8 * GIB}",
            f"{C}/a/b/memory.current": f"{GIB}",
            f"{C}/a/b/cpu.max": "200000 100000",
            f"{C}/a/memory.max": f"{4 * GIB}",
            f"{C}/a/memory.current": f"{3 * GIB}",
            f"{C}/a/memory.stat": f"anon 1\ninactive_file {GIB}\n",
            f"{C}/a/cpu.max": "400000 100000",
        },
        CgroupLimits(2.0, 4 * GIB, 2 * GIB),
    ),
    "v2, room and limit may bind at different levels": (
        V2
        | {
            f"{C}/a/b/memory.max": f"{2 * GIB}",
            f"{C}/a/b/memory.current": "0",
            f"{C}/a/memory.max": f"{4 * GIB}",
            f"{C}/a/memory.current": f"{4 * GIB}",
        },
        CgroupLimits(None, 2 * GIB, 0),
    ),
    "v2, memory.high binds": (
        V2 | {f"{C}/a/b/memory.max": "max", f"{C}/a/b/memory.high": f"{GIB}", f"{C}/a/b/memory.current": "0"},
        CgroupLimits(None, GIB, GIB),
    ),
    "v2, usage unknown": (
        V2 | {f"{C}/a/b/memory.max": f"{GIB}"},
        CgroupLimits(None, GIB, GIB, (f"memory in use unknown for {C}/a/b",)),
    ),
    "v2 in a container: own root": (
        {"/proc/self/cgroup": "0::/\n", "/proc/self/mountinfo": V2_MOUNT, f"{C}/cpu.max": "50000 100000"},
        CgroupLimits(0.5),
    ),
    "hybrid: v1 controllers, empty v2": (
        V1
        | {
            f"{C}/cpu/job/cpu.cfs_quota_us": "300000",
            f"{C}/cpu/job/cpu.cfs_period_us": "100000",
            f"{C}/cpu/cpu.cfs_quota_us": "-1",
            f"{C}/cpu/cpu.cfs_period_us": "100000",
            f"{C}/memory/job/step/memory.limit_in_bytes": NO_LIMIT_V1,
            f"{C}/memory/job/memory.limit_in_bytes": f"{4 * GIB}",
            f"{C}/memory/job/memory.usage_in_bytes": f"{2 * GIB}",
            f"{C}/memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}\n",
            f"{C}/memory/memory.limit_in_bytes": NO_LIMIT_V1,
            f"{C}/unified/cpu.max": "1 100000",
        },
        CgroupLimits(3.0, 4 * GIB, 3 * GIB),
    ),
    "v1, a limit above what is mounted": (
        V1
        | {
            f"{C}/memory/job/step/memory.limit_in_bytes": NO_LIMIT_V1,
            f"{C}/memory/job/step/memory.usage_in_bytes": "0",
            f"{C}/memory/job/step/memory.stat": f"hierarchical_memory_limit {GIB}\n",
        },
        CgroupLimits(None, GIB, GIB),
    ),
    "a controller whose hierarchy is not mounted": (
        {"/proc/self/cgroup": "4:memory:/x\n", "/proc/self/mountinfo": V2_MOUNT},
        CgroupLimits(notes=("cgroup limit on memory unknown: its hierarchy is not mounted",)),
    ),
    "nothing can be read": (
        {},
        CgroupLimits(notes=("cgroup limits unknown: /proc/self/cgroup or mountinfo cannot be read",)),
    ),
}


@pytest.mark.parametrize("case", MACHINES)
def test_limits(case: str) -> None:
    files, expected = MACHINES[case]
    assert limits(files.get) == expected


CPUSETS: dict[str, tuple[dict[str, str], str | None]] = {
    "v2, the nearest that says": (V2 | {f"{C}/a/cpuset.cpus.effective": "0-3\n"}, "0-3"),
    "v1, as it is in force": (
        V1 | {
            "/proc/self/cgroup": "3:cpuset:/job\n",
            "/proc/self/mountinfo": "1 2 0:3 / /c rw - cgroup cgroup rw,cpuset\n",
            "/c/job/cpuset.effective_cpus": "4\n", "/c/job/cpuset.cpus": "4-7\n",
        }, "4",
    ),
    "not mounted": (V2 | {"/proc/self/cgroup": "3:cpuset:/job\n0::/a\n"}, None),
    "nothing can be read": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CPUSETS)
def test_cpuset(case: str) -> None:
    files, expected = CPUSETS[case]
    assert cpuset_of(files.get, find_cgroups(files.get)) == expected


PSI = "some avg10={} avg60=0.00 avg300=0.00 total=5\nfull avg10={} avg60=0.00 avg300=0.00 total=3\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PSI.format("2.50", "1.00"), (2.5, 1.0)),
        ("some avg10=1.00 total=0\n", None),
        ("some avg10=x", None),
        (None, None),
    ],
)
def test_parse_pressure(text: str | None, expected: tuple[float, float] | None) -> None:
    assert parse_pressure(text) == expected


def test_pressure_is_the_worst_of_the_machine_and_the_enclosing_groups() -> None:
    files = V2 | {"/proc/pressure/memory": PSI.format(1, 1), f"{C}/a/memory.pressure": PSI.format(9, 0.5)}
    assert memory_pressure(files.get, find_cgroups(files.get)) == (9.0, 1.0)
    assert memory_pressure(V1.get, find_cgroups(V1.get)) is None


def test_half_a_cpu_is_seen_as_such() -> None:
    """A real v1 group with a quota, and the real command in it."""
    with real_group("cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}) as group:
        node = json.loads(run_in(group, [sys.executable, "-m", "batchctl", "probe", "--json"]))["node"]
    assert node["cpu_quota"] == 0.5


def test_a_memory_limit_is_seen_as_such() -> None:
    with real_group("memory", {"memory.limit_in_bytes": str(GIB)}) as group:
        node = json.loads(run_in(group, [sys.executable, "-m", "batchctl", "probe", "--json"]))["node"]
    assert node["memory_limit"] == GIB
    assert 0.8 * GIB < node["memory_available"] < GIB
