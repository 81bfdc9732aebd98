"""The inner half of sandbox.py: run in a fresh mount namespace; plan and outcome as JSON."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from typing import Any

BASE = "/mnt"
ROOT = BASE + "/root"
LIMIT_S = 120.0
Entry = tuple[str, int, int, int, int]  # kind, mode, uid, size, inode


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def raise_root(plan: dict[str, Any]) -> tuple[int, int]:
    """Make the root and enter it; descriptors of the upper and of the lower layer are all that is left outside."""
    mount("-t", "tmpfs", "-o", "mode=0755", "sandbox", BASE)
    for name in ("upper", "work", "root"):
        os.mkdir(f"{BASE}/{name}", 0o755)
    layers = f"lowerdir=/,upperdir={BASE}/upper,workdir={BASE}/work"
    mount("-t", "overlay", "-o", layers, "sandbox", ROOT)
    if plan["proc"]:
        mount("--bind", "/proc", ROOT + "/proc")
    mount("--bind", "/dev", ROOT + "/dev")
    mount("-t", "tmpfs", "-o", "mode=1777", "shm", ROOT + "/dev/shm")
    upper, lower = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (BASE + "/upper", "/"))
    os.chroot(ROOT)
    os.chdir("/")
    for path, options in plan["mounts"].items():
        os.makedirs(path, exist_ok=True)
        # mount(8) of the lower root reads no /etc/fstab here; sizes and flags are the case's.
        mount("-t", "tmpfs", "-o", options, "case", path)
    return upper, lower


def entries(top: int | str, prefix: str) -> dict[str, Entry]:
    """Everything below a folder. Overlay's white-outs (character devices 0/0) are deletions: kind "w"."""
    found = {}
    fd = top if isinstance(top, int) else os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for folder, folders, files, at in os.fwalk(".", dir_fd=fd):
        for name in [*folders, *files]:
            try:
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                continue
            mode = status.st_mode
            kind = "d" if stat.S_ISDIR(mode) else "l" if stat.S_ISLNK(mode) else "w" if stat.S_ISCHR(mode) else "f"
            path = os.path.normpath(os.path.join(prefix, folder, name))
            found[path] = (kind, stat.S_IMODE(mode), status.st_uid, status.st_size, status.st_ino)
    return found


def everything(upper: int, plan: dict[str, Any]) -> dict[str, Entry]:
    found = entries(upper, "/")
    for path in ("/dev/shm", *plan["mounts"]):
        found.update(entries(path, path))
    return found


def is_new(path: str, what: Entry, was: Entry | None, *, lower: int) -> bool:
    """A folder that only holds something new is not itself new, unless its rights have changed."""
    if was is None and what[0] == "d":
        try:
            status = os.stat("." + path, dir_fd=lower, follow_symlinks=False)
        except OSError:
            return True
        was = ("d", stat.S_IMODE(status.st_mode), status.st_uid, 0, 0)
    return was is None or (what[:3] != was[:3] if what[0] == "d" else what != was)


def play(step: dict[str, Any]) -> list[dict[str, Any]]:
    began = time.monotonic()
    running = [
        subprocess.Popen(
            step["argv"],
            env=step["env"],
            cwd=step["cwd"],
            user=step["uid"] or None,
            group=step["uid"] or None,
            extra_groups=[] if step["uid"] else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        for _ in range(step["beside"])
    ]
    if step["signal"]:
        deadline = began + LIMIT_S
        while step["until"] and not os.path.exists(step["until"]) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(step["after"])
        for process in running:
            if process.poll() is None:
                (os.killpg if step["group"] else os.kill)(process.pid, signal.Signals(step["signal"]))
    found = []
    for process in running:
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\nsandbox: killed after {LIMIT_S:g} s"
        seconds = time.monotonic() - began
        found.append({"code": process.returncode, "stdout": out, "stderr": err, "seconds": seconds})
    return found


def main() -> None:
    plan = json.load(sys.stdin)
    os.umask(0o022)
    upper, lower = raise_root(plan)
    if plan["prepare"]:
        done = subprocess.run(["sh", "-eu", "-c", plan["prepare"]], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"prepare: {done.stderr.strip()}")
    before = everything(upper, plan)
    done = [result for step in plan["steps"] for result in play(step)]
    after = everything(upper, plan)
    written = {path: what for path, what in after.items() if is_new(path, what, before.get(path), lower=lower)}
    json.dump({"done": done, "written": written}, sys.stdout)


main()
