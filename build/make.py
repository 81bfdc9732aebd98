"""From the sources to dist/batchctl: environment, tree, gates, one file. See README.md beside this file.

    python3 build/make.py [--flavour release] [--python PYTHON] [--level 19] [--max-glibc 2.30] [--out dist/batchctl]

Started by any Python of 3.11 or newer; it makes the clean environment and starts itself again with that one's Python.
Exit code: 0, or 1 with the complaints of the gates, in which case nothing is delivered.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import environment

ROOT = Path(__file__).resolve().parents[1]
LOCK, RUNTIME = ROOT / "requirements-build.lock", ROOT / "requirements.lock"
EPOCH = 1_767_225_600  # 2026-01-01; of no meaning, but the same everywhere
_INSIDE = "BATCHCTL_BUILD_INSIDE"


class Refused(Exception):
    """A gate's complaints."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the executable.")
    parser.add_argument("--flavour", choices=("binary", "release"), default="binary", help="what build.json calls it")
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter that goes inside; has a shared library"
    )
    parser.add_argument("--level", type=int, default=19, help="of zstd: 3 packs in seconds and is a fifth larger")
    parser.add_argument(
        "--max-glibc", type=lambda text: tuple(map(int, text.split("."))), help="such as 2.30; else any"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "batchctl")
    parser.add_argument("--work", type=Path, help="scratch folder, below .build; default .build/FLAVOUR")
    parser.add_argument("--no-smoke", action="store_true", help="do not run the result")
    return parser.parse_args()


def outside(given: argparse.Namespace, work: Path) -> int:
    """Make the environment and start again in it."""
    environment.check_tools()
    environment.check_python(given.python)
    made = environment.prepare(work, python=given.python, lock=LOCK)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "CC") if name in os.environ}
    epoch = os.environ.get("SOURCE_DATE_EPOCH", str(EPOCH))
    fixed = {"PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": epoch, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", "SETUPTOOLS_USE_DISTUTILS": "stdlib"}
    env = {**kept, **fixed, **quiet, "PYINSTALLER_CONFIG_DIR": str(work / "config"), _INSIDE: str(made.zstd)}
    return subprocess.run([str(made.python), *sys.argv], env=env, check=False).returncode


def inside(given: argparse.Namespace, work: Path, zstd: Path) -> int:
    """The build itself; runs in the clean environment."""
    import data
    import gate
    import pack
    import smoke
    import strip
    import tree as trees

    epoch, site = int(os.environ["SOURCE_DATE_EPOCH"]), Path(sysconfig.get_path("purelib"))
    said = Progress()
    refuse(gate.environment(LOCK, site))
    launcher = build_launcher(work, zstd)
    refuse(gate.launcher(launcher))
    said("launcher", f"{launcher.stat().st_size:,} bytes")

    data.stage(work / "stage", site=site, lock=RUNTIME)
    tree = run_pyinstaller(work)
    said("PyInstaller")
    saved = strip.strip(tree)
    changed = strip.forget_folders(tree)
    said("strip", f"{saved / 1e6:.0f} MB saved; library folders of this machine taken out of {len(changed)} files")
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    newest, over = gate.glibc([launcher, *files], given.max_glibc)
    refuse(over + gate.folders(files))
    version = own_version()
    about = data.about(version=version, flavour=given.flavour, glibc=newest, lock=RUNTIME, epoch=epoch)
    data.finish(tree, root=ROOT, about=about, site=site, collected=work / "collected.json")
    trees.settle(tree, epoch)
    refuse(gate.modules(tree) + gate.stored(tree, ROOT) + gate.paths(tree, [ROOT, work, Path(sys.prefix)]))
    said("tree", f"wants glibc {'.'.join(map(str, newest))}")

    packed = work / "batchctl"
    figures = pack.pack(packed, launcher=launcher, tree=tree, version=version, level=given.level)
    said("pack", f"level {given.level}")
    refuse(gate.same(packed, tree) + gate.size(packed, level=given.level))
    if not given.no_smoke:
        refuse(smoke.smoke(packed))
        said("smoke")
    deliver(packed, given.out)
    size = given.out.stat().st_size
    print(f"{given.out}: {size:,} bytes ({size / 2**20:.1f} MiB)")
    print(f"unpacked {figures.unpacked:,} bytes in {figures.entries} files; build id {figures.build_id}")
    return 0


class Progress:
    """One line for each step with its seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, step: str, note: str = "") -> None:
        now = time.monotonic()
        print(f"{step:<12} {now - self._last:6.1f} s  {note}".rstrip(), flush=True)
        self._last = now


def refuse(complaints: list[str]) -> None:
    if complaints:
        raise Refused("\n".join(complaints))


def build_launcher(work: Path, zstd: Path) -> Path:
    folder = work / "launcher"
    variables = [f"ZSTD_DIR={zstd}", f"OUT={folder}", f"CC={os.environ.get('CC', 'gcc')}"]
    subprocess.run(
        ["make", "--no-print-directory", "-s", "-C", str(ROOT / "build" / "launcher"), *variables], check=True
    )
    return folder / "launcher"


def run_pyinstaller(work: Path) -> Path:
    log = work / "pyinstaller.log"
    folders = ["--distpath", str(work / "tree"), "--workpath", str(work / "pyinstaller")]
    command = [
        sys.executable,
        "-m",
        "PyInstaller",
        "--noconfirm",
        "--clean",
        *folders,
        str(ROOT / "build" / "batchctl.spec"),
    ]
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, check=False, cwd=work, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Refused(f"PyInstaller failed; {log} ends with:\n{log.read_text(encoding='utf-8')[-2000:]}")
    return work / "tree" / "batchctl"


def own_version() -> str:
    code = "import batchctl; print(batchctl.__version__)"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def deliver(packed: Path, target: Path) -> None:
    """The file and its checksum beside it, each by rename: a running executable cannot be overwritten in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    shutil.copy2(packed, fresh)
    digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
    fresh.replace(target)
    fresh.write_text(f"{digest}  {target.name}\n", encoding="ascii")
    fresh.chmod(0o644)
    fresh.replace(target.with_name(f"{target.name}.sha256"))


def main() -> int:
    given = arguments()
    given.out = given.out.absolute()
    work = (given.work or ROOT / ".build" / given.flavour).absolute()
    work.mkdir(parents=True, exist_ok=True)
    zstd = os.environ.get(_INSIDE)
    try:
        if zstd is not None:
            return inside(given, work, Path(zstd))
        with (work / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two builds in one folder take turns
            return outside(given, work)
    except (Refused, environment.Missing, subprocess.CalledProcessError) as error:
        print(f"build refused: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
