"""Finds what Python 3.8 would choke on, as far as reading can tell; running the guest under 3.8 finds the rest."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

# Modules that the standard library gained after 3.8.
NEW_MODULES = {"graphlib", "zoneinfo", "tomllib", "annotationlib", "compression", "string.templatelib"}
STDLIB_38 = (sys.stdlib_module_names - NEW_MODULES) | {"distutils", "asyncore", "asynchat", "imp", "smtpd"}

# Names that modules and builtins gained after 3.8; fine where the same function asks `hasattr(module, "name")`.
NEW_ATTRIBUTES = {
    "os": "pidfd_open P_PIDFD PIDFD_NONBLOCK waitstatus_to_exitcode eventfd splice unshare setns login_tty "
    "process_cpu_count",
    "signal": "pidfd_send_signal",
    "socket": "send_fds recv_fds",
    "functools": "cache",
    "itertools": "pairwise batched",
    "threading": "gettrace getprofile setprofile_all_threads settrace_all_threads",
    "sys": "orig_argv stdlib_module_names exception monitoring",
    "fcntl": "F_GETPATH F_SETPIPE_SZ F_GETPIPE_SZ",
    "contextlib": "chdir aclosing",
    "random": "randbytes",
    "math": "lcm nextafter ulp cbrt exp2 sumprod",
    "ast": "unparse",
    "hashlib": "file_digest",
    "datetime": "UTC",
    "enum": "StrEnum verify member nonmember",
    "inspect": "get_annotations",
    "asyncio": "to_thread Runner TaskGroup timeout",
    "typing": "Annotated ParamSpec Concatenate TypeAlias TypeGuard Self Never NotRequired Required LiteralString "
    "Unpack TypeVarTuple override assert_never assert_type reveal_type",
}
NEW_BUILTINS = {"aiter", "anext", "EncodingWarning", "ExceptionGroup", "BaseExceptionGroup", "PythonFinalizationError"}
NEW_METHODS = {
    "removeprefix",
    "removesuffix",
    "bit_count",
    "add_note",
    "is_relative_to",
    "readlink",
    "with_stem",
    "hardlink_to",
}
NEW_KEYWORDS = {
    "zip": {"strict"},
    "dataclass": {"slots", "kw_only", "match_args", "weakref_slot"},
    "Popen": {"user", "group", "extra_groups", "umask", "pipesize", "process_group"},
    "run": {"process_group", "umask"},
    "TemporaryDirectory": {"ignore_cleanup_errors", "delete"},
    "md5": {"usedforsecurity"},
}
ONE_ARGUMENT_SINCE_310 = {"format_exception", "print_exception", "format_exception_only"}
BUILTIN_TYPES = {"int", "str", "bytes", "float", "bool", "list", "dict", "tuple", "set", "frozenset", "type", "object"}
GENERIC_SINCE_39 = {"list", "dict", "tuple", "set", "frozenset", "type"}


def problems(source: str, package: str = "batchctl.guest") -> list[str]:
    """`line N: what` for each construct that 3.8 lacks; imports of `package` itself are allowed."""
    try:
        tree = ast.parse(source, feature_version=(3, 8))
    except SyntaxError as error:
        return [f"line {error.lineno}: syntax that 3.8 lacks ({error.msg})"]
    return [f"line {line}: {what}" for line, what in sorted(set(_walk(tree, package)))]


def _walk(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    typing_only = _typing_only(tree)
    annotations = _annotations(tree)
    evaluated = not any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in tree.body)
    if annotations and evaluated:
        yield 1, "annotations are evaluated: `from __future__ import annotations` is missing"
    ignored = typing_only | {id(n) for a in annotations for n in ast.walk(a)}
    guarded = _guarded(tree)
    generic = GENERIC_SINCE_39 | _abc_names(tree)
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        for what in _judge(node, package, guarded.get(id(node), set()), generic):
            yield getattr(node, "lineno", 1), what


def _judge(node: ast.AST, package: str, guarded: set[str], generic: set[str]) -> Iterator[str]:
    if isinstance(node, ast.With):
        # Newer parsers accept the parentheses whatever version is asked for.
        first = node.items[0].context_expr
        if len(node.items) > 1 and any(i.optional_vars for i in node.items) and first.col_offset > node.col_offset + 5:
            yield "parenthesized with"
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        # The same: before 3.9 a decorator is a dotted name, called or not.
        if not all(_is_dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list):
            yield "decorator that is not a dotted name"
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from _imports(node, package, guarded)
    elif isinstance(node, ast.Attribute):
        module = node.value.id if isinstance(node.value, ast.Name) else ""
        if node.attr in NEW_METHODS and node.attr not in guarded and module != "os":  # os.readlink is old
            yield f".{node.attr}"
        if node.attr in NEW_ATTRIBUTES.get(module, "").split() and node.attr not in guarded:
            yield f"{module}.{node.attr} without hasattr"
        if node.attr == "get_type_hints":
            yield "get_type_hints evaluates annotations"
    elif isinstance(node, ast.Name) and node.id in NEW_BUILTINS and node.id not in guarded:
        yield f"builtin {node.id}"
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in generic:
        yield f"{node.value.id}[...] evaluated at run time"
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.BitOr):
        sides = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.value]
        if any(_is_type(side) for side in sides):
            yield "X | Y of types evaluated at run time"
        if any(_is_dict(side) for side in sides):
            yield "dict | dict"
    elif isinstance(node, ast.Call):
        yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in node.keywords:
        if keyword.arg in NEW_KEYWORDS.get(name, set()):
            yield f"{name}({keyword.arg}=)"
    if name in ONE_ARGUMENT_SINCE_310 and len(node.args) == 1 and not isinstance(node.args[0], ast.Starred):
        yield f"{name} with one argument"
    if name in {"to_bytes", "from_bytes"} and len(node.args) + len(node.keywords) < 2:
        yield f"{name} without byte order"


def _imports(node: ast.Import | ast.ImportFrom, package: str, guarded: set[str]) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom):
        names = [node.module or ""] if node.level == 0 else []
        for alias in node.names:
            if alias.name in NEW_ATTRIBUTES.get(node.module or "", "").split() and alias.name not in guarded:
                yield f"from {node.module} import {alias.name}"
    else:
        names = [alias.name for alias in node.names]
    for name in names:
        ours = name == package or name.startswith(package + ".")
        if not ours and (name.split(".")[0] not in STDLIB_38 or name in NEW_MODULES):
            yield f"import of {name}, which is not in the standard library of 3.8"


def _annotations(tree: ast.Module) -> list[ast.expr]:
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(node.returns)
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            found.append(node.annotation)
    return [annotation for annotation in found if annotation is not None]


def _typing_only(tree: ast.Module) -> set[int]:
    """Nodes below `if TYPE_CHECKING:`, which no interpreter runs."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING")]
    return {id(n) for block in blocks for statement in block.body for n in ast.walk(statement)}


def _guarded(tree: ast.Module) -> dict[int, set[str]]:
    """For each node, the names that its outermost function or statement asks hasattr about."""
    asked: dict[int, set[str]] = {}
    for top in tree.body:
        units = top.body if isinstance(top, ast.ClassDef) else [top]
        for unit in units:
            calls = [n for n in ast.walk(unit) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "hasattr"]
            names = {c.args[1].value for c in calls if len(c.args) == 2 and isinstance(c.args[1], ast.Constant)}
            if names:
                asked.update({id(n): names for n in ast.walk(unit)})
    return asked


def _abc_names(tree: ast.Module) -> set[str]:
    sources = [
        n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module in {"collections.abc", "collections"}
    ]
    return {alias.asname or alias.name for n in sources for alias in n.names}


def _is_dotted(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _is_type(node: ast.expr) -> bool:
    name = isinstance(node, ast.Name) and node.id in BUILTIN_TYPES
    return name or (isinstance(node, ast.Constant) and node.value is None)


def _is_dict(node: ast.expr) -> bool:
    call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict"
    return call or isinstance(node, (ast.Dict, ast.DictComp))
