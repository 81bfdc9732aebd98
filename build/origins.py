"""Where everything inside the executable comes from: one component for each package, library and program in it.

licences.py and sbom.py are two views of the same list. A file that nobody answers for is an error that names it: it
must not be shipped unlisted. What is asked: pip's records in the build environment, the distribution's package database
(debian.py), and the notes that build/release/toolchain.sh leaves beside what it compiles.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import debian

REPOSITORY = Path(__file__).resolve().parents[1]
PYINSTALLER = "pyinstaller"
# Licences that are said in words in a wheel's metadata, as SPDX writes them.
SPDX_OF = {
    "nvidia-ml-py": "BSD-3-Clause",
    "markdown-it-py": "MIT",
    "mdurl": "MIT",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    PYINSTALLER: "GPL-2.0-or-later WITH Bootloader-exception",
}
# A wheel without a licence file whose module carries the text in its first comment.
TEXT_IN_MODULE = {"nvidia-ml-py": "pynvml.py"}
# Foreign libraries inside wheels: file name, what it is, licence, and a word that its package's texts must then hold.
BUNDLED = (
    (re.compile(r"libscipy_openblas"), "OpenBLAS", "BSD-3-Clause", "OpenBLAS"),
    (re.compile(r"libgfortran"), "libgfortran", "GPL-3.0-or-later WITH GCC-exception-3.1", "libgfortran"),
    (re.compile(r"libquadmath"), "libquadmath", "LGPL-2.1-or-later", "libquadmath"),
)
# Folders that auditwheel and its like put foreign libraries into.
_GRAFTED = re.compile(r"(\.libs|/\.dylibs)$")
_TEXT_NAME = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


class OriginError(Exception):
    """Something inside has no known origin or no licence text; the text names it and what to do."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A file of the tree, or (kind `static`) one whose code was linked into another."""

    name: str
    source: Path
    kind: str


@dataclass(frozen=True, slots=True)
class Component:
    """One origin.

    `texts` are its licence texts, as (where it is from, text); `files` are its files in the tree; `parts` are foreign
    libraries among its files; `needs` are the components that it names as its requirements.
    """

    group: str
    name: str
    version: str
    purl: str
    licence: str
    texts: tuple[tuple[str, str], ...]
    files: tuple[Collected, ...] = ()
    parts: tuple[Component, ...] = ()
    needs: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_collected(path: Path) -> list[Collected]:
    """The list that the PyInstaller spec wrote, sorted and each file once."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    found = {(e["name"], e["source"], e["kind"]) for e in entries}
    return [Collected(name, Path(source), kind) for name, source, kind in sorted(found)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What both views are told."""
    parser.add_argument("--env", type=Path, required=True, help="the virtual environment that the tree was built from")
    parser.add_argument("--collected", type=Path, required=True, help="the list that batchctl.spec wrote")
    parser.add_argument("--lock", type=Path, default=REPOSITORY / "requirements.lock", help="packages inside")
    parser.add_argument(
        "--zstd", type=Path, help="zstd's source in the launcher; default: the folder zstd beside the list"
    )
    parser.add_argument(
        "--lenient", action="store_true", help="list a system library that no package owns all the same"
    )


def chosen(args: argparse.Namespace) -> list[Component]:
    """`components` of what the command line names, and what is linked into the launcher. Raises OriginError."""
    env = args.env.absolute()
    collected = [*read_collected(args.collected), *linked()]
    zstd = compressor(args.zstd or args.collected.parent / "zstd")
    application, *others = components(env, collected, lock=args.lock, lenient=args.lenient)
    return [application, *sorted([*others, zstd], key=lambda each: (each.group, each.name))]


def compressor(folder: Path) -> Component:
    """zstd, which is compiled into the launcher."""
    header, text = folder / "zstd.h", folder / "LICENSE"
    if not header.is_file() or not text.is_file():
        raise OriginError(f"{folder}: holds no source of zstd (zstd.h, LICENSE); name it with --zstd")
    said = dict(re.findall(r"#define ZSTD_VERSION_(MAJOR|MINOR|RELEASE) +(\d+)", header.read_text(encoding="utf-8")))
    version = f"{said['MAJOR']}.{said['MINOR']}.{said['RELEASE']}"
    texts = ((text.name, text.read_text(encoding="utf-8")),)
    return Component("library", "zstd", version, f"pkg:generic/zstd@{version}", "BSD-3-Clause OR GPL-2.0-only", texts)


