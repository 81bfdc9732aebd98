"""What this interpreter is, and whether the script's imports resolve in it: by reading, nothing is run."""

from __future__ import annotations

import _ast as ast  # the tree without the helpers around it, which take 3 ms to be imported
import encodings
import importlib.util
import os
import sys

from .config import MLFLOW, SCRIPT
from .entry_script import EntryScriptFinder, Place
from .limits import forget_ourselves

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

_MLFLOW_TAKES = ("mlflow", "pandas")
_FUNCTIONS = ("init", "run", "shutdown")
_IMPORT_MACHINERY = {("sys", "path"), ("sys", "meta_path"), ("sys", "modules"), ("site", "addsitedir")}
_CATCHES_IMPORT = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


def find_facts(script: str, code: str, scorer: str = SCRIPT) -> Dict[str, Any]:
    """The body of FACTS_FOUND (docs/wire.md). Changes sys.path: to be called in a throw-away child."""
    forget_ourselves()
    facts: Dict[str, Any] = {
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "prefix": sys.prefix,
        "implementation": sys.implementation.name,
        "pandas": _version("pandas"),
        "numpy": _version("numpy"),
        "pyarrow": _version("pyarrow") or ("" if _origin("pyarrow") is None else "unknown"),
        "missing": [],
        "syntax_error": None,
        "functions": dict.fromkeys(_FUNCTIONS),
        "dynamic": False,
    }
    if scorer == MLFLOW:  # there is no script to read: what our own scorer does is known
        facts["missing"] = [name for name in _MLFLOW_TAKES if _origin(name) is None]
        facts["functions"] = {"init": [0, 0], "run": [1, 1], "shutdown": None}
        return facts
    sys.path[:0] = list(dict.fromkeys([code, os.path.dirname(script)]))
    sys.meta_path.append(EntryScriptFinder(Place("", "", "", "", 0)))
    tree, problem = _parse(script)
    if tree is None:
        facts["syntax_error"] = problem
        return facts
    facts["functions"], facts["dynamic"] = _functions(tree)
    facts["missing"] = [] if _arranges_imports(tree) else _missing(tree, code)
    return facts


def _version(name: str) -> str:
    """Of an installed distribution; "" where it is not there, or says nothing of its version.

    The name of a metadata folder holds it. Where that does not settle it (two in one folder, or a zip that comes
    first) importlib.metadata is asked, which loads the email package and more: 30 ms of every start.
    """
    for folder in sys.path:
        try:
            entries = os.listdir(folder or os.curdir)
        except NotADirectoryError:
            if folder == os.path.dirname(os.path.dirname(encodings.__file__)):  # the standard library's
                continue
            return _asked_version(name)
        except OSError:
            continue
        found = set()
        for entry in entries:
            if entry.startswith(name + "-") and entry.endswith((".dist-info", ".egg-info")):
                found.add(entry.rpartition(".")[0].split("-")[1])  # an egg's goes on with the Python's
        if found:
            return found.pop() if len(found) == 1 else _asked_version(name)
    return ""


def _asked_version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name) or ""
    except Exception:  # not installed, or its metadata is damaged: no version to speak of
        return ""


