"""Cgroup limits on cpu and memory, v1, v2 and both at once. Pure over text: the caller hands in the reading.

A container or a Slurm step sees the whole machine in /proc/meminfo and in its cpu count, and is killed or throttled by
its cgroup. The limit that counts is the least of *every* enclosing cgroup. Which hierarchy holds which controller is
read from /proc/self/cgroup and /proc/self/mountinfo, never assumed: hosts with v1 controllers beside an empty v2 mount
("hybrid") exist. What lies above a container's own mount cannot be seen; v1's `hierarchical_memory_limit` tells that
for memory, and v2 does not.

    /proc/self/cgroup      4:memory:/a/b          -> controller "memory" is v1, we are in /a/b
    /proc/self/mountinfo   ... / /sys/fs/cgroup/memory ... - cgroup cgroup rw,memory
    read                   /sys/fs/cgroup/memory/a/b, .../a, .../  (leaf first)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from batchctl.named_tuple import NamedTuple

# Text of a file, or None where it cannot be read.
Read = Callable[[str], str | None]

# v1 says "no limit" as the largest page-aligned number: anything near it is no limit.
_V1_NO_LIMIT = 1 << 60


class CgroupLimits(NamedTuple):
    """The least over all enclosing cgroups; None: no limit. `memory_available` is limit less what is in use, page
    cache that can be dropped not counted (bytes). `notes`: what could not be found out."""

    cpu_quota: float | None = None
    memory_limit: int | None = None
    memory_available: int | None = None
    notes: tuple[str, ...] = ()


class Mount(NamedTuple):
    """A mounted hierarchy: `root` is the cgroup that appears at `point`; `controllers` is None for v2."""

    root: str
    point: str
    controllers: frozenset[str] | None


class Folder(NamedTuple):
    """A cgroup's folder, and whether its hierarchy is v1."""

    path: str
    v1: bool


class Cgroups(NamedTuple):
    """The folders of the cgroups that enclose this process, by controller, leaf first; found once, read often."""

    cpu: tuple[Folder, ...] = ()
    cpuset: tuple[Folder, ...] = ()
    memory: tuple[Folder, ...] = ()
    notes: tuple[str, ...] = ()


def parse_membership(text: str) -> dict[str, str]:
    """/proc/PID/cgroup -> controller to path; the v2 path under the key ""."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3 and fields[2].startswith("/"):
            for controller in fields[1].split(","):
                paths[controller] = fields[2]
    return paths


def parse_mounts(text: str) -> list[Mount]:
    """The cgroup lines of /proc/PID/mountinfo."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        head, tail = before.split(" "), after.split(" ")
        if not dash or len(head) < 5 or len(tail) < 3 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        controllers = frozenset(tail[2].split(",")) if tail[0] == "cgroup" else None
        mounts.append(Mount(unescape(head[3]), unescape(head[4]), controllers))
    return mounts


def enclosing(path: str, mount: Mount) -> list[str]:
    """The folders of the cgroup `path` and of all that enclose it, leaf first, as far as the mount shows them."""
    inside, root = PurePosixPath(path), PurePosixPath(mount.root)
    # Outside its own root (a moved process, a foreign cgroup namespace): only the mount's top is known to hold.
    relative = inside.relative_to(root) if inside.is_relative_to(root) and ".." not in inside.parts else PurePosixPath()
    leaf = PurePosixPath(mount.point) / relative
    return [str(folder) for folder in (leaf, *leaf.parents) if folder.is_relative_to(mount.point)]


def parse_limit(text: str | None) -> int | None:
    """memory.max, memory.high, memory.limit_in_bytes: bytes, or None for "max", v1's huge number, or nonsense."""
    value = _int(text)
    return None if value is None or value >= _V1_NO_LIMIT else value


def parse_cpu_max(text: str | None) -> float | None:
    """v2 cpu.max, "quota period" or "max period": cpus, or None."""
    fields = (text or "").split()
    return _ratio(fields[0], fields[1]) if len(fields) == 2 else None


def parse_cfs(quota: str | None, period: str | None) -> float | None:
    """v1 cpu.cfs_quota_us and cpu.cfs_period_us: cpus, or None (-1 is no quota)."""
    return _ratio(quota, period)


