"""dist/batchctl_VERSION_amd64.deb, from the one file: `make deb`, or

    python3 packaging/deb/build.py [--executable dist/batchctl] [--out-dir dist]

The executable is asked for its version, manual page, completions, licences and the libc that it needs, so the package
cannot disagree with it. Needs dpkg-deb, no root and no network. The same executable and SOURCE_DATE_EPOCH (default:
that of the executable's build) give the same bytes. Exit code: 0, or 1 with what is wrong.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

PACKAGING = Path(__file__).resolve().parents[1]
MAINTAINER = "The batchctl authors <noreply@batchctl.invalid>"
DOC = Path("usr/share/doc/batchctl")
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/batchctl",
    "zsh": "usr/share/zsh/vendor-completions/_batchctl",
    "fish": "usr/share/fish/vendor_completions.d/batchctl.fish",
}
# From packaging/: where it goes, and its mode.
FILES = (
    ("cron/batchctl-cron", "usr/bin/batchctl-cron", 0o755),
    ("cron/batchctl.crontab", f"{DOC}/examples/batchctl.crontab", 0o644),
    ("systemd/batchctl@.service", "usr/lib/systemd/system/batchctl@.service", 0o644),
    ("systemd/batchctl@.timer", "usr/lib/systemd/system/batchctl@.timer", 0o644),
    ("systemd/batchctl.sysusers.conf", "usr/lib/sysusers.d/batchctl.conf", 0o644),
    ("ci/github-actions.yml", f"{DOC}/examples/github-actions.yml", 0o644),
    ("ci/gitlab-ci.yml", f"{DOC}/examples/gitlab-ci.yml", 0o644),
    ("deb/copyright", f"{DOC}/copyright", 0o644),
    ("deb/lintian-overrides", "usr/share/lintian/overrides/batchctl", 0o644),
)
SCRIPTS = ("postinst", "postrm")


class Refused(Exception):
    """What is wrong, and what to do."""


@dataclass(frozen=True)
class Executable:
    """The one file, as something to ask. What it unpacks lands in `cache`."""

    path: Path
    cache: Path

    def says(self, *argv: str) -> str:
        done = subprocess.run(
            [str(self.path), *argv],
            env={"PATH": os.defpath, "BATCHCTL_CACHE": str(self.cache), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Refused(f"`{self.path} {' '.join(argv)}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the Debian package.")
    parser.add_argument("--executable", type=Path, default=Path("dist/batchctl"))
    parser.add_argument("--out-dir", type=Path, default=Path("dist"))
    given = parser.parse_args()
    try:
        if shutil.which("dpkg-deb") is None:
            raise Refused("dpkg-deb is missing: install the package dpkg")
        if not given.executable.is_file():
            raise Refused(f"{given.executable} is not there: `make binary` (or `make release`) makes it")
        with tempfile.TemporaryDirectory(prefix="batchctl-deb-") as scratch:
            print(build(given.executable.resolve(), given.out_dir, Path(scratch)))
    except Refused as refused:
        print(f"deb: {refused}", file=sys.stderr)
        return 1
    return 0


def build(path: Path, out_dir: Path, scratch: Path) -> Path:
    """Lay out the tree below `scratch` and pack it; returns the package, which appears whole."""
    cache, root = scratch / "cache", scratch / "root"
    cache.mkdir(mode=0o700)
    executable = Executable(path, cache)
    version = executable.says("--version").split()[-1]
    info: dict[str, Any] = json.loads(executable.says("self", "info", "--json"))["build"]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or info["source_date_epoch"])
    lay_out(root, executable, version=version, epoch=epoch)
    control(root, version=version, glibc=str(info["glibc"]))
    for found in [root, *root.rglob("*")]:
        os.utime(found, (epoch, epoch), follow_symlinks=False)
    made = scratch / f"batchctl_{version}_amd64.deb"
    # The executable is compressed already: the lowest level, and one thread, because several cut the stream elsewhere.
    pack = ["dpkg-deb", "--root-owner-group", "--uniform-compression", "-Zxz", "-z1", "--threads-max=1"]
    if "--threads-max" not in subprocess.run(["dpkg-deb", "--help"], capture_output=True, text=True, check=True).stdout:
        pack.pop()  # dpkg before 1.21.9
    done = subprocess.run(
        [*pack, "--build", str(root), str(made)],
        env={"PATH": os.environ.get("PATH", os.defpath), "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Refused(f"dpkg-deb: {done.stderr.strip()}")
    out_dir.mkdir(parents=True, exist_ok=True)
    target = out_dir / made.name
    shutil.copyfile(made, out_dir / f".{made.name}.tmp")
    (out_dir / f".{made.name}.tmp").replace(target)
    return target


def lay_out(root: Path, executable: Executable, *, version: str, epoch: int) -> None:
    """Every file that the package installs."""
    put(root / "usr/bin/batchctl", executable.path.read_bytes(), mode=0o755)
    for source, target, mode in FILES:
        put(root / target, (PACKAGING / source).read_bytes(), mode=mode)
    (root / "etc/batchctl").mkdir(parents=True)  # NAME.conf of batchctl@NAME.service
    for shell, target in COMPLETIONS.items():
        put(root / target, executable.says("completion", shell).encode())
    put(root / "usr/share/man/man1/batchctl.1.gz", squeezed(executable.says("man")))
    cron_page = (PACKAGING / "deb" / "batchctl-cron.1").read_text(encoding="utf-8")
    put(root / "usr/share/man/man1/batchctl-cron.1.gz", squeezed(cron_page))
    put(root / DOC / "licenses.gz", squeezed(executable.says("self", "licenses")))
    put(root / DOC / "sbom.cdx.json.gz", squeezed(executable.says("self", "licenses", "--sbom")))
    put(root / DOC / "changelog.gz", squeezed(changelog(version=version, epoch=epoch)))
    for folder in [root, *root.rglob("*")]:
        if folder.is_dir():
            folder.chmod(0o755)


def put(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def squeezed(text: str) -> bytes:
    return gzip.compress(text.encode(), 9, mtime=0)


def changelog(*, version: str, epoch: int) -> str:
    """CHANGELOG.md's newest section in Debian's form."""
    text = (PACKAGING.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = text.split("\n## ", 2)[1]
    entries = re.findall(r"^- (.*(?:\n  .*)*)", newest, flags=re.MULTILINE)
    lines = [f"batchctl ({version}) unstable; urgency=medium", ""]
    for entry in entries:
        lines += textwrap.wrap(" ".join(entry.split()), 76, initial_indent="  * ", subsequent_indent="    ")
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))  # strftime would speak the locale's language
    return "\n".join([*lines, "", f" -- {MAINTAINER}  {date}", ""])


def control(root: Path, *, version: str, glibc: str) -> None:
    """DEBIAN/: the fields, the digests, and what runs at installation and removal."""
    if not re.fullmatch(r"[0-9][A-Za-z0-9.+~]*", version) or not re.fullmatch(r"2\.[0-9]+", glibc):
        raise Refused(f"the executable calls itself version {version!r} and needs glibc {glibc!r}: these are none")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    # As dpkg counts: each file in KiB, rounded up, and one for each folder.
    size = sum(-(-path.stat().st_size // 1024) for path in files) + sum(path.is_dir() for path in root.rglob("*"))
    fields = f"""\
Package: batchctl
Version: {version}
Architecture: amd64
Maintainer: {MAINTAINER}
Installed-Size: {size}
Depends: libc6 (>= {glibc})
Suggests: python3
Section: science
Priority: optional
Description: score a folder of files with a scoring script, crash-safely
 Runs a Python scoring script (init() and run(mini_batch)) or an Azure ML batch
 deployment over a folder of files on this machine: sizes and pins the workers,
 retries, isolates bad files down to the single one, and resumes after any
 crash without losing or repeating a row. One executable, no server.
"""
    digests = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in files]
    put(root / "DEBIAN/control", fields.encode())
    put(root / "DEBIAN/md5sums", "".join(digests).encode())
    for name in SCRIPTS:
        put(root / "DEBIAN" / name, (PACKAGING / "deb" / name).read_bytes(), mode=0o755)
    (root / "DEBIAN").chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