def _parse(path: str) -> Tuple[Optional[ast.Module], Optional[Dict[str, Any]]]:
    try:
        with open(path, "rb") as handle:
            found: Any = compile(handle.read(), path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
            return found, None
    except SyntaxError as error:
        return None, {"line": error.lineno or 0, "message": error.msg or "invalid syntax"}
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nesting that the parser gives up on
        return None, {"line": 0, "message": str(error) or type(error).__name__}


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, in no particular order."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field in node._fields:
            below = getattr(node, field, None)
            for one in below if isinstance(below, list) else (below,):
                if isinstance(one, ast.AST):
                    waiting.append(one)


def _arranges_imports(tree: ast.Module) -> bool:
    """Does the script see to it by itself where modules come from? Then only running it shows what is missing."""
    used: Set[Tuple[Optional[str], str]] = set()
    for node in _walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add((node.value.id, node.attr))
        elif isinstance(node, ast.ImportFrom):
            used.update((node.module, alias.name) for alias in node.names)
    return not used.isdisjoint(_IMPORT_MACHINERY)


def _missing(tree: ast.Module, code: str) -> List[str]:
    """Top-level names that the script, or a module of the code folder that it imports, imports in vain."""
    missing: Set[str] = set()
    siblings: List[str] = []
    names = sorted(set(_imports(tree.body)))
    for name in names:
        origin = _origin(name)
        if origin is None:
            missing.add(name)
        elif origin in (os.path.join(code, name + ".py"), os.path.join(code, name, "__init__.py")):
            siblings.append(origin)  # not whatever lies below `code`: an environment may, and so may our own cache
    for path in siblings:
        below, _problem = _parse(path)
        if below is not None:
            missing.update(name for name in _imports(below.body) if _origin(name) is None)
    return sorted(missing)


def _origin(name: str) -> Optional[str]:
    """The file (or "") that a top-level name would be imported from; None where there is none."""
    try:
        found = importlib.util.find_spec(name)
    except (ValueError, ImportError, AttributeError):  # ValueError: loaded already, in an odd way
        return "" if name in sys.modules else None
    return None if found is None else found.origin or ""


def _imports(body: List[ast.stmt]) -> Iterator[str]:
    """Top-level names imported anywhere in `body`, except where failing is provided for or only type checkers look."""
    for node in body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                yield node.module.partition(".")[0]
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _imports(node.orelse)
        elif isinstance(node, ast.If) and _tells_pythons_apart(node.test):
            continue  # one branch is for another interpreter or system
        elif isinstance(node, ast.Try) and any(_catches_import(handler) for handler in node.handlers):
            yield from _imports(node.finalbody)  # handlers and else are the other way round the same question
        else:
            for field in ("body", "orelse", "finalbody"):
                below = getattr(node, field, None)
                if isinstance(below, list):
                    yield from _imports(below)
            for handler in getattr(node, "handlers", ()):
                yield from _imports(handler.body)


def _tells_pythons_apart(test: ast.expr) -> bool:
    """`sys.version_info >= (3, 11)`, `sys.platform == "win32"`, `os.name == "nt"`, `platform.system() == ...`"""
    for node in _walk(test):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in ("version_info", "hexversion", "platform", "implementation"):
            return True
        if name == "name" and isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "os":
            return True
    return False


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _catches_import(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in _CATCHES_IMPORT for node in _walk(handler.type))


def _functions(tree: ast.Module) -> Tuple[Dict[str, Optional[List[Optional[int]]]], bool]:
    """[fewest, most] arguments by position of each function (most: None for *args); whether reading may be misled."""
    found: Dict[str, Optional[List[Optional[int]]]] = dict.fromkeys(_FUNCTIONS)
    dynamic = False
    waiting: List[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name in found:
                found[node.name] = _arity(node.args)
                dynamic = dynamic or bool(node.decorator_list)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound = [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
            dynamic = dynamic or "*" in bound or any(name in found for name in bound)
        elif isinstance(node, ast.ClassDef):
            dynamic = dynamic or node.name in found
        else:
            for name in _walk(node):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.id in found:
                    dynamic = True
            for field in ("body", "orelse", "finalbody"):
                waiting += getattr(node, field, None) or []
            for below in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                waiting += below.body
    return found, dynamic or (found["run"] is None and _makes_names(tree))


def _makes_names(tree: ast.Module) -> bool:
    """Can the script get a function that no statement of it names? Then only running it shows."""
    for node in _walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("exec", "globals"):
            return True
        if isinstance(node, ast.Attribute) and node.attr == "modules":  # of sys: it may replace itself there
            return True
    return any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)


def _arity(arguments: ast.arguments) -> List[Optional[int]]:
    positional = len(arguments.posonlyargs) + len(arguments.args)
    return [positional - len(arguments.defaults), None if arguments.vararg else positional]
