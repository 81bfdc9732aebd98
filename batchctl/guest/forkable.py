"""What an import left in this process that a fork would lose, or that forked workers could not share.

Read from /proc and asked of what is loaded, never of a list of modules: a reason not to fork, in words, or "".
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, FrozenSet, List, Optional

# Names of native threads whose library stops them before a fork and starts them again after it, when they are needed.
#   jemalloc_bg_thd   jemalloc (pyarrow has one, and pandas, scikit-learn, lightgbm import that): its pthread_atfork
#                     handlers hold the threads' locks over the fork and mark them as not started in the child
#                     (jemalloc_prefork, background_thread_postfork_child). tests/guest/test_preload_numeric.py scores
#                     with a preloaded pyarrow and pandas.
FORK_SAFE_THREADS = frozenset(["jemalloc_bg_thd"])
# A thread that was joined stays in /proc for a moment.
_THREADS_END_S = 0.5
_LOOK_AGAIN_S = 0.01
_GPU_DEVICE = re.compile(r"/dev/(nvidia|kfd$|dri/)")
_CUDA_DRIVER = re.compile(r"/libcuda\.so[.\d]*$")
_CUDA_NOT_INITIALISED = 3


class Before:
    """This process before an import."""

    def __init__(self) -> None:
        self._fds = open_fds()

    def reason(self) -> str:
        """Why it must not be forked from now, or ""."""
        return _threads() or _gpu() or self._descriptors() or _children()

    def new_fds(self) -> FrozenSet[int]:
        """Descriptors that have been opened since."""
        return open_fds() - self._fds

    def _descriptors(self) -> str:
        for fd in sorted(self.new_fds()):
            what = _what(fd)
            if what:
                return "importing it opens a %s, which workers cannot share" % what
        return ""


def open_fds() -> FrozenSet[int]:
    """Open descriptors, without that of the look itself, whose number is free again."""
    return frozenset(fd for fd in map(int, os.listdir("/proc/self/fd")) if _what(fd) is not None)


def mapped_libraries() -> List[str]:
    """Paths of the shared objects in this process's memory, each once, in the order of their addresses."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as handle:
        lines = [line.rstrip("\n").split(None, 5) for line in handle]
    paths = [fields[5] for fields in lines if len(fields) == 6 and ".so" in fields[5]]
    return list(dict.fromkeys(path for path in paths if path.startswith("/")))


def library_at(path: str) -> Any:
    """The loaded library, as ctypes has them; nothing is loaded anew. Raises OSError, also where there is no ctypes."""
    try:
        import ctypes  # a Python may be built without it
    except ImportError as error:
        raise OSError(str(error)) from error
    return ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)


def _threads() -> str:
    deadline = time.monotonic() + _THREADS_END_S
    while True:
        others = [name for name in _thread_names() if name not in FORK_SAFE_THREADS]
        if not others:
            return ""
        if time.monotonic() >= deadline:
            count = "a thread" if len(others) == 1 else "%d threads" % len(others)
            return "importing it starts %s (%s), which a fork would lose" % (count, ", ".join(sorted(set(others))))
        time.sleep(_LOOK_AGAIN_S)


def _thread_names() -> List[str]:
    """Of every thread but the main one; each has its process's unless it was given its own."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            try:
                with open("/proc/self/task/%s/comm" % thread, encoding="ascii", errors="replace") as handle:
                    found.append(handle.read().strip())
            except OSError:  # it has just ended
                pass
    return found


def has_threads() -> bool:
    """Is there any thread but the main one, safe or not?"""
    return bool(_thread_names())


def _gpu() -> str:
    for name in os.listdir("/proc/self/fd"):
        target = _target(int(name))
        if target and _GPU_DEVICE.match(target):
            return "importing it opens the GPU (%s), which cannot be used after a fork" % target
    initialised = getattr(getattr(sys.modules.get("torch"), "cuda", None), "is_initialized", None)
    if (initialised is not None and initialised()) or _driver_is_initialised():
        return "importing it initialises CUDA, which cannot be used after a fork"
    return ""


def _driver_is_initialised() -> bool:
    """Asks the driver's library, where it is loaded, for the current context: without cuInit() that says so."""
    for path in mapped_libraries():
        if _CUDA_DRIVER.search(path):
            try:
                ask = library_at(path).cuCtxGetCurrent
            except (OSError, AttributeError):  # replaced on the disk, or a stub: the descriptors have been looked at
                continue
            if ask(_room_for_a_pointer()) != _CUDA_NOT_INITIALISED:
                return True
    return False


def _room_for_a_pointer() -> Any:
    import ctypes

    return ctypes.byref(ctypes.c_void_p())


def _children() -> str:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""
    return "importing it starts a process, which would be nobody's child in a worker"


def _target(fd: int) -> str:
    try:
        return os.readlink("/proc/self/fd/%d" % fd)
    except OSError:  # the one that listed the folder
        return ""


def _what(fd: int) -> Optional[str]:
    """What is shared through this descriptor, in words; "" for what each worker can have for itself (a file, a folder)
    or what holds no state (a device); None where it is closed."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return ""
    if stat.S_ISSOCK(mode):
        return "socket"
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "descriptor (%s)" % _target(fd)


def reopen(fd: int) -> str:
    """Give this process a position of its own in a file or folder that it inherited; a reason where that fails."""
    path = "/proc/self/fd/%d" % fd
    try:
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return ""
        once = os.O_CREAT | os.O_EXCL | os.O_TRUNC
        own = os.open(path, fcntl.fcntl(fd, fcntl.F_GETFL) & ~once | os.O_CLOEXEC)
        try:
            os.lseek(own, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(own, fd, inheritable=os.get_inheritable(fd))
        finally:
            os.close(own)
    except OSError as error:
        return "%s, open since the preload, is shared with other workers: %s" % (_target(fd), error)
    return ""
