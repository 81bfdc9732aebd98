"""A small build to ask about: an environment with a few packages, an interpreter, a list of what was collected."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
BUILD = REPOSITORY / "build"
PERMISSION = "Permission is granted to whoever asks.\n"


class Scene:
    """Packages `pyinstaller` and `plain`, and CPython with a licence text; tests add to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = folder / "env"
        self.site = self.env / "lib/python3.11/site-packages"
        self.site.mkdir(parents=True)
        self.base = folder / "prefix"
        (self.base / "lib/python3.11").mkdir(parents=True)
        (self.base / "lib/python3.11/LICENSE.txt").write_text("The licence of an interpreter.\n")
        (self.env / "pyvenv.cfg").write_text(f"home = {self.base}/bin\nversion = 3.11.2\n")
        self.zstd = folder / "zstd"
        self.zstd.mkdir()
        numbers = {"MAJOR": 1, "MINOR": 5, "RELEASE": 7}
        self.zstd.joinpath("zstd.h").write_text(
            "".join(f"#define ZSTD_VERSION_{name}    {number}\n" for name, number in numbers.items())
        )
        self.zstd.joinpath("LICENSE").write_text("The licence of a compressor.\n")
        self.locked: list[str] = []
        self.collected: list[dict[str, str]] = []
        self.package("pyinstaller", texts={"COPYING.txt": "The boot loader may be shipped.\n"}, inside=False)
        self.package("plain", texts={"LICENSE": PERMISSION})

    def package(
        self,
        name: str,
        *,
        texts: Mapping[str, str],
        files: Mapping[str, str] | None = None,
        headers: str = "",
        inside: bool = True,
    ) -> Path:
        """Install it; returns its folder of metadata."""
        about = self.site / f"{name.replace('-', '_')}-1.0.dist-info"
        declared = "".join(f"License-File: {text}\n" for text in texts)
        written = {
            f"{about.name}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{declared}{headers}\n",
            **{f"{about.name}/licenses/{text}": content for text, content in texts.items()},
            **(files or {}),
        }
        record = [f"{about.name}/RECORD,,", f"{about.name}/INSTALLER,sha256=x,4"]
        for file, content in written.items():
            path = self.site / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(content)}")
        (about / "RECORD").write_text("\n".join(record) + "\n")
        if inside:
            self.locked.append(f"{name}==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
        return about

    def collect(self, name: str, source: Path, kind: str = "binary") -> Path:
        """The tree got this file; one that is not there is made, with its name for content."""
        if not source.exists():
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(source.name)
        self.collected.append({"name": name, "source": str(source), "kind": kind})
        return source

    def compiled(self, name: str, text: str) -> Path:
        """A prefix that build/release/toolchain.sh made; returns it."""
        prefix = self.folder / name
        note = prefix / "share/provenance"
        note.mkdir(parents=True)
        said = {
            "name": name,
            "version": "3.0-1",
            "licence": "Apache-2.0",
            "purl": f"pkg:deb/debian/{name}@3.0-1?arch=source",
        }
        (note / "origin.json").write_text(json.dumps(said))
        (note / "licence.txt").write_text(text)
        return prefix

    def run(
        self, script: str, *flags: str, epoch: str | None = "1700000000", backwards: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """The script on this scene; its result is `out`."""
        lock, collected = self.folder / "lock", self.folder / "collected.json"
        lock.write_text("".join(self.locked))
        collected.write_text(json.dumps(self.collected[::-1] if backwards else self.collected))
        words = ["--env", str(self.env), "--collected", str(collected), "--lock", str(lock), "--out", str(self.out)]
        env = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        return subprocess.run(
            [sys.executable, "-B", str(BUILD / script), *words, *flags],
            env=env if epoch is None else {**env, "SOURCE_DATE_EPOCH": epoch},
            capture_output=True,
            text=True,
            check=False,
        )

    def result(self, script: str, *flags: str, backwards: bool = False) -> str:
        """What the script wrote; it must have ended well."""
        ran = self.run(script, *flags, backwards=backwards)
        assert (ran.returncode, ran.stderr) == (0, "")
        return self.out.read_text()

    @property
    def out(self) -> Path:
        return self.folder / "out"


@functools.cache
def system_library() -> tuple[Path, str] | None:
    """A shared library of this machine and the package that owns it, by dpkg; None where there is no such database."""
    for name in ("libz.so.1", "liblzma.so.5", "libbz2.so.1.0"):
        for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"):
            path = Path(folder) / name
            if path.exists() and Path("/usr/bin/dpkg-query").exists():
                for spelled in (path, path.resolve(), Path(str(path.resolve()).removeprefix("/usr"))):
                    asked = subprocess.run(
                        ["dpkg-query", "-S", str(spelled)], capture_output=True, text=True, check=False
                    )
                    if asked.returncode == 0:
                        return path, asked.stdout.partition(":")[0]
    return None
