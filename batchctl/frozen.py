"""What PyInstaller's boot loader and our launcher left in this process, and the way in for the packaged file.

    launcher -> boot loader (sets LD_LIBRARY_PATH, starts itself once more) -> start()

`start` cleans the environment of this very process first: what the user's script starts on its own, in batchctl's own
Python, is then as clean as what `processes.py` starts. Nothing here imports anything of ours before it is known what
this process is to be, and the standard library only where it costs nothing: `--version` is on this way.
"""

from __future__ import annotations

import os
import sys
from functools import cache

TYPE_CHECKING = False  # type checkers know the name; typing's own costs 5 ms
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

# First argument of this executable where it is to be a Python interpreter; docs/executable.md.
EMBEDDED = "--batchctl-embedded-python"
LAUNCHER_VARIABLE = "_BATCHCTL_LAUNCHER"
_LIBRARY_PATH, _ORIGINAL = "LD_LIBRARY_PATH", "LD_LIBRARY_PATH_ORIG"
_LEFTOVERS = ("_MEIPASS2", LAUNCHER_VARIABLE)
_LEFTOVER_PREFIXES = ("_PYI_", "PYINSTALLER_")
_TAKEN = "VIRTUAL_ENV"


def start() -> int:
    """The packaged file's entry: batchctl, which does not return, or a Python interpreter: its exit code. SystemExit
    of a script passes."""
    launched = _launcher() is not None
    clean(os.environ)
    _restore(os.environ)
    arguments = _interpreter_arguments(sys.argv[1:], launched=launched)
    if arguments is not None:
        from batchctl.embedded import be_python

        return be_python(arguments)
    if sys.argv[1:] in (["--version"], ["-V"]) and _print_version():
        os._exit(0)
    from batchctl.cli.main import entry

    return entry()


def is_frozen() -> bool:
    """Does this process run from the tree that the packaged file unpacks?"""
    return bool(getattr(sys, "frozen", False)) and hasattr(sys, "_MEIPASS")


def tree() -> Path:
    """The tree's folder, which holds MANIFEST and `_internal`. Only where `is_frozen()`."""
    return _internal().parent


def bundled(name: str) -> Path:
    """A file that the build put beside our code (guest.pyz, build.json, ...). Only where `is_frozen()`."""
    return _internal() / "batchctl" / name


def executable_path() -> Path:
    """The file that the user started, absolute: the packaged file, or from source what `sys.argv[0]` says."""
    from pathlib import Path

    launcher = _launcher()
    if launcher is not None and launcher[1]:
        return Path(launcher[1])
    return Path.cwd() / (sys.executable if is_frozen() else sys.argv[0] or sys.executable)


def tree_lock() -> int:
    """The descriptor that holds the shared lock of our tree for as long as we live; -1 where there is none."""
    launcher = _launcher()
    return launcher[0] if launcher is not None else -1


def clean(environ: MutableMapping[str, str]) -> None:
    """Take what the boot loader and the launcher left out of `environ`, and put LD_LIBRARY_PATH back as it was before.

    May be done twice: what is the user's own stays. The dynamic loader of this process read its copy at the start.
    """
    original = environ.pop(_ORIGINAL, None)
    if original is not None:
        environ[_LIBRARY_PATH] = original
    elif is_frozen() and _LIBRARY_PATH in environ:
        ours = str(_internal())
        kept = [part for part in environ[_LIBRARY_PATH].split(":") if part.rstrip("/") != ours]
        if kept:
            environ[_LIBRARY_PATH] = ":".join(kept)
        else:
            del environ[_LIBRARY_PATH]
    for name in list(environ):
        if name in _LEFTOVERS or name.startswith(_LEFTOVER_PREFIXES):
            del environ[name]


def _restore(environ: MutableMapping[str, str]) -> None:
    """PyInstaller's bootstrap takes VIRTUAL_ENV away; it says which Python the user wants. The kernel remembers it."""
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:  # no /proc: then --python has to be typed
        return
    for part in given:
        if part.startswith(_TAKEN.encode() + b"="):
            environ.setdefault(_TAKEN, os.fsdecode(part.partition(b"=")[2]))


@cache
def _launcher() -> tuple[int, str] | None:
    """(descriptor that holds the tree's lock or -1, the executable's path), taken out of the environment once.

    None where no launcher started us. Anybody can set a variable: a descriptor that is not that of our tree is none of
    ours and left alone, a path that is not absolute is "".
    """
    text = os.environ.pop(LAUNCHER_VARIABLE, None)
    if text is None or not is_frozen():
        return None
    number, _, path = text.partition(" ")
    if not path.startswith("/"):
        path = ""
    fd = int(number) if number.isascii() and number.isdigit() else -1
    try:
        if fd < 3 or not os.path.samestat(os.fstat(fd), os.stat(os.path.dirname(sys._MEIPASS))):  # type: ignore[attr-defined]
            return -1, path
        os.set_inheritable(fd, False)  # the lock is this process's; what it starts does not prolong it
    except (OSError, OverflowError):
        return -1, path
    return fd, path


def _interpreter_arguments(typed: list[str], *, launched: bool) -> list[str] | None:
    """What Python is to be called with, or None where this is batchctl.

    Asked for by EMBEDDED; or by a script's libraries (multiprocessing, subprocess with sys.executable), which start
    the tree's executable past the launcher with arguments for a Python: flags and -c, a file of code, or none at all
    and the code on standard input. No command of ours has a dot or a slash in its name.
    """
    first = typed[0] if typed else ""
    if first == EMBEDDED:
        return typed[1:]
    flags = first.startswith("-") and first not in ("-h", "--help", "-V", "--version")
    code = first.endswith((".py", ".pyz")) or "/" in first or (not typed and not os.isatty(0))
    if not launched and (flags or code):
        return typed
    return None


def _print_version() -> bool:
    """Print it without loading the command line (20 ms). False where that fails: the command line says how."""
    from batchctl import __version__

    if sys.stdout is None:  # closed before we were started: 1 is whatever was opened since
        return False
    try:
        os.write(1, f"batchctl {__version__}\n".encode())  # past the buffer, where a failed attempt would stay
    except OSError:
        return False
    return True


def _internal() -> Path:
    from pathlib import Path

    return Path(sys._MEIPASS)  # type: ignore[attr-defined]
