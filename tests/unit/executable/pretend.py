"""A process that takes itself for the packaged file, from source: sys.frozen, a tree and its lock, leftovers.

`Pretend.run` starts it as the launcher would; the tree's `batchctl` is what `sys.executable` names, so that whatever a
script starts through it (multiprocessing, subprocess) really comes back to `batchctl.frozen.start`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from batchctl.engine.guest_zip import guest_zip

ROOT = Path(__file__).resolve().parents[3]
_BOOT_LOADER = """\
#!/bin/sh
# what PyInstaller's boot loader does to the environment
[ -z "${LD_LIBRARY_PATH+x}" ] || export LD_LIBRARY_PATH_ORIG="$LD_LIBRARY_PATH"
export LD_LIBRARY_PATH=INTERNAL${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export _PYI_ARCHIVE_FILE=x _PYI_PARENT_PROCESS_LEVEL=1 _MEIPASS2=x PYINSTALLER_STRICT_UNPACK_MODE=0
exec PYTHON -I -B PROGRAM "$@"
"""
_PROGRAM = """\
import sys
import os
os.environ.pop("VIRTUAL_ENV", None)  # so does PyInstaller's bootstrap
sys.frozen, sys._MEIPASS, sys.executable = True, INTERNAL, EXECUTABLE
sys.path[:] = [ROOT, *sys.path]
sys.argv[0] = EXECUTABLE
from batchctl.frozen import start
raise SystemExit(start())
"""
_LAUNCHER = """\
import fcntl, os, sys
first = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
fd = fcntl.fcntl(first, fcntl.F_DUPFD, 3)  # never a standard stream's number, which may be free
os.close(first)
fcntl.flock(fd, fcntl.LOCK_SH)
os.set_inheritable(fd, True)
os.environ["_BATCHCTL_LAUNCHER"] = f"{fd} {sys.argv[2]}"
os.execv(sys.argv[1] + "/batchctl", sys.argv[2:])
"""
BUILD = {"version": "0.1.0", "python": "3.11.7", "libc": "2.30", "packages": [{"name": "numpy", "version": "2.0"}]}


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def write_manifest(tree: Path, version: str = "0.1.0") -> bytes:
    """The manifest of what lies in `tree`, put there; its bytes."""
    lines = []
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            lines.append((name, f"l {os.readlink(path)} {name}\n"))
        elif path.is_file() and name != "MANIFEST":
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            data = path.read_bytes()
            mode = path.stat().st_mode & 0o777
            lines.append((name, f"f {mode:04o} {len(data)} {blake(data).hex()} {name}\n"))
    text = (f"batchctl-tree 1 {version}\n" + "".join(line for _name, line in sorted(lines))).encode()
    (tree / "MANIFEST").write_bytes(text)
    return text


def write_executable(path: Path, *, manifest: bytes, launcher: bytes = b"\x7fELF launcher") -> None:
    """A file as docs/executable.md has it; its payload is no zstd frame, which nobody looks into here."""
    payload = b"payload" * 100
    build_id = f"0.1.0-{blake(manifest).hex()[:16]}"
    footer = struct.pack(
        "<16sQQQQII32s32s64s32sQ",
        b"BATCHCTL-FOOTER1",
        len(launcher),
        len(payload),
        12345,
        len(manifest),
        manifest.count(b"\n") - 1,
        0,
        blake(payload),
        blake(manifest),
        build_id.encode(),
        blake(launcher),
        0,
    )
    path.write_bytes(launcher + payload + footer + blake(footer))
    path.chmod(0o755)


class Pretend:
    """A cache folder with our tree in it, and the executable that it came from."""

    def __init__(self, folder: Path) -> None:
        self.root, self.executable = folder / "cache", folder / "batchctl"
        self.root.mkdir(mode=0o700)
        making = self.root / "making"
        inside = making / "_internal" / "batchctl"
        inside.mkdir(parents=True)
        (inside / "guest.pyz").write_bytes(guest_zip())
        (inside / "build.json").write_text(json.dumps(BUILD))
        (inside / "licences.txt").write_text("the licences\n")
        (inside / "sbom.cdx.json").write_text('{"bomFormat": "CycloneDX"}\n')
        (inside / "link").symlink_to("guest.pyz")
        # Their content names the tree and so cannot be part of what names the tree: made first, in a fixed place.
        tree = self.root / "0.1.0-0123456789abcdef"
        internal, program, python = tree / "_internal", folder / "program.py", sys.executable
        text = _PROGRAM.replace("INTERNAL", repr(str(internal))).replace("EXECUTABLE", repr(str(tree / "batchctl")))
        program.write_text(text.replace("ROOT", repr(str(ROOT))))
        text = _BOOT_LOADER.replace("INTERNAL", shlex.quote(str(internal))).replace("PYTHON", shlex.quote(python))
        (making / "batchctl").write_text(text.replace("PROGRAM", shlex.quote(str(program))))
        (making / "batchctl").chmod(0o755)
        manifest = write_manifest(making)
        self.tree = making.rename(tree)
        write_executable(self.executable, manifest=manifest)

    def command(self, *argv: str, launched: bool = True) -> list[str]:
        """What starts it: by the launcher, or straight from the tree."""
        if not launched:
            return [str(self.tree / "batchctl"), *argv]
        return [sys.executable, "-c", _LAUNCHER, str(self.tree), str(self.executable), *argv]

    def run(
        self,
        *argv: str,
        launched: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        **more: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; `env` is added to ours."""
        environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
        return subprocess.run(
            self.command(*argv, launched=launched),
            env={**environment, **(env or {})},
            cwd=cwd or self.root.parent,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            **more,  # type: ignore[call-overload]
        )
