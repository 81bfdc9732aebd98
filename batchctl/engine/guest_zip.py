"""The guest as one zip: built from our own files, the same bytes every time, copied into the run directory.

The packaged file holds no sources: the build made the zip from them, with `guest_zip`, and put it beside our code.

The user's interpreter runs it as `PYTHON guest.pyz`. Its modules sit under `_batchctl_guest`, a name that nothing of
the user's carries. Beside the sources lies their byte code for the version that batchctl itself runs on: an interpreter
of that version then starts 30 ms sooner, any other overlooks it and compiles the source, as zipimport does. Such a zip
is kept in `__pycache__`, as Python keeps its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import zlib
from functools import cache
from pathlib import Path

import batchctl.guest
from batchctl import frozen
from batchctl.errors import ExecutableDamagedError, StorageError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKAGE = "_batchctl_guest"
_ENTRY = "entry.py"
_BUNDLED = "guest.pyz"
_KEPT = "guest.made"  # a line that tells what it was made of, and the zip


@cache
def guest_zip() -> bytes:
    """The zip's bytes. ExecutableDamagedError where it was bundled and is gone."""
    if frozen.is_frozen():
        path = frozen.bundled(_BUNDLED)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ExecutableDamagedError(
                f"a file of the executable cannot be read: {error.strerror}",
                where=str(path),
                remedy="batchctl self clean --all, then the same command again",
            ) from error
    package = Path(batchctl.guest.__file__).parent
    looks = _looks(package)
    kept = package / "__pycache__" / _KEPT
    try:
        told, _, made = kept.read_bytes().partition(b"\n")
    except OSError:
        told = made = b""
    if told == _line(looks, made):
        return made
    if sys.dont_write_bytecode or not os.access(kept.parent, os.W_OK):
        return make_zip(sources(), compiled=False)  # to compile for one start alone would make it slower
    made = make_zip(sources())
    with contextlib.suppress(OSError):
        _keep(kept, b"%b\n%b" % (_line(looks, made), made))
    return made


def _line(looks: list[tuple[str, int, int]], made: bytes) -> bytes:
    """Of what a zip was made, and that it is whole; as it is, since hashlib takes 3 ms before anything is started."""
    return repr((looks, sys.version, zlib.crc32(made))).encode()


def _looks(package: Path) -> list[tuple[str, int, int]]:
    """What tells whether a source has changed: name, size and time, as for Python's own byte code. To read and digest
    them all would cost 2 ms of every start."""
    with os.scandir(package) as entries:
        found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py")]
    return sorted((name, looks.st_size, looks.st_mtime_ns) for name, looks in found)


def sources() -> dict[str, bytes]:
    """The guest's files by their names in the zip, sorted."""
    paths = sorted(Path(batchctl.guest.__file__).parent.glob("*.py"))
    names = ["__main__.py" if path.name == _ENTRY else f"{_PACKAGE}/{path.name}" for path in paths]
    return {name: path.read_bytes() for name, path in zip(names, paths, strict=True)}


def make_zip(files: dict[str, bytes], *, compiled: bool = True) -> bytes:
    """Stored uncompressed, in this order, with fixed dates; `compiled`: a module's byte code behind it."""
    import zipfile  # 8 ms that hardly any start needs

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, source in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), source)
            if compiled and name != "__main__.py":  # that one is for interpreters that are too old as well
                archive.writestr(zipfile.ZipInfo(name + "c", _EPOCH), _byte_code(name, source))
    return target.getvalue()


def _byte_code(name: str, source: bytes) -> bytes:
    """A .pyc that is checked against nothing when it is loaded: we compare the whole zip."""
    import py_compile
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder, "module.py"), Path(folder, "module.pyc")
        plain.write_bytes(source)
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(plain), str(made), f"guest.pyz/{name}", doraise=True, invalidation_mode=unchecked)
        return made.read_bytes()


def _keep(path: Path, content: bytes) -> None:
    for old in path.parent.glob("guest-*.pyz"):  # as earlier versions called it
        old.unlink(missing_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def place_guest(path: Path) -> None:
    """Have exactly our zip at `path`: an equal file is left, anything else is replaced by rename.

    Not synced: a torn copy differs and is replaced at the next start. Raises StorageError.
    """
    wanted = guest_zip()
    try:
        if _is_plain(path) and path.read_bytes() == wanted:
            return
        temporary = path.with_name(path.name + ".tmp")
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as handle:
            handle.write(wanted)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write the guest: {error.strerror}", where=str(path)) from error


def _is_plain(path: Path) -> bool:
    """A file of ours with this one name: what stands behind a link could be changed after we have looked."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()
