"""What a function takes, read from its code: as `inspect` says."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import pytest

from batchctl.guest.signature import Parameter, is_async, parameters


def made(text: str) -> Callable[..., Any]:
    """A function of what stands between the brackets of its `def`."""
    names: dict[str, Any] = {}
    exec(f"def made({text}):\n    local = more = 1\n    return local, more", names)
    return names["made"]  # type: ignore[no-any-return]


def wrapped() -> Callable[..., Any]:
    @functools.wraps(made("mini_batch, /, context=None"))
    def wrapper(*given: Any, **named: Any) -> Any:
        return given, named

    return wrapper


def signed() -> Callable[..., Any]:
    function = made("*given")
    function.__signature__ = inspect.signature(made("mini_batch"))  # type: ignore[attr-defined]
    return function


class Called:
    def __call__(self, mini_batch: Any, *, more: int = 0) -> Any:
        return mini_batch, more

    def method(self, mini_batch: Any, context: Any = None) -> Any:
        return mini_batch, context


TEXTS = [
    "",
    "mini_batch",
    "mini_batch, context",
    "mini_batch, context=None",
    "mini_batch, /",
    "mini_batch, /, context=None, *rest",
    "*rest",
    "**named",
    "*rest, by_name",
    "mini_batch, *, by_name, other=2, **named",
    "a, b=1, /, c=2, *rest, d, e=3, **named",
    "a, /, b, c=1, *, d=2, e",
]
FUNCTIONS = {text or "nothing": made(text) for text in TEXTS} | {
    "a decorator's": wrapped(),
    "with a signature of its own": signed(),
    "a lambda": lambda mini_batch, context=None: (mini_batch, context),
    "a partial": functools.partial(made("mini_batch, context, *, more=1"), more=2),
    "a method": Called().method,
    "an instance": Called(),
    "a class": Called,
    "built in": len,
}


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_it_says_what_inspect_says(function: Callable[..., Any], follow: bool) -> None:
    said = inspect.signature(function, follow_wrapped=follow).parameters.values()
    expected = [Parameter(one.name, int(one.kind), one.default is not one.empty) for one in said]
    assert parameters(function, follow=follow) == expected


@pytest.mark.parametrize("function", [made("mini_batch"), wrapped()], ids=["plain", "a decorator's"])
def test_inspect_is_not_asked_for_what_is_written_in_python(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect", None)
    assert parameters(function, follow=False)
    assert not is_async(function)


def test_defaults_given_later_count() -> None:
    function = made("mini_batch, context, *, more")
    function.__defaults__, function.__kwdefaults__ = (None,), {"more": 1}  # type: ignore[attr-defined]
    assert [one.optional for one in parameters(function, follow=False)] == [False, True, True]


def test_what_cannot_be_known_is_an_error_of_inspect() -> None:
    with pytest.raises(ValueError, match="signature"):
        parameters(dict.update if sys.version_info < (3, 13) else type, follow=True)


async def coroutine(mini_batch: Any) -> Any:
    return mini_batch


async def generator(mini_batch: Any) -> Any:
    yield mini_batch


def plain_generator(mini_batch: Any) -> Any:
    yield mini_batch


class CalledAsync:
    async def __call__(self, mini_batch: Any) -> Any:
        return mini_batch


def marked() -> Callable[..., Any]:
    function = made("mini_batch")
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    return function


@functools.wraps(coroutine)
async def wrapped_coroutine(*given: Any) -> Any:
    return given


# function: is what it gives to be awaited?
ASYNC = {
    "a coroutine function": (coroutine, True),
    "an asynchronous generator": (generator, True),
    "a generator": (plain_generator, False),
    "a plain function": (made("mini_batch"), False),
    "a partial of a coroutine function": (functools.partial(coroutine, 1), True),
    "an instance with an asynchronous call": (CalledAsync(), True),
    "an instance": (Called(), False),
    "a coroutine function that wraps one": (wrapped_coroutine, True),
    "a plain wrapper": (wrapped(), False),
    "a function that is marked so": (marked(), sys.version_info >= (3, 12)),
}


@pytest.mark.parametrize(("function", "expected"), ASYNC.values(), ids=ASYNC)
def test_what_has_to_be_awaited(function: Callable[..., Any], expected: bool) -> None:
    assert is_async(function) is expected
