"""Thread caps of numeric libraries that were loaded before their caps were known, through the libraries' own calls.

A library reads OMP_NUM_THREADS and the like when it is loaded. What the fork server has loaded was held to one thread
then; a forked worker raises that to what its environment says now, which is what it would have been without a preload.
"""

from __future__ import annotations

import os
import re
import sys

from .forkable import library_at, mapped_libraries
from .named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Mapping, Sequence, Tuple


class _Library(NamedTuple):
    """File names, the variables that it reads (the first that is set counts), and the names that its call may have."""

    named: str
    variables: Tuple[str, ...]
    calls: Tuple[str, ...]
    most_cpus: bool = False  # loaded, it takes no more than there are cpus, whatever the variable says


# OpenBLAS in wheels of numpy and scipy has its names changed, before and behind; which call it has, it has once.
_OPENBLAS = tuple(
    "%sopenblas_set_num_threads%s" % (before, behind) for before in ("", "scipy_") for behind in ("", "64_", "_64")
)
_LIBRARIES = (
    _Library(r"lib(gomp|i?omp5?)\b", ("OMP_NUM_THREADS",), ("omp_set_num_threads",)),
    _Library(r"lib\w*openblas", ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"), _OPENBLAS, True),
    _Library(r"libblis\b", ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"), ("bli_thread_set_num_threads",)),
    _Library(r"libmkl_rt\b", ("MKL_NUM_THREADS", "OMP_NUM_THREADS"), ("MKL_Set_Num_Threads",)),
)
# Of torch only the threads of one operation: its pool for several at once is no bigger or smaller for a preload, and
# may be set once in a process, which is the script's to do.
_MODULES = (
    ("torch", ("MKL_NUM_THREADS", "OMP_NUM_THREADS"), "set_num_threads"),
    ("numexpr", ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS"), "set_num_threads"),
)


def raise_caps(environment: Mapping[str, str]) -> List[str]:
    """Tell every library that is loaded how many threads it may use; what went wrong, in words."""
    trouble = []
    for path in mapped_libraries():
        for library in _LIBRARIES:
            if re.match(library.named, os.path.basename(path)):
                count = asked(environment, library.variables)
                trouble.append(_tell(path, library, min(count, _cpus()) if library.most_cpus else count))
    for module, variables, call in _MODULES:
        function = getattr(sys.modules.get(module), call, None)
        if function is not None:
            trouble.append(_call(module, function, asked(environment, variables)))
    return [text for text in trouble if text]


def asked(environment: Mapping[str, str], variables: Sequence[str]) -> int:
    """What the first of these variables says that says a number ("4", or "4,2" for nested loops), else the cpus that
    this process may run on: what a library does that finds none."""
    for name in variables:
        found = re.match(r"\s*([1-9]\d{0,5})\s*(,|$)", environment.get(name, ""))
        if found:
            return int(found.group(1))
    return _cpus()


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _tell(path: str, library: _Library, count: int) -> str:
    try:
        loaded = library_at(path)
    except OSError as error:  # replaced on the disk since, or this Python cannot call it
        return _in_words(os.path.basename(path), error)
    for name in library.calls:
        function = getattr(loaded, name, None)
        if function is not None:
            function.restype = None
            return _call(os.path.basename(path), function, count)
    return _in_words(os.path.basename(path), "it has none of the calls that are known")


def _call(what: str, function: Callable[[int], object], count: int) -> str:
    try:
        function(count)
    except Exception as error:
        return _in_words(what, error)
    return ""


def _in_words(what: str, error: object) -> str:
    return "%s, preloaded, stays at the number of threads that it has: %s" % (what, error)