def parse_stat(text: str | None, key: str) -> int | None:
    """A number of memory.stat."""
    for line in (text or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return _int(value)
    return None


def find_cgroups(read: Read) -> Cgroups:
    """Where the limits on this process are written. Never raises as long as `read` does not."""
    membership, mounts = read("/proc/self/cgroup"), read("/proc/self/mountinfo")
    if membership is None or mounts is None:
        return Cgroups(notes=("cgroup limits unknown: /proc/self/cgroup or mountinfo cannot be read",))
    paths, all_mounts = parse_membership(membership), parse_mounts(mounts)
    notes: list[str] = []
    found: dict[str, tuple[Folder, ...]] = {}
    for controller in ("cpu", "cpuset", "memory"):
        # A controller is in one hierarchy only: v1 where the membership file names it, else v2.
        is_v1 = controller in paths
        path = paths.get(controller if is_v1 else "")
        if path is None:
            continue
        mount = next((m for m in all_mounts if (controller in m.controllers if m.controllers else not is_v1)), None)
        if mount is not None:
            found[controller] = tuple(Folder(folder, is_v1) for folder in enclosing(path, mount))
        elif controller != "cpuset":  # what that leaves us is also our affinity
            notes.append(f"cgroup limit on {controller} unknown: its hierarchy is not mounted")
    return Cgroups(found.get("cpu", ()), found.get("cpuset", ()), found.get("memory", ()), tuple(notes))


def limits(read: Read, cgroups: Cgroups | None = None) -> CgroupLimits:
    """The limits on this process. Never raises as long as `read` does not."""
    where = find_cgroups(read) if cgroups is None else cgroups
    notes = list(where.notes)
    quotas = [quota for at in where.cpu if (quota := (_cpu_v1 if at.v1 else _cpu_v2)(read, at.path)) is not None]
    ceilings: list[int] = []
    rooms: list[int] = []
    for at in where.memory:
        ceiling, used = (_memory_v1 if at.v1 else _memory_v2)(read, at.path)
        if ceiling is not None:
            ceilings.append(ceiling)
            rooms.append(max(0, ceiling - (used or 0)))
            if used is None:
                notes.append(f"memory in use unknown for {at.path}")
    return CgroupLimits(min(quotas, default=None), min(ceilings, default=None), min(rooms, default=None), tuple(notes))


def cpuset_of(read: Read, cgroups: Cgroups) -> str | None:
    """The kernel's list of the cpus that the nearest enclosing cgroup allows, or None where none says."""
    for at in cgroups.cpuset:
        for name in ("cpuset.effective_cpus", "cpuset.cpus") if at.v1 else ("cpuset.cpus.effective",):
            text = (read(f"{at.path}/{name}") or "").strip()
            if text:
                return text
    return None


def parse_pressure(text: str | None) -> tuple[float, float] | None:
    """PSI: avg10 of "some" and of "full"; None where there is none (old kernels, psi=0) or it is not readable."""
    found: dict[str, float] = {}
    for line in (text or "").splitlines():
        fields = line.split()
        for field in fields[1:]:
            name, _, value = field.partition("=")
            if name == "avg10":
                try:
                    found[fields[0]] = float(value)
                except ValueError:
                    return None
    return (found["some"], found["full"]) if {"some", "full"} <= found.keys() else None


def memory_pressure(read: Read, cgroups: Cgroups) -> tuple[float, float] | None:
    """The worst (some, full) of the machine and of every enclosing v2 cgroup; v1 has none of its own."""
    paths = ["/proc/pressure/memory", *(f"{at.path}/memory.pressure" for at in cgroups.memory if not at.v1)]
    seen = [pair for pair in map(parse_pressure, map(read, paths)) if pair is not None]
    return (max(some for some, _ in seen), max(full for _, full in seen)) if seen else None


def _cpu_v1(read: Read, folder: str) -> float | None:
    return parse_cfs(read(f"{folder}/cpu.cfs_quota_us"), read(f"{folder}/cpu.cfs_period_us"))


def _cpu_v2(read: Read, folder: str) -> float | None:
    return parse_cpu_max(read(f"{folder}/cpu.max"))


def _memory_v1(read: Read, folder: str) -> tuple[int | None, int | None]:
    stat = read(f"{folder}/memory.stat")
    own = parse_limit(read(f"{folder}/memory.limit_in_bytes"))
    above = parse_stat(stat, "hierarchical_memory_limit")
    both = [limit for limit in (own, above) if limit is not None and limit < _V1_NO_LIMIT]
    return min(both, default=None), _in_use(_int(read(f"{folder}/memory.usage_in_bytes")), stat, "total_inactive_file")


def _memory_v2(read: Read, folder: str) -> tuple[int | None, int | None]:
    # memory.high does not kill, but a process above it is slowed to a crawl: no worker is to be planned there.
    both = [limit for name in ("max", "high") if (limit := parse_limit(read(f"{folder}/memory.{name}"))) is not None]
    used = _int(read(f"{folder}/memory.current"))
    return min(both, default=None), _in_use(used, read(f"{folder}/memory.stat"), "inactive_file")


def _in_use(used: int | None, stat: str | None, key: str) -> int | None:
    """Usage less the page cache that the kernel drops first: a folder that was just read fills it, to no harm."""
    return None if used is None else max(0, used - (parse_stat(stat, key) or 0))


def _ratio(quota: str | None, period: str | None) -> float | None:
    over, under = _int(quota), _int(period)
    return over / under if over is not None and under is not None and over > 0 and under > 0 else None


def _int(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def unescape(field: str) -> str:
    """mountinfo writes blank, tab, newline and backslash as octal."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field
