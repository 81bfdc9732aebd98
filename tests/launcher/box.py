"""A packed file and everything around it that a test looks at: its environment, its cache, what a run said."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.format import Entry, manifest_text, pack

# A leak or a slip under the sanitizers must not look like an exit code of ours.
SANITIZERS = {"ASAN_OPTIONS": "exitcode=99", "UBSAN_OPTIONS": "exitcode=99:print_stacktrace=1"}


@dataclass
class Said:
    """What the probe printed, or what the launcher said instead."""

    code: int
    out: str
    err: str

    def values(self, key: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.out.splitlines() if line.partition(" ")[0] == key]

    def one(self, key: str) -> str:
        (value,) = self.values(key)
        return value


@dataclass
class Box:
    """`file` packed from `tree`; `run` starts it with `env`, whose first root is mostly `cache`."""

    home: Path
    file: Path
    cache: Path
    id: str
    tree: Mapping[str, Entry]
    launcher: Path
    env: dict[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, launcher: Path, tree: Mapping[str, Entry], tmp_path: Path) -> Iterator[Box]:
        # Not below pytest's own folder, which is 0700: other users of these tests must reach the file.
        home = Path(tempfile.mkdtemp(prefix="batchctl-launcher-"))
        home.chmod(0o755)
        try:
            file = home / "batchctl"
            made = pack(launcher, tree, file)
            box = cls(home=home, file=file, cache=home / "cache", id=made, tree=tree, launcher=launcher)
            box.env = {"BATCHCTL_CACHE": str(box.cache), **SANITIZERS}
            yield box
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def run(self, *args: str, env: Mapping[str, str] | None = None, **more: Any) -> Said:
        told = self.env if env is None else env
        done = subprocess.run([str(self.file), *args], env=told, capture_output=True, timeout=100, check=False, **more)
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode())

    def popen(self, *args: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(self.file), *args], env=self.env, **more)

    def names(self, root: Path | None = None) -> list[str]:
        """What is in a root, less its .lock."""
        folder = root or self.cache
        return sorted(set(os.listdir(folder)) - {".lock"}) if folder.is_dir() else []

    def assert_whole(self, root: Path | None = None) -> None:
        """The root holds this tree, byte for byte, and nothing else."""
        folder = (root or self.cache) / self.id
        assert self.names(root) == [self.id]
        assert contents_of(folder) == {
            **{p: e.target if e.target is not None else (e.mode, e.content) for p, e in self.tree.items()},
            "MANIFEST": ("0644", manifest_text(self.tree)),
        }


def contents_of(folder: Path) -> dict[str, tuple[str, bytes] | str]:
    found: dict[str, tuple[str, bytes] | str] = {}
    for at, folders, files in os.walk(folder):
        for name in files + [f for f in folders if Path(at, f).is_symlink()]:
            path = Path(at, name)
            mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
            found[str(path.relative_to(folder))] = os.readlink(path) if path.is_symlink() else (mode, path.read_bytes())
    return found


def as_user(uid: int) -> Callable[[], None]:
    """For `preexec_fn`: become `uid` for good."""

    def become() -> None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)

    return become


def root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")


def mounted(mounts: Sequence[tuple[str, Path]], command: Sequence[str]) -> list[str]:
    """`command` in a mount namespace of its own with a tmpfs (options, folder) at each; the kernel unmounts them."""
    root_only()
    tool = shutil.which("unshare")
    if tool is None:
        pytest.skip("no unshare here")
    probe = subprocess.run([tool, "-m", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("no mount namespaces here")
    steps = [f"mount -t tmpfs -o {options} tmpfs {folder}" for options, folder in mounts]
    return [tool, "-m", "--propagation", "private", "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh", *command]
