"""A FUSE file system that calls itself what a test wants: an empty folder in which nothing can be made.

It speaks as much of the kernel's protocol (linux/fuse.h) as looking at an empty folder takes and needs no library, only
root and /dev/fuse.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_IN = struct.Struct("<IIQQIIII")  # len, opcode, unique, nodeid, uid, gid, pid, padding
_OUT = struct.Struct("<IiQ")  # len, error, unique
_GETATTR, _STATFS, _INIT, _OPENDIR, _READDIR, _RELEASEDIR, _FORGET, _BATCH_FORGET = 3, 17, 26, 27, 28, 29, 2, 42
# ino, size, blocks, three times, their nanoseconds, mode, nlink, uid, gid, rdev, blksize, flags
_ATTR = struct.pack("<QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0)
_ANSWERS = {
    _GETATTR: struct.pack("<QII", 1, 0, 0) + _ATTR,
    _STATFS: struct.pack("<QQQQQIIII24x", 1000, 1000, 1000, 10, 10, 4096, 255, 4096, 0),
    _INIT: struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0, 0),
    _OPENDIR: struct.pack("<QII", 0, 0, 0),
    _READDIR: b"",
    _RELEASEDIR: b"",
}


class CannotMountError(Exception):
    """Why there can be no such mount here."""


@contextmanager
def mounted(at: Path, *, kind: str, source: str, hold: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Mount it at the folder `at` as `kind` ("fuse.NAME"), from `source`. Whoever lists it waits until `hold` returns,
    which another thread calls. CannotMountError where that does not go."""
    if os.geteuid() != 0:
        raise CannotMountError("mounting takes root")
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise CannotMountError(f"/dev/fuse: {error.strerror}") from error
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(source.encode(), bytes(at), kind.encode(), 0, options.encode()) != 0:
        os.close(device)
        raise CannotMountError(f"mount: {os.strerror(ctypes.get_errno())}")
    server = threading.Thread(target=_serve, args=(device, hold), daemon=True)
    server.start()
    try:
        yield
    finally:
        assert libc.umount2(bytes(at), 2) == 0  # MNT_DETACH: then the kernel ends the device, and the thread with it
        server.join(10)
        os.close(device)


def _serve(device: int, hold: Callable[[], object]) -> None:
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            return  # ENODEV: unmounted
        _, opcode, unique, *_ = _IN.unpack_from(request)
        if opcode in (_FORGET, _BATCH_FORGET):  # not to be answered
            continue
        if opcode == _OPENDIR:
            hold()
        answer = _ANSWERS.get(opcode)
        code = 0 if answer is not None else (-errno.ENOENT if opcode == 1 else -errno.EROFS)
        os.write(device, _OUT.pack(_OUT.size + len(answer or b""), code, unique) + (answer or b""))
