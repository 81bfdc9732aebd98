"""What a function takes: of one written in Python its code tells, and anything else `inspect` is asked about, which
takes 4 ms to be imported before a worker can begin."""

from __future__ import annotations

from types import FunctionType

from .named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List

BY_POSITION, REST, BY_NAME, NAMED_REST = 1, 2, 3, 4  # as inspect numbers them; 0 is for position only

_VARARGS, _VARKEYWORDS, _ASYNC = 0x04, 0x08, 0x80 | 0x200
_MARK = "_is_coroutine_marker"  # what inspect.markcoroutinefunction sets (Python 3.12)


class Parameter(NamedTuple):
    """One parameter; `optional`: it has a default."""

    name: str
    kind: int
    optional: bool


def parameters(function: Callable[..., Any], *, follow: bool) -> List[Parameter]:
    """All of them in their order. `follow`: of what a decorator says that it wraps. TypeError or ValueError where they
    cannot be known, as of some built-in functions."""
    attached = function.__dict__ if type(function) is FunctionType else {}
    if type(function) is not FunctionType or "__signature__" in attached or (follow and "__wrapped__" in attached):
        import inspect

        found = inspect.signature(function, follow_wrapped=follow).parameters.values()
        return [Parameter(one.name, int(one.kind), one.default is not one.empty) for one in found]
    code, by_name = function.__code__, function.__kwdefaults__ or {}
    positional, named = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    needed = positional - len(function.__defaults__ or ())
    listed = [
        Parameter(name, int(at >= code.co_posonlyargcount), at >= needed) for at, name in enumerate(names[:positional])
    ]
    rest = list(names[positional + named :])
    if code.co_flags & _VARARGS:
        listed.append(Parameter(rest.pop(0), REST, False))
    listed += [Parameter(name, BY_NAME, name in by_name) for name in names[positional : positional + named]]
    if code.co_flags & _VARKEYWORDS:
        listed.append(Parameter(rest.pop(0), NAMED_REST, False))
    return listed


def is_async(function: Callable[..., Any]) -> bool:
    """Does a call of it give something that has to be awaited?"""
    if type(function) is FunctionType:
        return bool(function.__code__.co_flags & _ASYNC) or _MARK in function.__dict__
    import inspect

    candidates = (function, type(function).__call__)
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in candidates)
