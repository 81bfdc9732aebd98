"""What the package database of Debian and its derivatives says about a file: owner, version, licence texts."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

COMMON = Path("/usr/share/common-licenses")
# As SPDX writes them, for the libraries that CPython is built against; others have their copyright file alone.
SPDX_OF = {
    "libbz2-1.0": "bzip2-1.0.6",
    "libc6-dev": "LGPL-2.1-or-later",
    "libexpat1": "MIT",
    "libffi7": "MIT",
    "libffi8": "MIT",
    "libgcc-s1": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgcc-10-dev": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libgcc-12-dev": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "liblzma5": "0BSD",
    "libncursesw6": "X11",
    "libsqlite3-0": "blessing",
    "libssl3": "Apache-2.0",
    "libstdc++6": "GPL-3.0-or-later WITH GCC-exception-3.1",
    "libtinfo6": "X11",
    "libuuid1": "BSD-3-Clause",
    "libzstd-dev": "BSD-3-Clause OR GPL-2.0-only",
    "zlib1g": "Zlib",
}


@dataclass(frozen=True, slots=True)
class Owner:
    """A binary package that is installed here."""

    name: str
    version: str
    architecture: str
    source: str
    purl: str


@functools.cache
def _system() -> tuple[str, str]:
    """(vendor, release) of this system, as package URLs name them."""
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    said = {name: value.strip('"') for name, value in re.findall(r"^(\w+)=(.*)$", text, flags=re.MULTILINE)}
    return said.get("ID", "debian"), said.get("VERSION_ID", "")


@functools.cache
def owner(file: Path) -> Owner | None:
    """The package that this file belongs to; None where none says so, or there is no such database here."""
    if shutil.which("dpkg-query") is None:
        return None
    # On a merged /usr the database knows a file by the one or by the other name.
    names: list[str] = []
    for path in (file, file.resolve()):
        text = str(path)
        other = text.removeprefix("/usr") if text.startswith("/usr/") else f"/usr{text}"
        names += [text, other]
    for name in dict.fromkeys(names):
        asked = subprocess.run(["dpkg-query", "--search", name], check=False, capture_output=True, text=True)
        match = re.match(r"([a-z0-9][a-z0-9+.:-]*): ", asked.stdout)
        if asked.returncode == 0 and match:
            return _installed(match.group(1))
    return None


def _installed(package: str) -> Owner:
    form = "${Package}\t${Version}\t${Architecture}\t${source:Package}"
    asked = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={form}", package], check=True, capture_output=True, text=True
    )
    name, version, architecture, source = asked.stdout.split("\t")
    vendor, release = _system()
    distro = f"&distro={vendor}-{release}" if release else ""
    purl = f"pkg:deb/{vendor}/{quote(name, safe='')}@{quote(version, safe='')}?arch={architecture}{distro}"
    return Owner(name, version, architecture, source, purl)


def texts(package: Owner) -> tuple[tuple[str, str], ...]:
    """The package's copyright file, as (where from, text); none where the system came without documentation."""
    path = Path("/usr/share/doc") / package.name / "copyright"
    if not path.is_file():
        return ()
    return ((f"{package.name}/copyright", path.read_text(encoding="utf-8", errors="replace")),)


def licence(package: Owner, found: tuple[tuple[str, str], ...]) -> str:
    """SPDX where we know it; else the short name that a machine-readable copyright file gives for `Files: *`."""
    if package.name in SPDX_OF:
        return SPDX_OF[package.name]
    for _, text in found:
        match = re.search(r"^Files: \*\n(?:.+\n)*?License: (.+)$", text, flags=re.MULTILINE)
        if match:
            return match.group(1).strip()
    return ""


def common(text: str) -> list[Path]:
    """The system's common licences that a copyright file refers to instead of quoting, sorted and each once."""
    named = set(re.findall(r"/usr/share/common-licenses/([A-Za-z0-9+.-]*[A-Za-z0-9+])", text))
    found = {(COMMON / name).resolve() for name in named if (COMMON / name).is_file()}
    return sorted(found)
