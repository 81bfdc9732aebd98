"""A real systemd as process 1 of namespaces of its own, from which nothing of this machine can be written.

Its root is a tmpfs. /usr, the repository and the Python beneath it are bound read-only; the one place that is writable
and outlives it is the job's folder. It sees units of the test's own only: with the host's, its boot would do to this
machine what a boot does, emptying /tmp among it. `CHECKS` refuses to start systemd unless all that holds, because a
mistake here costs files that are not ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.driver import REPO, wait_for

SYSTEMD = Path("/lib/systemd/systemd")
TOOLS = ("unshare", "nsenter", "pivot_root", "setpriv", "systemctl", "mount", "umount", "findmnt")
KEPT = "chown,dac_override,dac_read_search,fowner,fsetid,kill,setgid,setuid,setpcap,sys_admin,sys_chroot,sys_ptrace"
REFUSED = 97

# $1: an empty folder, $2: the job's folder, $3: the units, the rest: what is bound read-only.
BUILD = r"""
set -eu
root=$1 job=$2 units=$3
shift 3
mount --make-rprivate /
mount -t tmpfs -o mode=0755 box "$root"
cd "$root"
mkdir -p proc sys dev run tmp var/lib var/cache etc units none old usr
for name in bin sbin lib lib64 lib32; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$name"; elif [ -d "/$name" ]; then set -- "/$name" "$@"; fi
done
for path in /usr "$@"; do
    mkdir -p ".$path"
    mount --bind "$path" ".$path"
    mount -o remount,bind,ro ".$path"
done
mount -t tmpfs -o mode=1777 box tmp
mkdir -p ".$job"
mount --bind "$job" ".$job"
cp -r "$units/." units/
cp /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache etc/ 2>/dev/null || true
[ ! -d /etc/alternatives ] || cp -a /etc/alternatives etc/
echo 0123456789abcdef0123456789abcdef >etc/machine-id
mount -t tmpfs -o mode=0755 box run
mkdir -p run/systemd/system
mount -t tmpfs -o mode=0755 box dev
for name in null zero full random urandom tty; do : >"dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 box dev/shm
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs -o mode=0755 box sys
mkdir -p sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -o remount,ro sys
pivot_root . old
cd /
umount -l /old
rmdir /old
"""

# Run inside, as the last thing before systemd: a writable mount of this machine other than the named is refused.
CHECKS = r"""
refuse() { echo "refused: $1" >&2; exit 97; }
for path in / /tmp /run /dev /sys /dev/shm; do
    [ "$(findmnt -n -o FSTYPE --mountpoint "$path")" = tmpfs ] || refuse "$path is no tmpfs"
done
[ -z "$(find /var /run /tmp -xdev -type f)" ] || refuse "files of the machine are visible"
findmnt -n -r -o TARGET,FSTYPE,OPTIONS | while read -r target type options; do
    case $type:,$options, in
        tmpfs:*) ;;
        proc:* | cgroup2:*) ;;
        *:*,ro,*) ;;
        *) case $target in
               "$shown" | /dev/null | /dev/zero | /dev/full | /dev/random | /dev/urandom | /dev/tty) ;;
               *) refuse "$target is writable" ;;
           esac ;;
    esac
done || exit 97
for path in /usr /proc/sys/kernel/hostname; do
    [ ! -w "$path" ] || refuse "$path is writable"
