"""The standard library as a user's script expects it: every module, less what cannot work inside the executable.

Modules are found by looking at files and at the interpreter's own list of built-in names; none is imported, so that the
list does not depend on what an import does.
"""

from __future__ import annotations

import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Top-level names that are left out, each with its reason.
LEFT_OUT = frozenset(
    {
        *("tkinter", "_tkinter", "turtle", "turtledemo", "idlelib"),  # Tk is not on servers
        *("test", "lib2to3"),  # the interpreter's own tests; a converter that nobody imports
        *("nis", "ossaudiodev"),  # nis brings libtirpc and Kerberos; ossaudiodev a device of the nineties
        "readline",  # GPL-3 by the library that it is linked with; cmd, code and pdb do without
        *("antigravity", "this"),  # importing them is their effect
        *("__hello__", "__phello__", "_xxsubinterpreters", "_xxinterpchannels"),
        *("msilib", "msvcrt", "nt", "winreg", "winsound", "_winapi", "_msi", "_overlapped", "_scproxy", "_wmi"),
    }
)
# Modules inside packages that work on another system only.
_ELSEWHERE = frozenset(
    {
        *("asyncio.windows_events", "asyncio.windows_utils", "encodings.mbcs", "encodings.oem"),
        *("ctypes.macholib", "multiprocessing.popen_spawn_win32", "distutils.tests", "distutils.msvc9compiler"),
        *("distutils.msvccompiler", "distutils._msvccompiler", "distutils.command.bdist_msi", "unittest.test"),
        *("ctypes.test", "sqlite3.test", "ensurepip._bundled", "distutils.bcppcompiler"),
    }
)
_TESTING = ("_test", "_xxtest", "xx", "_ctypes_test")
EXTENSIONS = tuple(importlib.machinery.EXTENSION_SUFFIXES)


def modules() -> list[str]:
    """Dotted names of all modules of the running interpreter's standard library that belong inside, sorted."""
    standard = Path(sysconfig.get_path("stdlib"))
    found = set(sys.builtin_module_names)
    found.update(name for folder in (standard, standard / "lib-dynload") for name in below(folder, top=True))
    allowed = sys.stdlib_module_names
    return sorted(name for name in found if name.partition(".")[0] in allowed and not left_out(name))


def built_in() -> frozenset[str]:
    """Modules that are inside the interpreter's library itself."""
    return frozenset(sys.builtin_module_names)


def left_out(name: str) -> bool:
    """Whether this module of the standard library stays outside, on purpose."""
    top = name.partition(".")[0]
    elsewhere = any(name == other or name.startswith(other + ".") for other in _ELSEWHERE)
    return top in LEFT_OUT or top.startswith(_TESTING) or elsewhere or name.endswith(".__main__")


def below(folder: Path, *, top: bool = False) -> Iterator[str]:
    """Dotted names of the modules in a folder, and in the packages in it; relative to the folder.

    At the top only packages of the standard library are entered: site-packages lies beside them.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.name != "__init__.py":
            yield path.stem
        elif path.name.endswith(EXTENSIONS):
            yield path.name.partition(".")[0]
        elif (path / "__init__.py").is_file() and (not top or path.name in sys.stdlib_module_names):
            yield path.name
            yield from (f"{path.name}.{name}" for name in below(path))


if __name__ == "__main__":
    print("\n".join(modules()))