def linked() -> list[Collected]:
    """The C library and the compiler's own, which a static launcher contains."""
    found = []
    for name in ("libc.a", "libgcc.a"):
        asked = subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
        found.append(Collected(f"launcher/{name}", Path(asked.stdout.strip()).resolve(), "static"))
    return found


def components(env: Path, collected: Iterable[Collected], *, lock: Path, lenient: bool = False) -> list[Component]:
    """batchctl itself first, then everything that is inside, by group and name. Raises OriginError.

    `env` is the build's virtual environment, `lock` names the packages whose modules are inside whether or not they
    have a file of their own. `lenient` lists a system library that no package owns, without a licence, instead of
    refusing it.
    """
    site = _site(env)
    installed = {normal(d.metadata["Name"]): d for d in map(Distribution.at, sorted(site.glob("*.dist-info")))}
    owners = {str(d.locate_file(file)): name for name, d in installed.items() for file in d.files or ()}
    of_python: dict[str, list[Collected]] = {name: [] for name in _locked(lock)}
    others: dict[str, list[Collected]] = {}
    found: dict[str, Component] = {}
    lost: list[Collected] = []
    interpreter = _interpreter(env)
    found[interpreter.name] = interpreter
    for each in collected:
        if each.source.is_relative_to(site):
            owner = owners.get(str(each.source))
            if owner is None:
                lost.append(each)
            else:
                of_python.setdefault(owner, []).append(each)
            continue
        origin = _origin(each, env)
        if origin is None and lenient:
            origin = Component("library", each.source.name, "", "", "", ())
        if origin is None:
            lost.append(each)
        elif origin.group != "application":
            found.setdefault(origin.name, origin)
            others.setdefault(origin.name, []).append(each)
    missing = sorted(set(of_python) - set(installed))
    if missing:
        raise OriginError(f"{lock}: not installed in {env}: {', '.join(missing)}")
    if lost:
        names = "\n".join(f"  {each.name}, from {each.source}" for each in lost)
        raise OriginError(f"inside, but nobody answers for it (no package's, no build's own):\n{names}")
    of_python.setdefault(PYINSTALLER, [])
    listed = [_of_python(installed[name], tuple(files), inside=set(of_python)) for name, files in of_python.items()]
    listed += [replace(each, files=tuple(others.get(name, ()))) for name, each in found.items()]
    bare = [each.name for each in listed if not each.texts and not (lenient and each.group == "library")]
    if bare:
        raise OriginError(f"no licence text found for {', '.join(sorted(bare))}: nothing may be shipped without one")
    return [application(), *sorted(listed, key=lambda each: (each.group, each.name))]


