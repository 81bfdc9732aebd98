"""Files that the build makes itself and lays into the tree: the time zones, the packages' names, the guest, build.json.

`stage` runs before PyInstaller and `finish` after it. Everything is written the same way every time.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import packages

_EPOCH = (1980, 1, 1, 0, 0, 0)
# Time zones are 600 small files; in an archive they are one. zoneinfo, pandas and dateutil ask importlib.resources for
# them, which reads archives as well; this stands in the frozen code and hands over to the archive when imported.
_TZDATA = """
import sys
import zipimport

__file__ = sys._MEIPASS + "/tzdata.zip/tzdata/__init__.py"
__path__ = [sys._MEIPASS + "/tzdata.zip/tzdata"]
__loader__ = zipimport.zipimporter(sys._MEIPASS + "/tzdata.zip")
__spec__ = __loader__.find_spec("tzdata")
"""


def stage(folder: Path, *, site: Path, lock: Path) -> None:
    """Fill `folder` anew: inside/ holds modules that PyInstaller is to prefer, data/ files for _internal."""
    shutil.rmtree(folder, ignore_errors=True)
    module = folder / "inside" / "tzdata" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text((site / "tzdata" / "__init__.py").read_text(encoding="utf-8") + _TZDATA, encoding="utf-8")
    (folder / "data").mkdir()
    _archive(folder / "data" / "tzdata.zip", site / "tzdata")
    here = packages.installed(site)
    for name in packages.locked(lock):
        # METADATA alone answers importlib.metadata.version; RECORD would list files that are not there.
        package = here[name]
        file = next(file for file in package.files or () if file.match("*.dist-info/METADATA"))
        target = folder / "data" / file
        target.parent.mkdir()
        target.write_bytes(Path(str(package.locate_file(file))).read_bytes())


def _archive(target: Path, package: Path) -> None:
    """Stored, not deflated: the executable's own compression does better on the whole."""
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            name = path.relative_to(package.parent).as_posix()
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes())


def finish(tree: Path, *, root: Path, about: dict[str, object], site: Path, collected: Path) -> None:
    """Lay guest.pyz, build.json, the licence texts and the bill of materials into the finished tree."""
    own = tree / "_internal" / "batchctl"
    own.mkdir(exist_ok=True)
    (own / "guest.pyz").write_bytes(_guest(root))
    (own / "build.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    env = site.parents[2]
    common = ["--env", str(env), "--collected", str(collected)]
    build = root / "build"
    _run(build / "licences.py", *common, "--out", str(own / "licences.txt"))
    _run(build / "sbom.py", *common, "--tree", str(tree), "--out", str(own / "sbom.cdx.json"))


def _guest(root: Path) -> bytes:
    """The guest's zip, with the byte code of this version: that of the interpreter inside."""
    code = "import sys; from batchctl.engine import guest_zip as g; sys.stdout.buffer.write(g.make_zip(g.sources()))"
    return subprocess.run([sys.executable, "-c", code], check=True, cwd=root, stdout=subprocess.PIPE).stdout


def _run(script: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, str(script), *arguments], check=True)


def about(*, version: str, flavour: str, glibc: tuple[int, ...], lock: Path, epoch: int) -> dict[str, object]:
    """What build.json says; nothing of the machine that built it."""
    return {
        "version": version,
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "glibc": ".".join(map(str, glibc)),
        "packages": packages.locked(lock),
        "flavour": flavour,
        "source_date_epoch": epoch,
    }
