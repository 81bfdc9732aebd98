"""Does anybody still write a file? Asked of the kernel, which knows of other processes and of mappings too.

A read lease (fcntl, F_SETLEASE) is given only for a file that no descriptor and no mapping anywhere can write. It is
given back at once. File systems without leases say nothing; whoever asks finds that out with `can_tell`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

_F_SETSIG = 10  # fcntl's constant has a name since Python 3.13 only


def is_written(path: str) -> bool:
    """Can some process write to this file through what it holds? False too where the file system cannot say."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Who opens the file to write just now breaks the lease, which is told by a signal. SIGIO would end us.
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False


def can_tell(folder: str) -> bool:
    """Is "yes" to be believed of files in this folder? NFS says it of every file."""
    path = os.path.join(folder, ".lease.%d" % os.getpid())
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        return not is_written(path)
    finally:
        os.unlink(path)
