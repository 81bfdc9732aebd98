"""The guest as one zip: built from our own files, the same bytes every time, copied into the run directory.

The packaged file holds no sources: the build made the zip from them, with `guest_zip`, and put it beside our code.

The user's interpreter runs it as `PYTHON guest.pyz`. Its modules sit under `_batchctl_guest`, a name that nothing of
the user's carries.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from functools import cache
from pathlib import Path

import batchctl.guest
from batchctl import frozen
from batchctl.errors import ExecutableDamagedError, StorageError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PACKAGE = "_batchctl_guest"
_ENTRY = "entry.py"
_BUNDLED = "guest.pyz"


@cache
def guest_zip() -> bytes:
    """The zip's bytes: stored uncompressed, sorted names, fixed dates. ExecutableDamagedError where it was bundled and
    is gone."""
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
    import zipfile  # 8 ms that the packaged file does not need

    folder = Path(batchctl.guest.__file__).parent
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.glob("*.py")):
            name = "__main__.py" if path.name == _ENTRY else f"{_PACKAGE}/{path.name}"
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes())
    return target.getvalue()


def place_guest(path: Path) -> None:
    """Have exactly our zip at `path`: an equal file is left, anything else is replaced by rename.

    Not synced: a torn copy has another digest and is replaced at the next start. Raises StorageError.
    """
    wanted = guest_zip()
    try:
        if _is_plain(path) and hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(wanted).digest():
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
