"""The scoring script as a module in this process, and its three functions behind one calling convention."""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import logging
import os
import sys
import types

from . import limits
from .failure import ContractError
from .garbage import collecting_rarely
from .signature import BY_NAME, BY_POSITION, REST, is_async, parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

# In a word of argv: stands for this worker's AZUREML_BI_OUTPUT_PATH. The host's twin is in model/job.py.
OUTPUT_FOLDER = "${{outputs}}"
_MOST_LAYERS = 50


class Scorer:
    """What a worker calls. `run` takes (mini_batch) or, where `with_context`, (mini_batch, context).

    `per_file`: it is our own and answers with rows.Tables, a frame for each file or else an exception; of a script's
    answer each element counts as a file. `separator` is that of the azure format.
    """

    run: Callable[..., Any]
    with_context = False
    init: Optional[Callable[[], Any]] = None
    shutdown: Optional[Callable[[], Any]] = None
    per_file = False
    separator = " "


class Script(Scorer):
    """The imported script."""

    def __init__(self, module: types.ModuleType) -> None:
        name = os.path.basename(str(module.__file__))
        run = getattr(module, "run", None)
        if not callable(run):
            raise ContractError("%s defines no function run(mini_batch)" % name)
        _refuse_async(run, "run", name)
        self.run = run
        self.with_context = takes(run, "run", name, most=2, least=1) == 2 and not _hides_one(run, vars(module))
        self.init = self._optional(module, "init", name)
        self.shutdown = self._optional(module, "shutdown", name)

    @staticmethod
    def _optional(module: types.ModuleType, function: str, name: str) -> Optional[Callable[[], Any]]:
        found = getattr(module, function, None)
        if found is None:
            return None
        if not callable(found):
            raise ContractError("%s: %s is a %s, not a function" % (name, function, type(found).__name__))
        _refuse_async(found, function, name)
        takes(found, function, name, most=0, least=0)
        return found  # type: ignore[no-any-return]


def _refuse_async(function: Callable[..., Any], called: str, name: str) -> None:
    """Nobody would await it: init() would seem to have run."""
    if is_async(function):
        raise ContractError("%s: %s must be a plain function, not `async def`" % (name, called))


def takes(function: Callable[..., Any], called: str, name: str, *, most: int, least: int) -> int:
    """How many arguments, of at most `most`, can be passed by position; ContractError where they do not fit.

    Of a decorated function it is the decorator's own wrapper that is called: what that takes counts.
    """
    try:
        found = parameters(function, follow=not isinstance(function, types.FunctionType))
    except (TypeError, ValueError):  # built in: nothing to read, so the plain call is tried
        return least
    positional = [one for one in found if one.kind <= BY_POSITION]
    needed = [one.name for one in positional if not one.optional]
    by_name = [one.name for one in found if one.kind == BY_NAME and not one.optional]
    needed += by_name
    room = most if any(one.kind == REST for one in found) else len(positional)
    if len(needed) > most or room < least or by_name:
        given = ("run(mini_batch) or run(mini_batch, context)", "%s()" % called)[most == 0]
        raise ContractError("%s: %s(%s) cannot be called as %s" % (name, called, ", ".join(needed), given))
    return min(room, most)


def _hides_one(run: Callable[..., Any], own: Dict[str, Any]) -> bool:
    """Is run a decorator's wrapper with `*args` around a function that takes one argument only?

    functools.wraps leaves a way down to that function. Without it, it is among what the wrapper holds: a function of
    the script's own (`own` are its globals).
    """
    coming: List[Tuple[Any, bool]] = [(run, True)]  # with whether it is certain that this is called
    below: List[int] = []
    for current, certain in coming:  # grows
        if not isinstance(current, types.FunctionType) or len(coming) > _MOST_LAYERS:
            continue
        kinds = [one.kind for one in parameters(current, follow=False)]
        if REST in kinds:
            wrapped = getattr(current, "__wrapped__", None)
            coming += [(held, False) for held in _held(current)] if wrapped is None else [(wrapped, certain)]
        elif current is not run and (certain or current.__globals__ is own):
            below.append(sum(kind <= BY_POSITION for kind in kinds))
    return bool(below) and max(below) == 1


def _held(wrapper: types.FunctionType) -> List[Any]:
    held = []
    for cell in wrapper.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not filled yet
            pass
    return held


def load(script: str, code: str, argv: List[str], logging_level: str) -> types.ModuleType:
    """Import the script under its dotted name relative to `code`, with sys.path, sys.argv and logging as it expects
    them. Raises whatever the script raises."""
    out = os.environ.get("AZUREML_BI_OUTPUT_PATH", "")
    argv = [word.replace(OUTPUT_FOLDER, out) for word in argv]
    settle_in([code, os.path.dirname(script)], [script, *argv], logging_level)
    name = _module_name(script, code)
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise ContractError("%s: a scoring script is a .py file" % script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with collecting_rarely():
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    # A script may replace itself in sys.modules, as any module may.
    found = sys.modules.get(name, module)
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, found)
    return found


def settle_in(folders: List[str], argv: List[str], logging_level: str) -> None:
    """Make this process one that user code can be imported in: sys.path begins with `folders`, sys.argv is `argv`.

    The zip that we came from leaves sys.path; our modules stay known only under their own, underscored package.
    """
    limits.forget_ourselves()
    folders = list(dict.fromkeys(folders))
    for folder in folders:
        sys.path_importer_cache.pop(folder, None)
    # The interpreter read PYTHONPATH before the job's environment was known. One that ignores it (-E, or ours) is
    # not to mix its packages with others.
    if not sys.flags.ignore_environment:
        folders += [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = folders + [entry for entry in sys.path if entry not in folders]
    importlib.invalidate_caches()
    sys.argv[:] = argv
    # A script that looks at __main__, or a library that pickles from it, finds a blank one and not our entry.
    sys.modules["__main__"] = types.ModuleType("__main__")
    level = getattr(logging, logging_level.upper(), None)
    logging.basicConfig(
        stream=sys.stdout,
        level=level if isinstance(level, int) else logging.INFO,
        format="%(asctime)s|%(levelname)s|%(process)d|%(name)s|%(message)s",
    )


def _module_name(script: str, code: str) -> str:
    """`sub/score.py` is sub.score, its parent packages imported; what cannot be so named gets a flat name of ours."""
    words = os.path.splitext(os.path.relpath(script, code))[0].split(os.sep)
    flat = "_script_" + "".join(c if c.isalnum() else "_" for c in words[-1])
    if not all(word.isidentifier() and not keyword.iskeyword(word) for word in words):
        return flat
    name, folder = "", code
    for word in words[:-1]:
        name, folder = (name + "." + word).lstrip("."), os.path.join(folder, word)
        try:
            parent = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            return flat
        # A folder called like an installed package: that one was imported, and the script is no part of it.
        if not any(os.path.realpath(entry) == os.path.realpath(folder) for entry in getattr(parent, "__path__", ())):
            return flat
    name = (name + "." + words[-1]).lstrip(".")
    return flat if name in sys.modules else name  # json.py must not become the json that everybody else has imported
