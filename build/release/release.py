"""`make release`: dist/release/batchctl, built inside a Debian 11 root, so that it runs where glibc is 2.30 or newer.

Three steps: a root (root.py; kept), the wheels of the lock (wheels.py; kept), and a build in the root from a fresh copy
of the sources, without a network. The same sources give the same bytes. Variables and reasons: docs/building.md.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import root as roots
import wheels

REPOSITORY = Path(__file__).resolve().parents[2]
# What the build needs and nothing else: a test or a document that changes must not change the file.
SOURCES = ("batchctl", "build", "pyproject.toml", "LICENSE", "README.md", "Makefile")
LOCKS = "requirements*.lock"
LOCK = "requirements-build.lock"
# Where the sources lie in the root: some bytes depend on the path, so it never varies. No other text has this word,
# on which the build's own search for traces of its place relies.
PLACE = "sources-of-batchctl"
# What is delivered, below PLACE; the executable last but for its checksum.
PRODUCTS = {
    "batchctl.cdx.json": ".build/release/tree/batchctl/_internal/batchctl/sbom.cdx.json",
    "batchctl": "dist/batchctl",
    "batchctl.sha256": "dist/batchctl.sha256",
}
MAX_GLIBC = "2.30"


def copy_sources(target: Path) -> None:
    """A fresh copy with plain modes; caches and what an editor left behind stay here."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    junk = shutil.ignore_patterns("__pycache__", "*.pyc", "*.swp", "*~", ".*")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=junk, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target / name)
    for lock in sorted(REPOSITORY.glob(LOCKS)):
        shutil.copyfile(lock, target / lock.name)


def date_of_sources() -> str:
    """SOURCE_DATE_EPOCH: as given, else the last commit's time."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    asked = subprocess.run(
        ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct"], check=False, capture_output=True, text=True
    )
    if asked.returncode != 0:
        raise roots.ReleaseError(
            f"release: {REPOSITORY} is no git checkout to take a date from: set SOURCE_DATE_EPOCH to the release's "
            "time, in seconds since 1970"
        )
    return asked.stdout.strip()


def build(root: Path, folder: Path, *, level: int) -> None:
    """Build in the root from a fresh copy of the sources and the wheels in `folder`; `level` is zstd's."""
    # How a module is marshalled depends on what else its compiler has in memory, and that on which modules came from a
    # cache: without this the first build in a root would differ from the second.
    for cache in sorted((root / "opt/python").rglob("__pycache__")):
        shutil.rmtree(cache)
    copy_sources(root / PLACE)
    shutil.rmtree(root / "wheels", ignore_errors=True)
    shutil.copytree(folder, root / "wheels")
    env = {
        "PATH": f"/opt/python/bin:{roots.PATH}",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        # Before glibc 2.34 the mutexes that gcc's static unwinder takes are in a library of their own.
        "CC": "gcc -pthread",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": date_of_sources(),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    command = ["/opt/python/bin/python3", "build/make.py", "--flavour", "release", "--max-glibc", MAX_GLIBC]
    command += ["--level", str(level)]
    roots.run_inside(root, command, env=env, net=False, cwd=f"/{PLACE}")


def deliver(made: Path, out: Path) -> None:
    """Each product appears in `out` whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    for name, source in PRODUCTS.items():
        part = out / f".{name}.part"
        shutil.copyfile(made / source, part)
        part.chmod(0o755 if name == "batchctl" else 0o644)
        part.replace(out / name)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="release.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--place", type=Path, default=REPOSITORY / ".build/release", help="where root and wheels are kept"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist/release")
    parser.add_argument(
        "--fresh-root", action="store_true", help="make the root anew even where a finished one is there"
    )
    parser.add_argument("--level", type=int, default=19, help="of zstd; 3 is quick, for a trial and not for a release")
    parser.add_argument("--root-only", action="store_true", help="stop when the root is there")
    args = parser.parse_args(argv)
    place: Path = args.place.resolve()
    try:
        options = roots.Options.read(os.environ)
        roots.need(options)
        place.mkdir(parents=True, exist_ok=True)
        with (place / "release.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two releases in one place take turns
            whole(options, place, args)
    except roots.ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def whole(options: roots.Options, place: Path, args: argparse.Namespace) -> None:
    """The three steps."""
    began, root = time.monotonic(), place / "root"
    if args.fresh_root or not roots.ready(root, options):
        roots.make(root, options)
        print(f"release: the root took {time.monotonic() - began:.0f} s", flush=True)
    if args.root_only:
        return
    folder = wheels.fetch(REPOSITORY / LOCK, place / "wheels")
    began = time.monotonic()
    build(root, folder, level=args.level)
    deliver(root / PLACE, args.out)
    print(f"release: {args.out / 'batchctl'} took {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