done
case $SYSTEMD_UNIT_PATH in *:* | '') refuse "units of the machine would be seen" ;; esac
"""

BOOT = r"""
shown=$(findmnt -n -r -o TARGET --mountpoint "$job")
export container=batchctl-test SYSTEMD_UNIT_PATH=/units SYSTEMD_GENERATOR_PATH=/none SYSTEMD_LOG_TARGET=null
export SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/none PATH=/usr/sbin:/usr/bin:/sbin:/bin
"""


def missing() -> str:
    """Why a box cannot be made here; "" where it can."""
    if os.environ.get("BATCHCTL_TEST_SYSTEMD", "") in ("", "0"):
        return "it boots a systemd in namespaces; asked for by BATCHCTL_TEST_SYSTEMD=1"
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools:
        return f"not installed: {', '.join(tools)}"
    return "" if _cgroups() else "no cgroup2 is mounted"


def _cgroups() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(target)
    return None


class Box:
    """A systemd that runs. `systemctl` talks to it."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "-t", str(pid), "-m", "-p", "-u", "-i", "-n", "-C", "--"]

    def systemctl(self, *words: str, check: bool = True) -> str:
        ran = subprocess.run(
            [*self._enter, "systemctl", "--no-pager", "--no-ask-password", *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if check and ran.returncode:
            status = self.systemctl("status", "--full", words[-1], check=False)
            raise AssertionError(f"systemctl {' '.join(words)}: {ran.returncode}: {ran.stderr}{status}")
        return ran.stdout + ran.stderr

    def read(self, path: str) -> str:
        """A file of the box."""
        return subprocess.run(
            [*self._enter, "cat", path], capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def show(self, unit: str, name: str) -> str:
        return self.systemctl("show", "-P", name, unit).strip()

    def until(self, unit: str, name: str, wanted: Callable[[str], bool], *, seconds: float = 40.0) -> str:
        """The property's value once it is as wanted."""
        last = ""

        def holds() -> bool:
            nonlocal last
            last = self.show(unit, name)
            return wanted(last)

        try:
            wait_for(holds, f"{name} of {unit}", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last!r}\n{self.systemctl('status', unit, check=False)}") from None
        return last


def _bound() -> list[str]:
    """The repository and the Python beneath its environment, each once, none inside another or /usr."""
    wanted = sorted({str(REPO), sys.base_prefix, str(Path(sys.executable).resolve().parent), sys.prefix})
    found: list[str] = []
    for path in wanted:
        if not any(Path(path).is_relative_to(outer) for outer in [*found, "/usr"]):
            found.append(path)
    return found


@contextmanager
def booted(scratch: Path, job: Path, units: Path) -> Iterator[Box]:
    """A box with these units; ended, with everything in it, at the end of the block."""
    cgroups = _cgroups()
    assert cgroups is not None
    ours = cgroups / f"batchctl-test-{os.getpid()}-{time.monotonic_ns()}"
    ours.mkdir()
    root = scratch / "box"
    root.mkdir()
    build = scratch / "boot.sh"
    boot = f"{SYSTEMD} --system --unit=box.target --show-status=no --default-standard-output=null"
    drop = f'setpriv --bounding-set "-all,{"".join("+" + cap + "," for cap in KEPT.split(",")).rstrip(",")}"'
    build.write_text(f"{BUILD}\n{BOOT}\n{CHECKS}\nexec {drop} {boot}\n")
    enter = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
    spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--uts", "--ipc", "--net", "--cgroup"]
    command = ["sh", "-c", enter, "sh", str(ours), *spaces]
    command += ["sh", str(build), str(root), str(job), str(units), *_bound()]
    log = scratch / "boot.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={"PATH": os.environ["PATH"]}
        )
    pid = 0
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def init() -> int:
            assert process.poll() is None, f"systemd was not started: {process.returncode}: {log.read_text()}"
            found = children.read_text().split()
            return int(found[0]) if found else 0

        pid = wait_for(init, "the first process of the namespace")
        box = Box(pid)

        def runs() -> bool:
            assert process.poll() is None, f"systemd ended: {process.returncode}: {log.read_text()}"
            return box.systemctl("is-active", "box.target", check=False).strip() == "active"

        wait_for(runs, "systemd to be up", seconds=30.0)
        yield box
    finally:
        if pid and process.poll() is None:
            os.kill(pid, signal.SIGKILL)  # the namespace's first process: all others go with it
        process.kill()
        process.wait()
        wait_for(lambda: _removed(ours), "the box's processes to be gone")


def _removed(folder: Path) -> bool:
    """Remove a tree of cgroups, from its leaves; False while a process is in one."""
    try:
        for below in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
            if below.is_dir():
                below.rmdir()
        folder.rmdir()
    except OSError:
        return False
    return True