def application() -> Component:
    """batchctl, as pyproject.toml and LICENSE describe it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    text = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    return Component(
        "application", name, version, f"pkg:generic/{name}@{version}", project["license"]["text"], (("LICENSE", text),)
    )


# --- Python packages -------------------------------------------------------------------------------------------------


def _site(env: Path) -> Path:
    found = sorted(env.glob("lib/python3.*/site-packages"))
    if len(found) != 1:
        raise OriginError(f"{env}: is no virtual environment (found {len(found)} folders of packages)")
    return found[0]


def _locked(lock: Path) -> list[str]:
    return re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _of_python(package: PathDistribution, files: tuple[Collected, ...], *, inside: set[str]) -> Component:
    name, version = normal(package.metadata["Name"]), package.version
    texts = tuple(_texts(package, name))
    every = "\n".join(text for _, text in texts)
    parts: dict[str, Component] = {}
    for each in files:
        known = next((row for row in BUNDLED if row[0].search(each.source.name)), None)
        if known is None:
            if any(_GRAFTED.search(str(folder)) for folder in each.source.parents):
                raise OriginError(
                    f"{each.name}: an unknown foreign library inside {name}: add it to BUNDLED in build/origins.py"
                )
            continue
        _, part, licence, word = known
        if word not in every:
            raise OriginError(f"{each.name}: the licence texts of {name} {version} do not speak of {word}")
        about = tuple((place, text) for place, text in texts if word in text)
        so_far = parts.get(part, Component("bundled", part, "", "", licence, about))
        parts[part] = replace(so_far, files=(*so_far.files, each))
    own = {each for part in parts.values() for each in part.files}
    asked = [re.match(r"[A-Za-z0-9._-]+", line) for line in package.requires or () if "extra ==" not in line]
    needs = {normal(match.group()) for match in asked if match}
    return Component(
        "python",
        name,
        version,
        f"pkg:pypi/{name}@{version}",
        _licence(package, name),
        texts,
        files=tuple(each for each in files if each not in own),
        parts=tuple(parts[part] for part in sorted(parts)),
        needs=tuple(sorted(needs & inside)),
        notes={"batchctl:record-sha256": _record(package)},
    )


def _licence(package: PathDistribution, name: str) -> str:
    """An SPDX expression where the package or we say one, else its own words; empty where it has none."""
    said = SPDX_OF.get(name) or package.metadata.get("License-Expression") or package.metadata.get("License") or ""
    return said.strip() if len(said) < 120 and "\n" not in said.strip() else ""


def _texts(package: PathDistribution, name: str) -> Iterable[tuple[str, str]]:
    declared = package.metadata.get_all("License-File") or []
    recorded = {str(file): Path(str(package.locate_file(file))) for file in package.files or ()}
    own = [file for file in recorded if file.partition("/")[0].endswith(".dist-info")]
    listed = [file for file in own if any(file.endswith(f"/{end}") for end in declared)]
    for file in sorted(listed or [file for file in own if _TEXT_NAME.search(Path(file).name)]):
        yield f"{file.partition('/')[2]}", recorded[file].read_text(encoding="utf-8", errors="replace")
    if name in TEXT_IN_MODULE:
        module = recorded[TEXT_IN_MODULE[name]].read_text(encoding="utf-8")
        lines = []
        for line in module.splitlines():
            if not line.startswith("#"):
                break
            lines.append(line.strip("#").removeprefix(" "))
        yield f"the head of {TEXT_IN_MODULE[name]}", "\n".join(lines).strip() + "\n"


def _record(package: PathDistribution) -> str:
    """SHA-256 over what the wheel brought, as its RECORD lists it: without what pip adds when it installs."""
    kept = [
        line
        for line in (package.read_text("RECORD") or "").splitlines()
        if ",sha256=" in line
        and not line.startswith("..")
        and not re.search(r"(INSTALLER|REQUESTED|direct_url\.json),", line)
    ]
    return hashlib.sha256("\n".join(sorted(kept)).encode()).hexdigest()


# --- the interpreter and what is not Python --------------------------------------------------------------------------


def _interpreter(env: Path) -> Component:
    """CPython itself: compiled for the release, a distribution's, or one that somebody installed."""
    settings, base = _settings(env), _base(env)
    version = settings.get("version") or settings["version_info"]
    minor = ".".join(version.split(".")[:2])
    if made := _compiled(base / "lib"):
        return made
    places = [base / f"lib/python{minor}/LICENSE.txt", Path(f"/usr/share/doc/python{minor}-minimal/copyright")]
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in places if path.is_file()]
    purl = f"pkg:generic/cpython@{version}"
    return Component(
        "interpreter", "CPython", version, purl, "PSF-2.0", tuple(texts[:1]), notes={"batchctl:base": minor}
    )


@functools.cache
def _compiled(folder: Path) -> Component | None:
    """What build/release/toolchain.sh noted for the prefix that this folder is in."""
    for prefix in (folder, *folder.parents):
        note = prefix / "share/provenance/origin.json"
        if note.is_file():
            said = json.loads(note.read_text(encoding="utf-8"))
            text = (note.parent / "licence.txt").read_text(encoding="utf-8")
            group = "interpreter" if said["name"].startswith("python") else "library"
            return Component(
                group, said["name"], said["version"], said["purl"], said["licence"], ((f"{said['name']} source", text),)
            )
    return None


def _origin(each: Collected, env: Path) -> Component | None:
    if each.source.is_relative_to(REPOSITORY):
        return application()
    if made := _compiled(each.source.parent):
        return made
    base = _base(env)
    if base != Path("/usr") and each.source.resolve().is_relative_to(base.resolve()):
        return _interpreter(env)
    if owner := debian.owner(each.source):
        texts = debian.texts(owner)
        return Component("library", owner.name, owner.version, owner.purl, debian.licence(owner, texts), texts)
    return None


def _settings(env: Path) -> dict[str, str]:
    text = (env / "pyvenv.cfg").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+) *= *(.*)$", text, flags=re.MULTILINE))


def _base(env: Path) -> Path:
    """The prefix of the interpreter that the environment was made with."""
    return Path(_settings(env)["home"]).parent


def fail(error: OriginError) -> int:
    print(f"build: {error}", file=sys.stderr)
    return 1
